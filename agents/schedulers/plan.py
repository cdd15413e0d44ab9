"""A scheduler's action in the making, and how often a scheduler is called."""

from __future__ import annotations

from collections.abc import Sequence

from agents.base import Info
from agents.rules.plan import calls_left
from agents.schedulers.lane_action import LaneAction
from edgecloud_gym.config import CONTINUOUS
from edgecloud_gym.nodes import CLOUD_NODE, EDGE_NODE
from edgecloud_gym.simulator.simulator import Simulator


class Plan(LaneAction):
    """An action of a single lane that is filled pick by pick, with the room that the picks leave.

    A static edge takes a batch of up to K requests per free slot. A continuous edge has no
    batches to gather: its free sequence slots are what a batch may fill, one request each.

    Attributes:
        continuous: Whether the edge batches continuously.
        edge_busy: Busy edge slots: batches (static) or requests (continuous).
        cloud_busy: Busy cloud slots.
    """

    def __init__(self, simulator: Simulator) -> None:
        """Begins with the state that the simulator's one lane is in."""
        super().__init__(simulator)
        self.continuous = simulator.config.batching == CONTINUOUS
        self.edge_busy, self.cloud_busy = simulator.busy_slots(0)
        self._batch_capacity = simulator.batch_capacity

    @property
    def edge_free(self) -> bool:
        """Whether a batch can start on the edge."""
        return bool(self.room[0, EDGE_NODE] > 0)

    @property
    def cloud_free(self) -> bool:
        """Whether a request can start in the cloud."""
        return bool(self.room[0, CLOUD_NODE] > 0)

    @property
    def batch_room(self) -> int:
        """How many waiting candidates the next edge batch can take."""
        room = int(self.room[0, EDGE_NODE])
        if not self.continuous:
            room = min(room, self._batch_capacity)
        return min(room, int(self.unassigned.sum()))

    @property
    def cloud_room(self) -> int:
        """How many waiting candidates the cloud can take."""
        return min(int(self.room[0, CLOUD_NODE]), int(self.unassigned.sum()))

    def to_edge(self, picks: Sequence[int]) -> None:
        """Sends candidates to the edge, as one batch if it is static."""
        if not picks:
            return
        self._send(picks, EDGE_NODE)
        if self.continuous:
            self.edge_busy += len(picks)
        else:
            self.edge_busy += 1
            self.room[0, EDGE_NODE] -= self._batch_capacity - len(picks)  # the batch has started

    def to_cloud(self, picks: Sequence[int]) -> None:
        """Sends candidates to the cloud."""
        self._send(picks, CLOUD_NODE)
        self.cloud_busy += len(picks)

    def _send(self, picks: Sequence[int], node: int) -> None:
        for candidate in picks:
            self.assign(0, candidate, node)

    def edge_then_cloud(self) -> None:
        """Fills one edge batch with the first candidates, then the cloud with the next."""
        self.to_edge(self.waiting[: self.batch_room])
        self.to_cloud(self.waiting[: self.cloud_room])


def calls_at(left: int, info: Info) -> int:
    """Returns how many calls are left at a decision, of ``left`` after the one before it."""
    events = info["arrivals"] + info["services_ended"]
    return int(calls_left.py_func(left, info["elapsed"], events))


class CallBudget:
    """How often a scheduler may decide at one moment: once per event; see `calls_left`."""

    def __init__(self) -> None:
        self._left = -1  # before the first decision

    def has(self, info: Info) -> bool:
        """Tells whether `take` would take a call at this decision."""
        return calls_at(self._left, info) > 0

    def take(self, info: Info) -> bool:
        """Takes a call, if one is left at this decision; returns whether there was one."""
        return self.take_of(info["elapsed"], info["arrivals"] + info["services_ended"])

    def take_of(self, elapsed: float, events: int) -> bool:
        """The same, told the time since the last decision (s) and the events of this moment."""
        left = calls_left.py_func(self._left, elapsed, events)
        self._left = max(0, left - 1)
        return bool(left > 0)
