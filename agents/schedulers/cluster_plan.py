"""A router's action in the making: requests go to nodes one by one, of which there may be any."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from agents.base import Observation
from agents.schedulers.lane_action import LaneAction
from edgecloud_gym.nodes import Slots
from edgecloud_gym.simulator.observation import NODES
from edgecloud_gym.simulator.simulator import Simulator


class ClusterPlan(LaneAction):
    """An action of a single lane, with what routers look at.

    Attributes:
        speed: What each node can complete, requests/s (nodes,).
        is_cloud: Which nodes are slots, bool (nodes,).
    """

    def __init__(self, simulator: Simulator, observation: Observation) -> None:
        """Begins with the state that the simulator's one lane is in."""
        config = simulator.config
        super().__init__(simulator)
        self.speed = np.array(simulator.workload.capacities)
        self.is_cloud = np.array([isinstance(node, Slots) for node in config.nodes])
        self._total = simulator.total_room
        self._first_room = self.room[0].copy()
        self._seen_room = self._first_room
        self._cache = np.zeros(len(self.speed))
        shown = observation.get("nodes")
        if shown is not None:  # of a cluster, perhaps as it was `signal_age` ago
            self._seen_room = np.rint(shown[:, NODES.positions.room] * self._total).astype(np.int64)
            self._cache = shown[:, NODES.positions.cache]

    @property
    def open(self) -> NDArray[np.int64]:
        """The nodes that still take a request, in their order."""
        return np.flatnonzero(self.room[0] > 0)

    @property
    def occupied(self) -> NDArray[np.int64]:
        """How many places of each node are taken, in service and in its backlog (nodes,).

        As the router sees them (``signal_age``), with what this action sends besides. A batch that
        runs takes all places of its own.
        """
        sent = self._first_room - self.room[0]
        return np.asarray(self._total - self._seen_room + sent)

    @property
    def load(self) -> NDArray[np.float64]:
        """How long each node is busy with what it has and one request more, s (nodes,)."""
        with np.errstate(divide="ignore"):  # of a node that takes nothing
            return np.asarray((self.occupied + 1) / self.speed)

    @property
    def cache_use(self) -> NDArray[np.float64]:
        """Share of each node's cache that is taken; of its places, if that is more (nodes,)."""
        return np.maximum(self._cache, self.occupied / np.maximum(1, self._total))

    def send(self, candidate: int, node: int) -> None:
        """Sends a candidate to a node that has room for it."""
        self.assign(0, candidate, node)


def least(values: NDArray[np.float64] | NDArray[np.int64], among: NDArray[np.int64]) -> int:
    """Returns which of some nodes has the least value; of equals the first."""
    return int(among[np.argmin(values[among])])
