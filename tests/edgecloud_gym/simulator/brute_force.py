"""The system written as plainly as possible: lists, sorting and a scan for the next event.

Slow, and independent of the simulator that it checks: it follows DESIGN's words, keeps the work
that is left of everything in service, and lowers it from event to event.
"""

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

TINY = 1e-11  # s, work left that is only rounding


@dataclass
class Service:
    """A batch or a single request in service."""

    members: list[int]
    left: float
    started: float


@dataclass
class Server:
    """A node, what runs there and who queues there: requests and when each has come."""

    name: str
    kind: str  # "static", "sequences" or "slots"
    services: int
    capacity: int = 1  # of a batch
    slowdown: list[float] = field(default_factory=list)
    multiplier: float = 1.0
    rtt: float = 0.0
    backlog: int = 0
    running: list[Service] = field(default_factory=list)
    queue: list[tuple[int, float]] = field(default_factory=list)

    def rate(self) -> float:
        """Work done on each service in a second."""
        shared = self.kind == "sequences" and self.running
        return 1.0 / self.slowdown[len(self.running) - 1] if shared else 1.0

    def idle(self) -> int:
        """How many requests could start at once, had they come already."""
        free = (self.services - len(self.running)) * self.capacity
        return max(0, free - (len(self.queue) if self.kind == "sequences" else 0))

    def room(self) -> int:
        """How many requests it takes."""
        free = (self.services - len(self.running)) * self.capacity
        return free + self.backlog - len(self.queue)

    def requests(self) -> list[int]:
        running = [request for service in self.running for request in service.members]
        return running + [request for request, _ in self.queue]

    def work(self, base: list[float]) -> float:
        """What a service for requests of these base times has to do."""
        longest = self.multiplier * max(base)
        if self.kind == "static":
            return longest * self.slowdown[len(base) - 1] + self.rtt
        return longest if self.kind == "sequences" else max(0.001, longest) + self.rtt


@dataclass(frozen=True)
class System:
    """The settings, and one episode's requests by id."""

    arrivals: list[float]
    base: list[float]
    scores: list[float]
    candidates: int
    work_conserving: bool
    duration: float
    drain: bool
    slo: float


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
    servers: list[Server]
    now: float = 0.0
    arrived: int = 0
    waiting: list[int] = field(default_factory=list)
    log: dict[int, tuple[str, float, float]] = field(default_factory=dict)  # node, start, finish
    terms: Terms = field(default_factory=Terms)
    terminated: bool = False
    truncated: bool = False

    def start(self) -> None:
        """Moves to the first decision epoch."""
        self._advance(may_decide=False)

    def step(self, action: NDArray[np.int64]) -> None:
        """Applies an action and moves to the next decision epoch."""
        self.terms = Terms()
        before = len(self.waiting)
        self._apply(action)
        self._advance(may_decide=len(self.waiting) < before)

    def ranked(self) -> list[int]:
        """The candidates in order."""
        order = sorted(self.waiting, key=lambda request: (self.system.scores[request], request))
        return order[: self.system.candidates]

    def in_service(self) -> list[int]:
        return [request for server in self.servers for request in server.requests()]

    def _apply(self, action: NDArray[np.int64]) -> None:
        candidates = self.ranked()
        picks = int(np.count_nonzero(action))
        for number, server in enumerate(self.servers, start=1):
            wanted = [r for r, choice in zip(candidates, action, strict=False) if choice == number]
            taken = wanted[: server.room()]
            self._dispatch(server, taken)
            picks -= len(taken)
        self.terms.invalid_assignments = picks
        if self.system.work_conserving:
            self._fill([request for request in candidates if request in self.waiting])

    def _fill(self, requests: list[int]) -> None:
        """Gives the idle services these requests, in order and the first node first."""
        for server in self.servers:
            taken = requests[: server.idle()]
            requests = requests[len(taken) :]
            self._dispatch(server, taken)

    def _dispatch(self, server: Server, requests: list[int]) -> None:
        for request in requests:
            self.waiting.remove(request)
        travel = server.rtt if server.kind == "sequences" else 0.0
        server.queue += [(request, self.now + travel) for request in requests]
        self._serve(server)

    def _serve(self, server: Server) -> None:
        """Starts who has come, as far as services are free."""
        while server.queue and len(server.running) < server.services:
            come = [request for request, time in server.queue if time <= self.now]
            batch = come[: server.capacity]
            if not batch:
                return
            del server.queue[: len(batch)]
            left = server.work([self.system.base[request] for request in batch])
            server.running.append(Service(batch, left, self.now))

    def _next_event(self) -> float:
        times = self.system.arrivals[self.arrived : self.arrived + 1]
        for server in self.servers:
            times += [self.now + service.left / server.rate() for service in server.running]
            if len(server.running) < server.services:
                times += [time for _, time in server.queue[:1]]
        return min(times, default=math.inf)

    def _can_decide(self) -> bool:
        return bool(self.waiting) and any(server.room() > 0 for server in self.servers)

    def _advance(self, may_decide: bool) -> None:
        while not (may_decide and self._can_decide()):
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
                may_decide = True
            else:
                self._pass_time(time)
                may_decide |= self._process_events()

    def _pass_time(self, until: float) -> None:
        passed = until - self.now
        self.terms.jct -= passed * (len(self.waiting) + len(self.in_service()))
        for server in self.servers:
            rate = server.rate()
            for service in server.running:
                service.left -= passed * rate
            if server.kind == "slots":
                self.terms.cloud_seconds += passed * len(server.running)
        self.now = until

    def _process_events(self) -> bool:
        """Completes and welcomes; tells whether anything of that happened."""
        before = len(self.log) + self.arrived
        for server in self.servers:
            for service in server.running:
                if service.left <= TINY:
                    for request in service.members:
                        self._complete(request, service, server.name)
            server.running = [service for service in server.running if service.left > TINY]
            self._serve(server)
        arrivals = self.system.arrivals
        while self.arrived < len(arrivals) and arrivals[self.arrived] <= self.now:
            self.waiting.append(self.arrived)
            self.arrived += 1
        return len(self.log) + self.arrived > before

    def _complete(self, request: int, service: Service, node: str) -> None:
        self.log[request] = (node, service.started, self.now)
        self.terms.completed += 1
        self.terms.slo_violations += self.now - self.system.arrivals[request] > self.system.slo
