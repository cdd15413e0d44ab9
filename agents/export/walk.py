"""What ``edgecloud train`` wrote as functions: a network over the walk, and what predicts for it.

The network chooses for the candidate at hand from what `edgecloud_gym.wrappers.QueueHead` shows.
What is shown follows from predictions of all that wait, and from the state of the nodes, which no
network computes: so the predictor is a function of its own, asked once per request.
"""

from __future__ import annotations

from math import log, sqrt
from typing import Any, ClassVar, Final

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor, nn

from agents.export.policy import ExportedPolicy
from agents.prediction.forecasts import LONG
from agents.prediction.predictor import Predictor
from agents.prediction.regression import Regression
from agents.schedulers.policy_file import PolicyFile
from edgecloud_gym.wrappers.walk_features import CANDIDATE, WALK_NODES, WALK_SYSTEM, walk_space

FEATURES: Final = ("spread", "long")  # of a forecast, behind the columns of the candidate
_SHAPE: Final = ("intercept", "a", "b", "low", "high")  # of a regression


class ExportedWalk(nn.Module):
    """Scores of the choices on a walk along the queue, from what is shown of it, and a mask.

    Attributes:
        keys: Of what `QueueHead` shows, in the order in which they are given; its ``legal`` is the
            mask.
        shape: Of the mask and the scores of one candidate, (1 + N,).
        space: What is shown.
        policy: The network, of Stable-Baselines3.
    """

    keys: ClassVar[tuple[str, ...]] = ("candidate", "nodes", "system")

    def __init__(self, file: PolicyFile, nodes: int | None = None) -> None:
        """Takes a trained network.

        Args:
            file: The model.
            nodes: How many nodes it is to play; by default those that it learnt on. The networks of
                a walk play any number.

        Raises:
            ValueError: If the network remembers, does not choose, or plays no other number of
                nodes.
        """
        super().__init__()
        count = file.walk.nodes if nodes is None else nodes
        self.space = walk_space(count, len(FEATURES))
        self.policy = file.policy(self.space, spaces.Discrete(1 + count))
        self._scores = ExportedPolicy(self.policy)
        self.shape = self._scores.shape

    def forward(self, *inputs: Tensor) -> Tensor:
        """Returns scores (batch, 1 + N), `ILLEGAL` where the mask forbids a choice.

        Args:
            *inputs: ``candidate`` (batch, C), ``nodes`` (batch, N, F), ``system`` (batch, S) and
                the mask (batch, 1 + N), bool.
        """
        parts = dict(zip(self.keys, inputs[:-1], strict=True))
        parts["legal"] = inputs[-1].float()
        scores: Tensor = self._scores(*(parts[name] for name in self._scores.keys), inputs[-1])
        return scores


def columns() -> dict[str, list[str]]:
    """Returns what stands in each column of what a network is shown, by key."""
    found = {
        block.key: [column.name for column in block.columns]
        for block in (CANDIDATE, WALK_NODES, WALK_SYSTEM)
    }
    found[CANDIDATE.key] += FEATURES
    return found


class ExportedPredictor(nn.Module):
    """What a predictor tells of requests: see `agents.prediction.forecasts.as_forecast`.

    Computed in float64, but for the probability to take long.
    """

    keys: ClassVar[tuple[str, ...]] = ("embeddings", "prompt_tokens")
    outputs: ClassVar[tuple[str, ...]] = ("time", "output_tokens", *FEATURES)

    def __init__(self, predictor: Predictor) -> None:
        """Takes over what it has learnt."""
        super().__init__()
        kernel = predictor.features.kernel
        self._knows_tokens = predictor.tokens is not None
        # Single numbers are tensors, too: ONNX would have those of Python in float32.
        for name, value in {
            "embedding_scale": kernel.embedding_scale,
            "token_scale": kernel.token_scale,
            "length_mean": predictor.length_mean,
            "length_std": predictor.length_std,
            "ridge": predictor.ridge,
            "limit": log(LONG),
            "supports": kernel.embeddings.T,
            "squares": np.sum(kernel.embeddings**2, axis=1),
            "lengths": kernel.lengths,
            "projection": predictor.features.projection,
            "shrunk": predictor.ridge / (predictor.features.strengths + predictor.ridge),
            **_arrays("time", predictor.time),
            **_arrays("tokens", predictor.tokens),
        }.items():
            self.register_buffer(name, torch.tensor(np.array(value, np.float64)))

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Returns what is predicted, each (batch,), float64; see `outputs`.

        Args:
            *inputs: Embeddings (batch, D), float32 or wider, and prompt tokens (batch,), float64.
        """
        values = self._kernel(*inputs)
        phi = values @ self._buffer("projection")
        lost = (1.0 - (phi**2).sum(dim=1)).clamp(min=0.0)
        spread = lost + phi**2 @ self._buffer("shrunk")
        mean, std = self._predict("time", values, spread)
        z = (self._buffer("limit") - mean) / std
        long = (0.5 - 0.5 * torch.erf((z / sqrt(2.0)).float())).double()
        tokens = torch.full_like(mean, torch.nan)
        if self._knows_tokens:
            middle, width = self._predict("tokens", values, spread)
            tokens = torch.exp(middle + width**2 / 2.0).clamp(min=1.0)
        return torch.exp(mean + std**2 / 2.0), tokens, std, long

    def _kernel(self, embeddings: Tensor, prompt_tokens: Tensor) -> Tensor:
        vectors = embeddings.double()
        norm = (vectors**2).sum(dim=1, keepdim=True).sqrt()
        vectors = vectors / torch.where(norm > 0.0, norm, torch.ones_like(norm))
        apart = (
            (vectors**2).sum(dim=1, keepdim=True)
            + self._buffer("squares")
            - 2.0 * vectors @ self._buffer("supports")
        )
        lengths = torch.log1p(prompt_tokens.double()) - self._buffer("length_mean")
        longer = (lengths / self._buffer("length_std")).unsqueeze(1) - self._buffer("lengths")
        exponent = self._buffer("embedding_scale") * apart.clamp(min=0.0)
        return torch.exp(-(exponent + self._buffer("token_scale") * longer**2))

    def _predict(self, name: str, values: Tensor, spread: Tensor) -> tuple[Tensor, Tensor]:
        """Returns means and standard deviations, as `Regression.predict` does."""
        intercept, a, b, low, high = (self._buffer(f"{name}_{part}") for part in _SHAPE)
        mean = intercept + values @ self._buffer(f"{name}_coefficients")
        level = torch.minimum(torch.maximum(mean, low), high)
        return mean, (torch.exp(a + b * level) * (spread + self._buffer("ridge"))).sqrt()

    def _buffer(self, name: str) -> Tensor:
        value: Any = getattr(self, name)
        assert isinstance(value, Tensor)
        return value


def _arrays(name: str, regression: Regression | None) -> dict[str, Any]:
    """Returns what a regression has learnt, by names."""
    if regression is None:
        return {}
    shape = (regression.intercept, *regression.scale, *regression.levels)
    return {
        f"{name}_coefficients": regression.coefficients,
        **{f"{name}_{part}": value for part, value in zip(_SHAPE, shape, strict=True)},
    }
