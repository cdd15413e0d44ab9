"""The reference's static system in plain lines, an independent check beyond its traces."""

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray


@dataclass
class PlainSystem:
    """Arrivals, completions and one call of the scheduler after each.

    Attributes:
        node: "edge" or "cloud" per request.
        start, finish: Times per request (s).
    """

    arrival: NDArray[np.float64]
    base: NDArray[np.float64]
    edge_slots: int
    batch: int
    cloud_slots: int
    multiplier: float
    rtt: float
    queue: list[int] = field(default_factory=list)
    edge_busy: int = 0
    cloud_busy: int = 0
    edge_next: bool = True
    now: float = 0.0

    def run(self, rule: Callable[["PlainSystem"], None]) -> None:
        n = len(self.arrival)
        self.node = np.full(n, "", dtype=object)
        self.start, self.finish = np.full(n, np.nan), np.full(n, np.nan)
        self.events = [(t, i, "arrival", [i]) for i, t in enumerate(self.arrival)]
        heapq.heapify(self.events)
        while self.events:
            self.now, _, kind, requests = heapq.heappop(self.events)
            if kind == "arrival":
                self.queue += requests
            elif kind == "edge":
                self.edge_busy -= 1
            else:
                self.cloud_busy -= 1
            rule(self)

    def _begin(self, node: str, requests: list[int], duration: float) -> None:
        self.queue = [i for i in self.queue if i not in requests]
        self.node[requests] = node
        self.start[requests] = self.now
        self.finish[requests] = self.now + duration
        heapq.heappush(self.events, (self.now + duration, requests[0], node, requests))

    def to_edge(self) -> bool:
        if not self.queue or self.edge_busy == self.edge_slots:
            return False
        oldest = self.queue[: self.batch]
        self.edge_busy += 1
        self._begin("edge", oldest, self.base[oldest].max())
        return True

    def to_cloud(self) -> bool:
        if not self.queue or self.cloud_busy == self.cloud_slots:
            return False
        oldest = self.queue[0]
        self.cloud_busy += 1
        self._begin("cloud", [oldest], max(0.001, self.base[oldest] * self.multiplier) + self.rtt)
        return True


def fcfs(system: PlainSystem) -> None:
    system.to_edge()
    while system.to_cloud():
        pass


def round_robin(system: PlainSystem) -> None:
    turns = (
        (system.to_edge, system.to_cloud) if system.edge_next else (system.to_cloud, system.to_edge)
    )
    for turn in turns:
        if turn():
            system.edge_next = turn == system.to_cloud
            return


def least_connections(system: PlainSystem) -> None:
    s = system
    if s.cloud_busy == s.cloud_slots or s.edge_busy <= s.cloud_busy:
        s.to_edge()
    while s.edge_busy == s.edge_slots or s.cloud_busy < s.edge_busy:
        if not s.to_cloud():
            return


RULES = {
    "fcfs": fcfs,
    "round-robin": round_robin,
    "least-connections": least_connections,
    "queue-length": least_connections,
}


@pytest.mark.parametrize("agent", RULES)
@pytest.mark.parametrize(
    ("rate", "edge", "batch", "cloud", "multiplier"),
    [
        (5.0, 1, 4, 8, 1.0),  # the reference's own defaults: overload
        (5.0, 3, 8, 8, 0.7),
        (5.0, 2, 3, 4, 0.7),
        (1.0, 3, 4, 2, 1.3),
        (2.0, 0, 4, 8, 1.0),
        (1.0, 2, 8, 0, 1.0),
    ],
)
def test_independent_model(
    play_static: Callable[..., pd.DataFrame],
    assert_same_log: Callable[..., None],
    agent: str,
    rate: float,
    edge: int,
    batch: int,
    cloud: int,
    multiplier: float,
) -> None:
    rng = np.random.default_rng([edge, batch, cloud])
    arrival = np.sort(rng.uniform(0.0, 600.0, int(rate * 600.0)))
    base = rng.lognormal(0.7, 0.6, len(arrival))
    plain = PlainSystem(arrival, base, edge, batch, cloud, multiplier, rtt=0.05)
    plain.run(RULES[agent])
    expected = pd.DataFrame(
        {
            "arrival_time": arrival,
            "node": plain.node,
            "start_time": plain.start,
            "completion_time": plain.finish,
        }
    )
    log = play_static(
        agent, arrival, base, edge=edge, batch=batch, cloud=cloud, multiplier=multiplier
    )
    assert_same_log(log, expected)
