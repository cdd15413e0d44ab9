"""One request on its way: it waits, is sent to a server, and the answer passes through."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any, Final

import aiohttp
import anyio

from agents.gateway.api.openai import ApiError, Question, unavailable
from agents.gateway.dispatcher import Dispatcher
from agents.gateway.limits import Limits
from agents.gateway.metrics import Metrics
from agents.gateway.servers.answers import AnswerReader
from agents.gateway.servers.server import BROKEN, FAILED, OVERLOADED, SILENT, Server, UpstreamError
from agents.gateway.ticket import Ticket

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Header = tuple[bytes, bytes]

COMPLETED: Final = "completed"
REJECTED: Final = "rejected"  # by the server, as a malformed request
FAILURE: Final = "failed"
ABANDONED: Final = "abandoned"  # by the client
TIMED_OUT: Final = "timed out"
# Headers that belong to a connection, or that the gateway writes itself.
_OWN_HEADERS: Final = {
    b"connection", b"keep-alive", b"transfer-encoding", b"upgrade", b"date", b"server", b"te",
    b"trailer", b"proxy-authenticate",
}  # fmt: skip
_RENEWED: Final = 0.05  # how late a stream may be found to have stalled, as a share of that time
_LARGEST_ANSWER: Final = 64 * 2**20  # bytes of one that does not stream


class Relay:
    """Passes a request on and its answer back, whatever happens on the way.

    A request that has shown its client nothing yet is tried elsewhere if its server fails. Each is
    answered once, or fails once.

    Args:
        dispatcher: Who chooses servers.
        servers: The servers.
        limits: What is allowed.
        metrics: What is counted.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        servers: Sequence[Server],
        limits: Limits,
        metrics: Metrics,
    ) -> None:
        self._dispatcher = dispatcher
        self._servers = servers
        self._limits = limits
        self._metrics = metrics

    async def serve(self, question: Question, ticket: Ticket, accept: str, send: Send) -> None:
        """Answers a request that has entered the queue.

        Raises:
            ApiError: If it cannot be answered, and nothing has been sent.
        """
        outcome = ABANDONED  # unless it gets further: the client's going cancels this task
        try:
            outcome = await self._try_servers(question, ticket, accept, send)
        except ApiError as error:
            outcome = TIMED_OUT if error.status == 504 else FAILURE
            raise
        finally:
            if outcome == ABANDONED and ticket.answered:
                outcome = COMPLETED  # many clients close as soon as they have read the end
            self._dispatcher.end(ticket, outcome)
            self._count(ticket)

    async def _try_servers(
        self, question: Question, ticket: Ticket, accept: str, send: Send
    ) -> str:
        deadline = anyio.current_time() + self._limits.queue_time
        while True:
            server = self._servers[await self._wait_for_node(ticket, deadline)]
            attempt = _Attempt(self._dispatcher, self._limits, server, ticket, send)
            try:
                outcome = await attempt.run(question, accept)
            except UpstreamError as error:
                self._metrics.faults.labels(server.spec.name, error.kind).inc()
                server.failed(error)
                if ticket.begun:
                    await attempt.break_off(error)
                    return FAILURE
                if ticket.attempts >= self._limits.attempts:
                    raise _final(server, error) from error
                self._dispatcher.give_back(ticket)
            else:
                server.succeeded()
                return outcome

    async def _wait_for_node(self, ticket: Ticket, deadline: float) -> int:
        with anyio.move_on_at(deadline):
            return await self._dispatcher.assigned(ticket)
        troubles = [f"{s.spec.name} {s.trouble}" for s in self._servers if not s.open]
        why = f" ({'; '.join(troubles)})" if troubles else ""
        raise unavailable(
            f"no server took the request within {self._limits.queue_time:g} s{why}",
            math.ceil(self._dispatcher.queue_seconds) or 1,
        )

    def _count(self, ticket: Ticket) -> None:
        metrics = self._metrics
        metrics.requests.labels(ticket.outcome).inc()
        if not math.isnan(ticket.dispatch):
            metrics.queue_time.observe(ticket.dispatch - ticket.arrival)
        if ticket.outcome != COMPLETED or ticket.node is None:
            return
        server = self._servers[ticket.node]
        name = server.spec.name
        beside = sum(other.node == ticket.node for other in self._dispatcher.tickets.values())
        server.slowness.see(ticket, beside)
        metrics.slowness.labels(name).set(server.slowness.factor)
        metrics.jct.labels(name).observe(ticket.finish - ticket.arrival)
        metrics.tokens.labels(name).inc(ticket.tokens)
        metrics.prompt_tokens.labels(name).inc(ticket.prompt_tokens)
        if not math.isnan(ticket.first_token):
            metrics.ttft.labels(name).observe(ticket.first_token - ticket.arrival)
            if ticket.tokens > 1:
                further = (ticket.finish - ticket.first_token) / (ticket.tokens - 1)
                metrics.tpot.labels(name).observe(further)


def _final(server: Server, error: UpstreamError) -> ApiError:
    """Returns what the client is told when the last server has failed."""
    message = f"server {server.spec.name} {error}"
    if error.kind == OVERLOADED:
        wait = 1 if math.isnan(error.retry_after) else max(1, math.ceil(error.retry_after))
        return ApiError(429, message, "rate_limit_error", "overloaded", wait)
    if error.kind == SILENT:
        return ApiError(504, message, "server_error", "timeout")
    return ApiError(502, message, "server_error", "upstream_error")


class _Attempt:
    """A request at one server."""

    def __init__(
        self, dispatcher: Dispatcher, limits: Limits, server: Server, ticket: Ticket, send: Send
    ) -> None:
        self._dispatcher = dispatcher
        self._limits = limits
        self._server = server
        self._ticket = ticket
        self._send = send
        self._held: list[bytes] = []

    async def run(self, question: Question, accept: str) -> str:
        """Asks the server and passes its answer through; returns how it ended.

        Raises:
            UpstreamError: If the server fails.
        """
        limits = self._limits
        most = limits.first_token_time if question.stream else limits.total_time
        with anyio.CancelScope(deadline=anyio.current_time() + most) as scope:
            async with self._server.answer(question, accept) as response:
                if response.status >= 400:
                    return await self._pass_whole(response, REJECTED, False)
                streams = response.headers.get("content-type", "").startswith("text/event-stream")
                if not streams:
                    return await self._pass_whole(response, COMPLETED, True)
                return await self._pass_stream(response, scope)
        if self._ticket.begun:
            raise UpstreamError(SILENT, f"gave nothing for {limits.stall_time:g} s, or took more "
                                f"than {limits.total_time:g} s")  # fmt: skip
        raise UpstreamError(SILENT, f"gave nothing within {most:g} s")

    async def _pass_whole(
        self, response: aiohttp.ClientResponse, outcome: str, counted: bool
    ) -> str:
        """Passes on an answer that does not stream, once it is all there."""
        size = 0
        async for chunk in response.content.iter_any():
            size += len(chunk)
            if size > _LARGEST_ANSWER:
                raise UpstreamError(FAILED, f"answered with more than {_LARGEST_ANSWER} bytes")
            self._held.append(chunk)
        if counted:
            reader = AnswerReader(stream=False)
            reader.feed(b"".join(self._held))
            self._close(reader)
        await self._begin(response, streams=False)
        self._ticket.answered = counted
        await self._end()
        return outcome

    async def _pass_stream(self, response: aiohttp.ClientResponse, scope: anyio.CancelScope) -> str:
        """Passes on a stream as it comes; what is before the first token goes with it."""
        limits, ticket = self._limits, self._ticket
        clock = asyncio.get_running_loop().time  # of anyio's deadlines, too; asked at every token
        latest = clock() + limits.total_time
        renewed = -math.inf
        reader = AnswerReader(stream=True)
        try:
            async for chunk in response.content.iter_any():
                reader.feed(chunk)
                ticket.tokens = reader.tokens
                if not ticket.begun and not reader.tokens and not reader.error:
                    self._held.append(chunk)
                    continue
                await self._pass_chunk(chunk, reader, response)
                ticket.answered = reader.ended and not reader.error
                now = clock()
                if now - renewed > _RENEWED * limits.stall_time:  # not for every token
                    renewed = now
                    scope.deadline = min(latest, now + (1 + _RENEWED) * limits.stall_time)
        except aiohttp.ClientError:
            if not reader.done:
                raise  # else all that matters is there
        finally:
            self._close(reader)
        if reader.error:
            self._server.failed(UpstreamError(FAILED, f"reported an error: {reader.error}"))
        elif not reader.ended and not self._ticket.begun:
            raise UpstreamError(BROKEN, "ended its stream without an answer")
        if not self._ticket.begun:
            await self._begin(response, streams=True)
        await self._end()
        return FAILURE if reader.error else COMPLETED

    async def _pass_chunk(
        self, chunk: bytes, reader: AnswerReader, response: aiohttp.ClientResponse
    ) -> None:
        if self._ticket.begun:
            await self._body(chunk)
            return
        if reader.error and not reader.tokens:
            raise UpstreamError(FAILED, f"reported an error: {reader.error}")
        self._held.append(chunk)
        self._dispatcher.first_token(self._ticket)
        await self._begin(response, streams=True)

    def _close(self, reader: AnswerReader) -> None:
        reader.close()
        self._ticket.tokens = reader.tokens
        self._ticket.prompt_tokens = reader.prompt_tokens or self._ticket.prompt_tokens
        self._ticket.cached_tokens = reader.cached_tokens

    async def _begin(self, response: aiohttp.ClientResponse, streams: bool) -> None:
        """Sends the head of the answer and what has been held back.

        A stream has no length that is known before: it may have to end with an error event.
        """
        self._ticket.begun = True
        own = _OWN_HEADERS | {b"content-length"} if streams else _OWN_HEADERS
        headers: list[Header] = [
            (name.lower(), value) for name, value in response.raw_headers if name.lower() not in own
        ]
        headers.append((b"x-edgecloud-node", self._server.spec.name.encode("utf-8", "replace")))
        start = {"type": "http.response.start", "status": response.status, "headers": headers}
        await self._send(start)
        held, self._held = b"".join(self._held), []
        await self._body(held)

    async def _body(self, chunk: bytes) -> None:
        await self._send({"type": "http.response.body", "body": chunk, "more_body": True})

    async def _end(self) -> None:
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def break_off(self, error: UpstreamError) -> None:
        """Tells a client that has seen part of the answer that there will be no more."""
        message = f"server {self._server.spec.name} {error}"
        await self._body(ApiError(502, message, "server_error", "upstream_error").event)
        await self._end()
