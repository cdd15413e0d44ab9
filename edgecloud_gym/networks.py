"""A network that scores every candidate alike, for any library on PyTorch; needs `torch`.

To permute the candidates permutes the scores (as in Deep Sets, Zaheer et al., 2017): what is learnt
of one row of the window holds for all. `agents.policies` has the same for Stable-Baselines3.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

import numpy as np
from gymnasium import spaces
from numpy.typing import ArrayLike

from edgecloud_gym.extras import importing
from edgecloud_gym.simulator.legality import legal_pairs
from edgecloud_gym.simulator.observation import CANDIDATES
from edgecloud_gym.wording import shown

with importing("agents"):
    import torch
    from torch import Tensor, nn

ILLEGAL: Final = -1e8  # the score of an illegal choice: finite, so that entropies stay finite
_PER_CANDIDATE: Final = ("candidates", "embeddings", "assigned")
_PRESENT: Final = CANDIDATES.positions.present


class CandidateNet(nn.Module):
    """Scores the choices, and the state, from observations.

    Of a `SequentialAssignment` what is permitted follows from what is observed: illegal choices get
    `ILLEGAL` as their score, and to end the decision counts as legal only where nothing else is. Of
    the environment's own actions all choices are scored: the repair rule has the last word.

    Attributes:
        keys: The keys of the observation that it reads.
        sequential: Whether it decides choice by choice.
    """

    def __init__(
        self,
        observation_space: spaces.Space[object],
        action_space: spaces.Space[object],
        width: int = 64,
        table: ArrayLike | None = None,
    ) -> None:
        """Makes the network.

        Args:
            observation_space: Of an EdgeCloud environment, perhaps in a `SequentialAssignment`; of
                one lane.
            action_space: Of the same.
            width: Length of the codes of a candidate and of the system.
            table: With ``observe="id"``, the embedding of each dataset row (rows, D), which is
                kept fixed: ``env.unwrapped.dataset.embedding_table(64)`` for one.

        Raises:
            TypeError: If the spaces are others.
            ValueError: If candidates are observed by id and there is no table, or the other way
                round.
        """
        super().__init__()
        shapes = _shapes(observation_space)
        self.sequential = "assigned" in shapes
        self.keys = tuple(shapes)
        each, more = _scores(action_space, shapes)
        if ("prompt_ids" in shapes) != (table is not None):
            raise ValueError('table: needed with observe="id", and only then')
        self.table: Tensor | None
        # One more row, for the id -1 of empty rows.
        rows = None if table is None else torch.tensor(np.pad(table, ((0, 1), (0, 0)))).float()
        self.register_buffer("table", rows)
        self._rows = [name for name in _PER_CANDIDATE if name in shapes]
        self._system = sorted(shapes.keys() - {*_PER_CANDIDATE, "prompt_ids"})
        row_size = sum(shapes[name][1] for name in self._rows)
        row_size += 0 if rows is None else rows.shape[1]
        system_size = sum(math.prod(shapes[name]) for name in self._system)
        self.row_net = nn.Sequential(nn.Linear(row_size, width), nn.ReLU())
        self.system_net = nn.Sequential(nn.Linear(system_size + width, width), nn.ReLU())
        self.of_row = nn.Linear(width, width)
        self.of_system = nn.Linear(width, width, bias=False)
        self.score = nn.Linear(width, each)
        self.rest = nn.Linear(width, more) if more else None
        self.value = nn.Sequential(nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 1))

    def forward(self, observation: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Returns scores (..., choices) and values (...).

        Args:
            observation: Tensors by key, each with the same leading axes, or none.
        """
        leading = observation["candidates"].shape[:-2]
        scores, values = self._of_batch(
            {
                name: observation[name].reshape(-1, *observation[name].shape[len(leading) :])
                for name in self.keys
            }
        )
        return scores.reshape(*leading, -1), values.reshape(leading)

    def _of_batch(self, observation: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Returns the same with one leading axis."""
        parts = [observation[name] for name in self._rows]
        if self.table is not None:
            parts.append(self.table[observation["prompt_ids"].long()])
        here = observation["candidates"][:, :, _PRESENT : _PRESENT + 1]
        codes = self.row_net(torch.cat(parts, dim=2)) * here
        mean = codes.sum(dim=1) / here.sum(dim=1).clamp(min=1.0)
        flat = [observation[name].flatten(1) for name in self._system]
        system = self.system_net(torch.cat([*flat, mean], dim=1))
        hidden = torch.tanh(self.of_row(codes) + self.of_system(system).unsqueeze(1))
        scores = self.score(hidden).flatten(1)
        if self.rest is not None:
            scores = torch.cat([scores, self.rest(system)], dim=1)
        if self.sequential:
            scores = scores.masked_fill(~_legal(observation), ILLEGAL)
        return scores, self.value(system).squeeze(1)


def _legal(observation: Mapping[str, Tensor]) -> Tensor:
    """Returns which choices a `SequentialAssignment` permits, bool (batch, nodes * M + 1)."""
    present = observation["candidates"][:, :, _PRESENT]
    unassigned = present - observation["assigned"].sum(dim=2)
    legal: Tensor = legal_pairs(unassigned, observation["remaining"]).flatten(1) > 0.0
    return torch.cat([legal, ~legal.any(dim=1, keepdim=True)], dim=1)


def _shapes(space: spaces.Space[object]) -> dict[str, tuple[int, ...]]:
    if not isinstance(space, spaces.Dict) or "candidates" not in space.spaces:
        raise TypeError(
            f"observation_space={shown(space)}: must be that of an EdgeCloud environment"
        )
    return {name: part.shape or () for name, part in space.items()}


def _scores(space: spaces.Space[object], shapes: Mapping[str, tuple[int, ...]]) -> tuple[int, int]:
    """Returns how many scores an action takes per candidate, and besides."""
    if isinstance(space, spaces.Discrete) and "assigned" in shapes:
        return shapes["assigned"][1], 1
    if isinstance(space, spaces.MultiDiscrete) and "assigned" not in shapes:
        return int(space.nvec[0]), 0
    raise TypeError(
        f"action_space={shown(space)}: must be the environment's own, or that of a "
        "SequentialAssignment"
    )
