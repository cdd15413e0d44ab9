"""An action in the making, and how often a scheduler is called."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from agents.base import Info, Observation
from edgecloud_gym.config import CONTINUOUS, SystemConfig
from edgecloud_gym.results.records import EDGE_NODE

EDGE = 1
CLOUD = 2


class Plan:
    """An action that is filled pick by pick, with the room that the picks leave.

    A static edge takes a batch of up to K requests per free slot. A continuous edge has no
    batches to gather: its free sequence slots are what a batch may fill, one request each.

    Attributes:
        action: What `env.step` takes, int64 (M,); all wait at first.
        waiting: Candidates not assigned yet, in the queue's order.
        edge_busy: Busy edge slots: batches (static) or requests (continuous).
        edge_free: Free edge slots.
        cloud_busy: Busy cloud slots.
        cloud_free: Free cloud slots.
        continuous: Whether the edge batches continuously.
    """

    def __init__(self, observation: Observation, info: Info, config: SystemConfig) -> None:
        """Reads the state that an observation shows; an absent side has no slots."""
        pool = config.candidate_pool_size
        edge, cloud = observation.get("edge"), observation.get("cloud")
        self.action: NDArray[np.int64] = np.zeros(pool, np.int64)
        self.waiting = list(range(min(info["queue_length"], pool)))
        self.edge_busy = 0 if edge is None else int(edge[:, 0].sum())
        self.edge_free = config.edge_concurrency - self.edge_busy
        self.cloud_busy = 0 if cloud is None else int(cloud[:, 0].sum())
        self.cloud_free = config.cloud_concurrency - self.cloud_busy
        self.continuous = config.batching == CONTINUOUS
        self._capacity = config.edge_batch_capacity

    @property
    def batch_room(self) -> int:
        """How many waiting candidates the next edge batch can take."""
        if self.continuous:
            return min(len(self.waiting), self.edge_free)
        return min(len(self.waiting), self._capacity) if self.edge_free else 0

    @property
    def cloud_room(self) -> int:
        """How many waiting candidates the cloud can take."""
        return min(len(self.waiting), self.cloud_free)

    def to_edge(self, picks: Sequence[int]) -> None:
        """Sends candidates to the edge, as one batch if it is static."""
        if not picks:
            return
        slots = len(picks) if self.continuous else 1
        self._assign(picks, EDGE)
        self.edge_busy += slots
        self.edge_free -= slots

    def to_cloud(self, picks: Sequence[int]) -> None:
        """Sends candidates to the cloud."""
        self._assign(picks, CLOUD)
        self.cloud_busy += len(picks)
        self.cloud_free -= len(picks)

    def _assign(self, picks: Sequence[int], node: int) -> None:
        taken = set(picks)
        self.action[list(picks)] = node
        self.waiting = [j for j in self.waiting if j not in taken]

    def edge_then_cloud(self) -> None:
        """Fills one edge batch with the first candidates, then the cloud with the next."""
        self.to_edge(self.waiting[: self.batch_room])
        self.to_cloud(self.waiting[: self.cloud_room])


class EventCalls:
    """Counts how often a scheduler may decide at one moment: once per event.

    The reference calls its scheduler once per arrival and per completion, and a call starts at
    most one edge batch. The environment offers another decision at the same moment after each
    dispatch (``info["elapsed"]`` is 0 then); a scheduler that keeps to the reference's rules
    takes as many of them as there were events at that moment, which is one unless several
    coincide, and waits at the others.
    """

    def __init__(self, config: SystemConfig) -> None:
        self._continuous = config.batching == CONTINUOUS
        self._completions: NDArray[np.void] | None = None
        self._left: int | None = None  # None before the first decision

    def observe(self, completions: NDArray[np.void]) -> None:
        """Takes note of what finished since the last step."""
        self._completions = completions

    def is_call(self, observation: Observation, info: Info) -> bool:
        """Returns whether the scheduler is called at this decision."""
        if self._left is None or info["elapsed"] > 0.0:
            self._left = max(1, _arrivals_now(observation) + self._services_ended(info["time"]))
        if self._left == 0:
            return False
        self._left -= 1
        return True

    def _services_ended(self, now: float) -> int:
        """Returns how many services ended now, a static edge batch counting once."""
        if self._completions is None or len(self._completions) == 0:
            return 0
        ended = self._completions[self._completions["finish"] == now]
        if self._continuous or len(ended) < 2:
            return len(ended)
        on_edge = ended["node"] == EDGE_NODE
        return int(np.count_nonzero(~on_edge)) + len(np.unique(ended["dispatch"][on_edge]))


def _arrivals_now(observation: Observation) -> int:
    candidates = observation["candidates"]
    return int(np.count_nonzero((candidates[:, 0] > 0.0) & (candidates[:, 1] == 0.0)))
