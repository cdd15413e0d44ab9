"""A single lane's action in the making."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgecloud_gym.simulator.legality import PartialAction
from edgecloud_gym.simulator.simulator import Simulator


class LaneAction(PartialAction):
    """An action of the simulator's one lane that is filled pick by pick."""

    def __init__(self, simulator: Simulator) -> None:
        """Begins with the state that the lane is in."""
        config = simulator.config
        super().__init__(1, config.candidate_pool_size, len(config.nodes))
        self.begin(simulator.present, simulator.room)

    @property
    def action(self) -> NDArray[np.int64]:
        """What `env.step` takes, int64 (M,)."""
        return np.asarray(self.picks[0])

    @property
    def waiting(self) -> list[int]:
        """Candidates not assigned yet, in the queue's order."""
        candidates: list[int] = np.flatnonzero(self.unassigned[0]).tolist()
        return candidates
