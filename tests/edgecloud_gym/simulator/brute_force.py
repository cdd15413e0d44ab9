"""The system written as plainly as possible: lists, sorting and a scan for the next event.

Slow, and independent of the simulator that it checks: it follows DESIGN's words, keeps the work
that is left of everything in service, and lowers it from event to event.
"""

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

TINY = 1e-11  # s, work left that is only rounding


@dataclass(frozen=True)
class System:
    """The settings, and one episode's requests by id."""

    arrivals: list[float]
    base: list[float]
    scores: list[float]
    continuous: bool
    edge: int
    capacity: int  # of a batch
    cloud: int
    slowdown: list[float]
    multiplier: float
    rtt: float
    candidates: int
    work_conserving: bool
    duration: float
    drain: bool
    slo: float


@dataclass
class Service:
    """An edge batch or a cloud request in service."""

    members: list[int]
    left: float
    started: float
    node: str


@dataclass
class Terms:
    """What one step yields."""

    invalid_assignments: int = 0
    forced_dispatches: int = 0
    jct: float = 0.0
    completed: int = 0
    cloud_seconds: float = 0.0
    slo_violations: int = 0


@dataclass
class BruteForce:
    """One episode. After `start` and every `step` it stands at a decision epoch, or has ended."""

    system: System
    now: float = 0.0
    arrived: int = 0
    waiting: list[int] = field(default_factory=list)
    edge: list[Service] = field(default_factory=list)
    cloud: list[Service] = field(default_factory=list)
    log: dict[int, tuple[str, float, float]] = field(default_factory=dict)  # node, start, finish
    terms: Terms = field(default_factory=Terms)
    terminated: bool = False
    truncated: bool = False

    def start(self) -> None:
        """Moves to the first decision epoch."""
        self._advance(dispatched=False)

    def step(self, action: NDArray[np.int64]) -> None:
        """Applies an action and moves to the next decision epoch."""
        self.terms = Terms()
        before = len(self.waiting)
        self._apply(action)
        self._advance(dispatched=len(self.waiting) < before)

    def ranked(self) -> list[int]:
        """The candidates in order."""
        order = sorted(self.waiting, key=lambda request: (self.system.scores[request], request))
        return order[: self.system.candidates]

    def in_service(self) -> list[int]:
        return [request for service in self.edge + self.cloud for request in service.members]

    def _apply(self, action: NDArray[np.int64]) -> None:
        candidates = self.ranked()
        named = dict(zip(candidates, action, strict=False))
        to_edge = [request for request, node in named.items() if node == 1]
        to_cloud = [request for request, node in named.items() if node == 2]
        to_edge = to_edge[: self._edge_room()]
        to_cloud = to_cloud[: self.system.cloud - len(self.cloud)]
        picks = int(np.count_nonzero(action))
        self.terms.invalid_assignments = picks - len(to_edge) - len(to_cloud)
        self._serve_edge(to_edge)
        self._serve_cloud(to_cloud)
        if self.system.work_conserving:
            self._fill([request for request in candidates if request in self.waiting])

    def _edge_room(self) -> int:
        return (self.system.edge - len(self.edge)) * self.system.capacity

    def _fill(self, requests: list[int]) -> None:
        """Gives the idle slots these requests, in order and the edge first."""
        room = self._edge_room()
        self._serve_edge(requests[:room])
        self._serve_cloud(requests[room:][: self.system.cloud - len(self.cloud)])

    def _serve_edge(self, requests: list[int]) -> None:
        size = self.system.capacity
        for first in range(0, len(requests), size):
            batch = requests[first : first + size]
            left = max(self.system.base[request] for request in batch)
            if not self.system.continuous:
                left *= self.system.slowdown[len(batch) - 1]
            self.edge.append(self._service(batch, left, "edge"))

    def _serve_cloud(self, requests: list[int]) -> None:
        for request in requests:
            left = max(0.001, self.system.base[request] * self.system.multiplier) + self.system.rtt
            self.cloud.append(self._service([request], left, "cloud"))

    def _service(self, members: list[int], left: float, node: str) -> Service:
        for request in members:
            self.waiting.remove(request)
        return Service(members, left, self.now, node)

    def _edge_rate(self) -> float:
        """Work done on each edge request in a second."""
        shared = self.system.continuous and self.edge
        return 1.0 / self.system.slowdown[len(self.edge) - 1] if shared else 1.0

    def _is_epoch(self) -> bool:
        free = len(self.edge) < self.system.edge or len(self.cloud) < self.system.cloud
        return free and bool(self.waiting)

    def _next_event(self) -> float:
        times = [self.now + service.left / self._edge_rate() for service in self.edge]
        times += [self.now + service.left for service in self.cloud]
        times += self.system.arrivals[self.arrived : self.arrived + 1]
        return min(times, default=math.inf)

    def _advance(self, dispatched: bool) -> None:
        while not (dispatched and self._is_epoch()):
            time = self._next_event()
            if not self.system.drain and time > self.system.duration:
                self._pass_time(self.system.duration)
                self.truncated = True
                return
            if time == math.inf and not self.waiting:
                self.terminated = True
                return
            if time == math.inf:
                before = len(self.waiting)
                self._fill(sorted(self.waiting))
                self.terms.forced_dispatches += before - len(self.waiting)
            else:
                self._pass_time(time)
                self._process_events()
            dispatched = True

    def _pass_time(self, until: float) -> None:
        passed = until - self.now
        self.terms.jct -= passed * (len(self.waiting) + len(self.in_service()))
        self.terms.cloud_seconds += passed * len(self.cloud)
        rate = self._edge_rate()
        for service in self.edge:
            service.left -= passed * rate
        for service in self.cloud:
            service.left -= passed
        self.now = until

    def _process_events(self) -> None:
        for service in self.edge + self.cloud:
            if service.left <= TINY:
                for request in service.members:
                    self._complete(request, service)
        self.edge = [service for service in self.edge if service.left > TINY]
        self.cloud = [service for service in self.cloud if service.left > TINY]
        arrivals = self.system.arrivals
        while self.arrived < len(arrivals) and arrivals[self.arrived] <= self.now:
            self.waiting.append(self.arrived)
            self.arrived += 1

    def _complete(self, request: int, service: Service) -> None:
        self.log[request] = (service.node, service.started, self.now)
        self.terms.completed += 1
        self.terms.slo_violations += self.now - self.system.arrivals[request] > self.system.slo
