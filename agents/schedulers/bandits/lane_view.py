"""What a bandit reads of a simulator's one lane, without an observation."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgecloud_gym.simulator.simulator import Simulator

Indices = NDArray[np.int64]


class LaneView:
    """Columns of the simulator's arrays, looked up once: they are read at every decision.

    Args:
        simulator: Its lane 0 has begun an episode, and the view holds for this one.
    """

    def __init__(self, simulator: Simulator) -> None:
        state = simulator.state
        self._lane = state.lanes[0]
        self._window = state.window[0]
        self._finished = state.finished[0]
        self._rows = state.requests["row"][0]
        self._room = state.nodes["room"][0]
        self._base_latency = simulator.dataset.base_latency

    def waiting(self) -> tuple[Indices, Indices]:
        """Returns who the candidates are and their dataset rows, both (n,)."""
        ids = self._window[: self._lane["window_size"]].astype(np.int64)
        return ids, self._rows[ids].astype(np.int64)

    def room(self) -> list[int]:
        """Returns how many requests each node takes."""
        room: list[int] = self._room.tolist()
        return room

    def completed(self) -> tuple[Indices, NDArray[np.float64]]:
        """Returns dataset rows of what finished in the last step, and base latencies (s)."""
        done = self._finished[self._lane["done_before"] : self._lane["done"]]
        rows = self._rows[done].astype(np.int64)
        return rows, self._base_latency[rows]
