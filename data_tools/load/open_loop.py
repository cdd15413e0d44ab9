"""Requests sent when they are due, however slow the answers: an open loop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from data_tools.backends.chat import UNREACHED, ChatClient, Exchange, now
from data_tools.load.records import RequestRecord, record_of

GONE_AFTER: Final = 20  # requests in a row that find no server


class ServerGoneError(ConnectionError):
    """The server cannot be reached any more: going on would measure nothing."""


@dataclass(frozen=True)
class PlannedRequest:
    """A request and its moment.

    Attributes:
        at: When to send it, s from the start.
        prompt: What the user says.
        max_tokens: Cap on the answer's length.
    """

    at: float
    prompt: str
    max_tokens: int


Ask = Callable[[PlannedRequest, Callable[[Exchange], object]], Awaitable[Exchange]]


def asking(client: ChatClient, extra: dict[str, object] | None = None) -> Ask:
    """Returns what sends a planned request to a server."""

    def ask(request: PlannedRequest, on_chunk: Callable[[Exchange], object]) -> Awaitable[Exchange]:
        return client.ask(request.prompt, request.max_tokens, extra=extra, on_chunk=on_chunk)

    return ask


class OpenLoop:
    """Sends every request of a plan at its moment; nothing waits for an answer.

    Waiting for slow answers before sending more would hide just the delays that a busy server
    causes (coordinated omission). A request that is due while too many are in flight is not sent
    later but not at all, and recorded as such.

    Args:
        ask: Sends a request; `asking` makes one for a server.
        plan: In order of their moments.
        most_in_flight: How many may be unanswered at a time.
        on_record: Called with each request's record when it is answered or given up.

    Attributes:
        in_flight: How many are unanswered.
        handled: How many have a record.
        failed: How many of these failed.
        sent: How many were sent.

    Raises:
        ServerGoneError: From `run`, after several requests in a row without a connection.
    """

    def __init__(
        self,
        ask: Ask,
        plan: Sequence[PlannedRequest],
        *,
        most_in_flight: int,
        on_record: Callable[[RequestRecord], object],
    ) -> None:
        self._ask = ask
        self._plan = plan
        self._most = most_in_flight
        self._on_record = on_record
        self._tasks: set[asyncio.Task[None]] = set()
        self._exchanges: dict[int, Exchange] = {}
        self._unreached = 0
        self._start = 0.0
        self.in_flight = 0
        self.handled = 0
        self.failed = 0
        self.sent = 0

    @property
    def elapsed(self) -> float:
        """Time since it began, s."""
        return now() - self._start

    async def run(self) -> None:
        """Sends all, then waits for the answers; cancelled, it records what was in flight."""
        self._start = now()
        try:
            for index, request in enumerate(self._plan):
                await asyncio.sleep(max(0.0, self._start + request.at - now()))
                self._check_server()
                if self.in_flight >= self._most:
                    self._record(RequestRecord(request=index, planned=round(request.at, 6)))
                    continue
                self.in_flight += 1
                self.sent += 1
                task = asyncio.create_task(self._send(index, request))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            while self._tasks:
                await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
                self._check_server()
        finally:
            pending = list(self._tasks)
            for task in pending:
                task.cancel()
            await asyncio.gather(*pending, return_exceptions=True)

    async def _send(self, index: int, request: PlannedRequest) -> None:
        def keep(exchange: Exchange) -> None:
            self._exchanges[index] = exchange

        try:
            exchange = await self._ask(request, keep)
            self._unreached = self._unreached + 1 if exchange.status == UNREACHED else 0
        finally:
            self.in_flight -= 1
            kept = self._exchanges.pop(index, None)
            if kept is not None:
                self._record(record_of(index, request.at, kept, self._start))

    def _record(self, record: RequestRecord) -> None:
        self.handled += 1
        self.failed += record.error is not None
        self._on_record(record)

    def _check_server(self) -> None:
        if self._unreached >= GONE_AFTER:
            raise ServerGoneError(f"{self._unreached} requests in a row found no server")
