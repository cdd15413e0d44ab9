"""Who waits, who is where: between the requests, each a task, and the decision process."""

from __future__ import annotations

import asyncio
import itertools
import logging
import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from agents.gateway.decisions import DecisionProcess, Outcome, Round
from agents.gateway.metrics import Metrics
from agents.gateway.servers.server import Server
from agents.gateway.ticket import Ticket
from edgecloud_gym.simulator.compiled.follow import (
    FINISHED,
    FIRST_TOKEN,
    LEFT,
    PROGRESS,
    RETURNED,
)
from edgecloud_gym.simulator.live import LiveEvent, LiveRequest

AT_ONCE: Final = 256  # arrivals in a round
PATIENCE: Final = 1.0  # s that an agent may have all wait while nobody is at any node
_LOG = logging.getLogger(__name__)


class QueueFullError(Exception):
    """No more requests may wait."""


class Watcher(Protocol):
    """Who is told of rounds and of requests that have ended, such as a recorder."""

    def on_round(self, told: Round, outcome: Outcome) -> None:
        """Is told of a round; called where decisions are taken."""

    def on_end(self, ticket: Ticket) -> None:
        """Is told of a request that has ended."""

    def close(self) -> None:
        """Is told that nothing more will come."""


class Dispatcher:
    """Lets the decision process decide whenever something has happened.

    What happens is gathered while a round is decided, in a thread of its own, so that answers pass
    on meanwhile; the next round gets all of it.

    Attributes:
        tickets: Those who wait or are at nodes, by key.
    """

    def __init__(
        self,
        process: DecisionProcess,
        servers: Sequence[Server],
        queue: int,
        clock: Callable[[], float],
        metrics: Metrics,
        watchers: Sequence[Watcher] = (),
    ) -> None:
        self.tickets: dict[int, Ticket] = {}
        self.capacity = float(process.player.env.simulator.workload.capacity)
        self._process = process
        self._servers = servers
        self._queue = queue
        self._clock = clock
        self._metrics = metrics
        self._watchers = watchers
        self._deaf: list[Watcher] = []  # whom something has failed: they are told nothing more
        self._keys = itertools.count()
        self._news = asyncio.Event()
        self._arrivals: dict[int, LiveRequest] = {}
        self._events: list[LiveEvent] = []
        self._waiting = 0
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="decisions")

    @property
    def waiting(self) -> int:
        """How many requests wait."""
        return self._waiting

    @property
    def queue_seconds(self) -> float:
        """How long the queue would take to empty, by what the nodes are believed to complete."""
        return self._waiting / self.capacity

    def check_room(self, arriving: int = 0) -> None:
        """Raises `QueueFullError` if no more requests may wait beside those and so many others."""
        if self._waiting + arriving >= self._queue:
            raise QueueFullError

    def enter(
        self, arrival: float, prompt_tokens: int, embedding: NDArray[np.float32] | None
    ) -> Ticket:
        """Lets a request wait.

        Raises:
            QueueFullError: If no more may.
        """
        self.check_room()
        ticket = Ticket(next(self._keys), arrival, prompt_tokens, assigned=asyncio.Event())
        self.tickets[ticket.key] = ticket
        self._count_waiting(1)
        self._arrivals[ticket.key] = LiveRequest(ticket.key, arrival, prompt_tokens, embedding)
        self._news.set()
        return ticket

    async def assigned(self, ticket: Ticket) -> int:
        """Waits until the agent has chosen a node for a request; returns it."""
        assert ticket.assigned is not None
        await ticket.assigned.wait()
        assert ticket.node is not None
        return ticket.node

    def first_token(self, ticket: Ticket) -> None:
        """Takes note that a request has given its first token."""
        ticket.first_token = self._clock()
        self._events.append(LiveEvent(ticket.first_token, FIRST_TOKEN, ticket.key))

    def give_back(self, ticket: Ticket) -> None:
        """Lets a request wait again that its node has failed."""
        self._leave_node(ticket)
        ticket.dispatch = ticket.first_token = math.nan
        ticket.tokens = ticket.told_tokens = 0
        ticket.assigned = asyncio.Event()
        self._count_waiting(1)
        self._metrics.retries.inc()
        self._tell(RETURNED, ticket)

    def end(self, ticket: Ticket, outcome: str) -> None:
        """Frees what a request holds, once and for all.

        Args:
            ticket: The request.
            outcome: ``"completed"``, or how else it ended.
        """
        if ticket.outcome:
            return
        ticket.outcome = outcome
        ticket.finish = self._clock()
        del self.tickets[ticket.key]
        if ticket.node is None:
            self._count_waiting(-1)
            if self._arrivals.pop(ticket.key, None) is None:  # else nobody has heard of it
                self._tell(LEFT, ticket)
        else:
            self._tell(FINISHED if outcome == "completed" else LEFT, ticket, ticket.tokens)
            self._metrics.running.labels(self._servers[ticket.node].spec.name).dec()
        self._tell_watchers(lambda watcher: watcher.on_end(ticket))

    def wake(self) -> None:
        """Lets it decide anew, as after a server has come or gone."""
        self._news.set()

    async def run(self) -> None:
        """Decides whenever something has happened, until it is cancelled."""
        loop = asyncio.get_running_loop()
        stuck = False
        while True:
            force = await self._has_news(stuck)
            told = self._take_news(force)
            outcome = await loop.run_in_executor(self._pool, self._decide, told)
            stuck = outcome.stuck
            self._carry_out(outcome, told)

    async def _has_news(self, stuck: bool) -> bool:
        """Waits for news; returns whether the oldest have waited long enough without any."""
        try:
            async with asyncio.timeout(PATIENCE if stuck else None):
                await self._news.wait()
        except TimeoutError:
            return True
        return False

    def _take_news(self, force: bool) -> Round:
        self._news.clear()
        now = self._clock()
        events = self._events
        for ticket in self.tickets.values():
            if ticket.tokens > ticket.told_tokens:
                ticket.told_tokens = ticket.tokens
                events.append(LiveEvent(now, PROGRESS, ticket.key, ticket.tokens))
        closed = tuple(server.closed_places for server in self._servers)
        # No more at a time than the decision process has room for beside a full queue.
        arrivals = list(self._arrivals.values())[:AT_ONCE]
        for request in arrivals:
            del self._arrivals[request.key]
        if self._arrivals:
            self._news.set()
        self._events = []
        return Round(now, arrivals, events, closed, force)

    def _decide(self, told: Round) -> Outcome:
        with self._metrics.decision_time.time():
            outcome = self._process.decide(told)
        self._tell_watchers(lambda watcher: watcher.on_round(told, outcome))
        return outcome

    def _tell_watchers(self, tell: Callable[[Watcher], None]) -> None:
        for watcher in self._watchers:
            if watcher in self._deaf:
                continue
            try:
                tell(watcher)
            except OSError as error:  # such as a full disk, which requests must not suffer from
                self._deaf.append(watcher)
                _LOG.error("%s hears no more: %s", type(watcher).__name__, error)

    def _carry_out(self, outcome: Outcome, told: Round) -> None:
        metrics = self._metrics
        metrics.decisions.inc(len(outcome.actions))
        metrics.agent_faults.inc(outcome.fallbacks)
        metrics.forced.inc(outcome.forced)
        for key, node in outcome.sent:
            if self._process.shadow is not None:
                alike = outcome.shadow.get(key) == node
                metrics.shadow.labels("same" if alike else "other").inc()
            ticket = self.tickets.get(key)
            if ticket is None:
                continue  # it has left meanwhile, which the next round will hear
            ticket.node = node
            ticket.dispatch = told.now
            ticket.attempts += 1
            self._count_waiting(-1)
            metrics.running.labels(self._servers[node].spec.name).inc()
            assert ticket.assigned is not None
            ticket.assigned.set()

    def _leave_node(self, ticket: Ticket) -> None:
        assert ticket.node is not None
        self._metrics.running.labels(self._servers[ticket.node].spec.name).dec()
        ticket.node = None

    def _count_waiting(self, more: int) -> None:
        self._waiting += more
        self._metrics.waiting.set(self._waiting)

    def _tell(self, kind: int, ticket: Ticket, value: int = 0) -> None:
        self._events.append(LiveEvent(self._clock(), kind, ticket.key, value))
        if self._waiting:  # else there is nothing to decide; the next round will hear of it
            self._news.set()

    async def save(self, work: Callable[[], None]) -> None:
        """Does work that must not meet a decision, such as saving the agent."""
        await asyncio.get_running_loop().run_in_executor(self._pool, work)

    def close(self) -> None:
        """Ends the thread of the decisions."""
        self._pool.shutdown(wait=True)
        for watcher in self._watchers:
            try:
                watcher.close()
            except OSError as error:
                _LOG.error("%s could not be closed: %s", type(watcher).__name__, error)
