"""Decisions that are made choice by choice: what the wrappers share, for any number of lanes.

Nothing here knows of Gymnasium but the two spaces; arrays have a leading axis of lanes.
"""

from __future__ import annotations

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from edgecloud_gym.checks import refuse_entries
from edgecloud_gym.config import SystemConfig
from edgecloud_gym.simulator.legality import PartialAction
from edgecloud_gym.simulator.simulator import Simulator


class SequentialDecision(PartialAction):
    """A partial action that is made choice by choice.

    Choice ``nodes * j + n`` of a lane assigns candidate j to node n, choice ``nodes * M`` ends its
    decision.

    Attributes:
        nodes: How many nodes there are.
        mask: Which choices are legal, int8 (lanes, nodes * M + 1).
    """

    def __init__(self, simulator: Simulator, allow_stop: bool) -> None:
        """Makes decisions for all lanes, in which nothing is legal before `start`."""
        m = simulator.config.candidate_pool_size
        self.nodes = len(simulator.config.nodes)
        super().__init__(simulator.lanes, m, self.nodes)
        self._total = np.maximum(1, simulator.total_room)
        self._stop = self.nodes * m
        self._allow_stop = allow_stop
        self._lanes = np.arange(simulator.lanes)
        self.mask = np.zeros((simulator.lanes, self.nodes * m + 1), np.int8)

    def start(
        self,
        simulator: Simulator,
        which: NDArray[np.bool_] | slice = slice(None),
        over: NDArray[np.bool_] | None = None,
    ) -> None:
        """Starts a new decision in some lanes.

        Args:
            simulator: Whose lanes they are.
            which: The lanes (lanes,); all by default.
            over: Lanes whose episode has ended (lanes,): only ending the decision is legal there.
        """
        self.begin(simulator.present, simulator.room, which)
        if over is not None:
            self.unassigned[over] = False
        self._find_legal()

    def choose(self, choices: NDArray[np.int64]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Adds one choice per lane. An illegal one changes nothing but ends the decision.

        Args:
            choices: (lanes,), each in [0, nodes * M].

        Returns:
            Which lanes have ended their decision, because they chose to, chose illegally, or
            nothing more can be assigned; and which chose illegally. Both bool (lanes,).
        """
        legal = self.mask[self._lanes, choices] == 1
        picking = legal & (choices < self._stop)
        lanes = np.flatnonzero(picking)
        self.assign(lanes, *np.divmod(choices[lanes], self.nodes))
        more = self._find_legal()
        return ~(picking & more), ~legal

    def _find_legal(self) -> NDArray[np.bool_]:
        """Writes the mask; returns the lanes in which something can be assigned."""
        self.mask[:, : self._stop] = self.legal().reshape(len(self.mask), -1)
        more = self.mask[:, : self._stop].any(axis=1)
        self.mask[:, self._stop] = self._allow_stop | ~more
        return np.asarray(more)

    def choice_masks(self) -> NDArray[np.bool_]:
        """Returns a copy of the mask as bool."""
        return self.mask.astype(np.bool_)

    def progress(self) -> dict[str, NDArray[np.float32]]:
        """Returns what the wrappers add to the observation, for all lanes."""
        nodes = np.arange(1, self.nodes + 1)
        assigned = (self.picks[:, :, np.newaxis] == nodes).astype(np.float32)
        return {"assigned": assigned, "remaining": self.shares(self.room)}

    def progress_at_end(self, room: NDArray[np.int64]) -> dict[str, NDArray[np.float32]]:
        """Returns the same for a lane whose episode ended with ``room`` (nodes,)."""
        assigned = np.zeros((self.picks.shape[1], self.nodes), np.float32)
        return {"assigned": assigned, "remaining": self.shares(room)}

    def masks_at_end(self, which: NDArray[np.bool_]) -> NDArray[np.int8]:
        """Returns the masks of lanes whose episode has ended, 0 for those not in ``which``."""
        masks = np.zeros_like(self.mask)
        masks[which, self._stop] = 1
        return masks

    def shares(self, room: NDArray[np.int64]) -> NDArray[np.float32]:
        """Returns room as a share of what each node takes when idle."""
        return np.asarray(room / self._total, np.float32)


def extended_space(space: spaces.Dict, config: SystemConfig) -> spaces.Dict:
    """Returns a lane's observation space with the keys that `Draft.progress` names."""
    m = config.candidate_pool_size
    nodes = len(config.nodes)
    return spaces.Dict(
        {
            **space.spaces,
            "assigned": spaces.Box(0.0, 1.0, (m, nodes), np.float32),
            "remaining": spaces.Box(0.0, 1.0, (nodes,), np.float32),
        }
    )


def checked_choices(choices: object, shape: tuple[int, ...], count: int) -> NDArray[np.int64]:
    """Returns choices as an int64 array of ``shape``.

    Raises:
        TypeError: If they are not integers.
        ValueError: If the shape differs or one is outside [0, ``count``).
    """
    array = np.asarray(choices)
    if array.dtype.kind not in "iu":
        raise TypeError(f"action has dtype {array.dtype}: must be an integer")
    if array.shape != shape:
        raise ValueError(f"action has shape {array.shape}: must be {shape}")
    refuse_entries("action", array, (array < 0) | (array >= count), f"must be in [0, {count - 1}]")
    return array.astype(np.int64)


def checked_scores(scores: object, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Returns scores as a float64 array of ``shape``.

    Raises:
        TypeError: If they are not real numbers.
        ValueError: If the shape differs or one is not finite.
    """
    array = np.asarray(scores)
    if array.dtype.kind not in "iuf":
        raise TypeError(f"action has dtype {array.dtype}: must hold real numbers")
    if array.shape != shape:
        raise ValueError(f"action has shape {array.shape}: must be {shape}")
    refuse_entries("action", array, ~np.isfinite(array), "scores must be finite")
    return array.astype(np.float64)
