"""Networks for Stable-Baselines3 that read the observation's two-dimensional keys.

`CandidateExtractor` encodes each candidate with the same weights, next to the state of the system.
`CandidatePolicy` (PPO, A2C) and `MaskableCandidatePolicy` (MaskablePPO) also score every candidate
with the same weights: to permute the candidates permutes the scores (as in Deep Sets, Zaheer
et al., 2017): what is learnt of one row of the window holds for all. With any other policy
(``"MultiInputPolicy"`` of DQN or SAC) give the extractor as ``features_extractor_class``.

What `SequentialAssignment` permits follows from what it lets observe, so that `CandidatePolicy`
never chooses illegally, although SB3's PPO and A2C know of no masks.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import ArrayLike
from sb3_contrib.common.maskable.policies import MaskableMultiInputActorCriticPolicy
from stable_baselines3.common.policies import MultiInputActorCriticPolicy
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.type_aliases import Schedule
from torch import Tensor, nn

from edgecloud_gym.simulator.legality import legal_pairs
from edgecloud_gym.simulator.observation import CANDIDATES
from edgecloud_gym.wording import shown

_PER_CANDIDATE: Final = ("candidates", "embeddings", "assigned")
_PRESENT: Final = CANDIDATES.positions.present
ILLEGAL: Final = -1e8  # a finite score, so that entropies stay finite


class CandidateExtractor(BaseFeaturesExtractor):
    """Encodes each candidate, and the system with the mean of its candidates.

    Features are flat: the codes of the M candidates (``width`` each), that of the system
    (``width``) and, of a `SequentialAssignment`, which assignments are legal (one per candidate and
    node, 1 or 0). Codes of empty rows are 0.
    """

    def __init__(
        self, observation_space: spaces.Dict, width: int = 64, table: ArrayLike | None = None
    ) -> None:
        """Makes the network.

        Args:
            observation_space: Of an EdgeCloud environment, wrapped or not.
            width: Length of a code.
            table: With ``observe="id"``, the embedding of each dataset row (rows, D), which is
                kept fixed: ``env.unwrapped.dataset.embedding_table(64)`` for one.

        Raises:
            ValueError: If candidates are observed by id and there is no table, or the other way
                round.
        """
        shapes = {name: space.shape or () for name, space in observation_space.items()}
        self.candidates = shapes["candidates"][0]
        self._sequential = "assigned" in shapes
        flags = math.prod(shapes["assigned"]) if self._sequential else 0
        super().__init__(observation_space, (self.candidates + 1) * width + flags)
        if ("prompt_ids" in shapes) != (table is not None):
            raise ValueError('table: needed with observe="id", and only then')
        if "prompt_ids" in shapes:
            observation_space["prompt_ids"].looked_up = True  # type: ignore[attr-defined]
        self.width = width
        # One more row, for the id -1 of empty rows.
        rows = None if table is None else torch.tensor(np.pad(table, ((0, 1), (0, 0)))).float()
        self.table: Tensor | None
        self.register_buffer("table", rows)
        self._rows = [name for name in _PER_CANDIDATE if name in shapes]
        self._system = sorted(shapes.keys() - {*_PER_CANDIDATE, "prompt_ids"})
        row_size = sum(shapes[name][1] for name in self._rows)
        row_size += 0 if rows is None else rows.shape[1]
        system_size = sum(_size(shapes[name]) for name in self._system)
        self.row_net = nn.Sequential(nn.Linear(row_size, width), nn.ReLU())
        self.system_net = nn.Sequential(nn.Linear(system_size + width, width), nn.ReLU())

    def forward(self, observations: dict[str, Tensor]) -> Tensor:
        """Returns features (batch, (M + 1) * width), and M * nodes of a `SequentialAssignment`."""
        parts = [observations[name] for name in self._rows]
        if self.table is not None:
            parts.append(self.table[observations["prompt_ids"].long()])
        here = observations["candidates"][:, :, _PRESENT : _PRESENT + 1]
        codes = self.row_net(torch.cat(parts, dim=2)) * here
        mean = codes.sum(dim=1) / here.sum(dim=1).clamp(min=1.0)
        flat = [observations[name].flatten(1) for name in self._system]
        system = self.system_net(torch.cat([*flat, mean], dim=1))
        features = [codes.flatten(1), system]
        if self._sequential:
            unassigned = here.squeeze(2) - observations["assigned"].sum(dim=2)
            features.append(legal_pairs(unassigned, observations["remaining"]).flatten(1))
        return torch.cat(features, dim=1)


def _size(shape: tuple[int, ...]) -> int:
    return int(torch.Size(shape).numel())


class CandidateHead(nn.Module):
    """Scores from `CandidateExtractor` features: some per candidate, then perhaps some more.

    Candidate j's are ``net([code of j, code of the system])`` with the same net for all.
    """

    def __init__(self, candidates: int, width: int, each: int, more: int) -> None:
        """Makes the network.

        Args:
            candidates: M.
            width: Length of a code.
            each: Scores per candidate.
            more: Scores that belong to none.
        """
        super().__init__()
        self.shape = (candidates + 1, width)
        # What the first layer makes of [code, system code], without repeating the latter.
        self.of_row = nn.Linear(width, width)
        self.of_system = nn.Linear(width, width, bias=False)
        self.score = nn.Linear(width, each)
        self.rest = nn.Linear(width, more) if more else None

    def forward(self, features: Tensor) -> Tensor:
        """Returns scores (batch, M * each + more)."""
        codes = features[:, : math.prod(self.shape)].reshape(-1, *self.shape)
        rows, system = codes[:, :-1], codes[:, -1]
        hidden = torch.tanh(self.of_row(rows) + self.of_system(system).unsqueeze(1))
        scores = self.score(hidden).flatten(1)
        return scores if self.rest is None else torch.cat([scores, self.rest(system)], dim=1)


class LegalCandidateHead(CandidateHead):
    """The same, with scores so low for what `SequentialAssignment` forbids that it is not chosen.

    To end the decision counts as legal only where nothing else is.
    """

    def forward(self, features: Tensor) -> Tensor:
        """Returns scores (batch, M * nodes + 1)."""
        legal = features[:, math.prod(self.shape) :] > 0.0
        legal = torch.cat([legal, ~legal.any(dim=1, keepdim=True)], dim=1)
        return super().forward(features).masked_fill(~legal, ILLEGAL)


class _ValueHead(nn.Module):
    """The state's value from the code of the system."""

    def __init__(self, candidates: int, width: int) -> None:
        super().__init__()
        self.system = slice(candidates * width, (candidates + 1) * width)
        self.net = nn.Sequential(nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 1))

    def forward(self, features: Tensor) -> Tensor:
        value: Tensor = self.net(features[:, self.system])
        return value


def _scores_per_candidate(action_space: spaces.Space[Any], candidates: int) -> tuple[int, int]:
    """Returns how many scores an action takes per candidate, and besides."""
    if isinstance(action_space, spaces.Discrete):
        nodes, rest = divmod(int(action_space.n) - 1, candidates)
        if nodes and not rest:
            return nodes, 1  # SequentialAssignment
    if isinstance(action_space, spaces.MultiDiscrete) and len(action_space.nvec) == candidates:
        return int(action_space.nvec[0]), 0
    if isinstance(action_space, spaces.Box) and action_space.shape == (candidates,):
        return 1, 0  # PriorityAction
    raise ValueError(
        f"action_space={shown(action_space)}: must be that of an EdgeCloud environment with "
        f"{candidates} candidates, or of one of its wrappers"
    )


def _give_heads(
    policy: CandidatePolicy | MaskableCandidatePolicy,
    lr_schedule: Schedule,
    kind: type[CandidateHead] = CandidateHead,
) -> None:
    """Puts the heads above in the place of SB3's, and makes the optimiser anew."""
    extractor = policy.features_extractor
    if not isinstance(extractor, CandidateExtractor):
        raise TypeError(f"features_extractor_class={type(extractor)!r}: must be CandidateExtractor")
    each, more = _scores_per_candidate(policy.action_space, extractor.candidates)
    head = kind(extractor.candidates, extractor.width, each, more)
    # All choices are about equally likely at first, as SB3's own policies have it.
    for layer in (head.score, head.rest):
        if layer is not None:
            policy.init_weights(layer, gain=0.01)
    policy.action_net = head
    policy.value_net = _ValueHead(extractor.candidates, extractor.width)  # type: ignore[assignment]
    settings: dict[str, Any] = {"lr": lr_schedule(1), **policy.optimizer_kwargs}
    policy.optimizer = policy.optimizer_class(policy.parameters(), **settings)


def _with_defaults(kwargs: dict[str, Any]) -> dict[str, Any]:
    """Returns a policy's arguments with our extractor, whose features go straight to the heads."""
    return {"features_extractor_class": CandidateExtractor, **kwargs, "net_arch": []}


class CandidatePolicy(MultiInputActorCriticPolicy):
    """For PPO and A2C; keyword arguments as SB3's ``MultiInputPolicy``, save ``net_arch``.

    Over a `SequentialAssignment` it chooses only what is legal, and never makes use of
    ``allow_stop``.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **_with_defaults(kwargs))

    def _build(self, lr_schedule: Schedule) -> None:
        super()._build(lr_schedule)
        sequential = isinstance(self.action_space, spaces.Discrete)
        _give_heads(self, lr_schedule, LegalCandidateHead if sequential else CandidateHead)


class MaskableCandidatePolicy(MaskableMultiInputActorCriticPolicy):
    """For MaskablePPO; keyword arguments as its ``MultiInputPolicy``, save ``net_arch``."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **_with_defaults(kwargs))

    def _build(self, lr_schedule: Schedule) -> None:
        super()._build(lr_schedule)
        _give_heads(self, lr_schedule)
