"""One request on its way: it waits, is sent to a server, and the answer passes through."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from typing import Final

import aiohttp
import anyio

from agents.gateway.api.openai import ApiError, Question, unavailable
from agents.gateway.dispatcher import Dispatcher
from agents.gateway.limits import Limits
from agents.gateway.metrics import Metrics
from agents.gateway.reply import Reply, Send
from agents.gateway.servers.answers import AnswerReader
from agents.gateway.servers.server import BROKEN, FAILED, OVERLOADED, SILENT, Server, UpstreamError
from agents.gateway.ticket import Ticket

COMPLETED: Final = "completed"
TURNED_AWAY: Final = "turned away"  # by the gateway: malformed, without a key, more than may wait
REJECTED: Final = "rejected"  # by the server, as a malformed request
FAILURE: Final = "failed"  # through the server's fault, or the gateway's end
ABANDONED: Final = "abandoned"  # by the client
TIMED_OUT: Final = "timed out"
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
        self._scopes: set[anyio.CancelScope] = set()

    async def serve(self, question: Question, ticket: Ticket, accept: str, send: Send) -> None:
        """Answers a request that has entered the queue.

        Raises:
            ApiError: If it cannot be answered, and nothing has been sent.
        """
        reply = Reply(send)
        outcome = FAILURE
        scope = anyio.CancelScope()
        self._scopes.add(scope)
        try:
            with scope:
                outcome = await self._try_servers(question, ticket, accept, reply)
        except ApiError as error:
            outcome = TIMED_OUT if error.status == 504 else FAILURE
            raise
        except asyncio.CancelledError:
            # Many clients close as soon as they have read the end.
            outcome = COMPLETED if reply.answered else ABANDONED
            raise
        finally:
            self._scopes.discard(scope)
            self._dispatcher.end(ticket, outcome)
            self._count(ticket)
        if scope.cancelled_caught:
            await _fail(reply, shutting_down())

    def cut(self) -> None:
        """Ends what is under way, as the gateway ends."""
        for scope in self._scopes:
            scope.cancel()

    async def _try_servers(
        self, question: Question, ticket: Ticket, accept: str, reply: Reply
    ) -> str:
        patience = self._limits.queue_time
        while True:
            begun = anyio.current_time()
            server = self._servers[await self._wait_for_node(ticket, begun + patience)]
            patience -= anyio.current_time() - begun
            attempt = _Attempt(self._dispatcher, self._limits, server, ticket, reply)
            try:
                outcome = await attempt.run(question, accept)
            except UpstreamError as error:
                self._metrics.faults.labels(server.spec.name, error.kind).inc()
                server.failed(error)
                if reply.begun or ticket.attempts >= self._limits.attempts:
                    await _fail(reply, _final(server, error))
                    return FAILURE
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


async def _fail(reply: Reply, error: ApiError) -> None:
    """Tells a client that there will be no answer, or no more of it.

    Raises:
        ApiError: If it has been sent nothing yet.
    """
    if not reply.begun:
        raise error
    await reply.break_off(error)


def shutting_down() -> ApiError:
    """Returns what clients are told when the gateway ends."""
    return unavailable("the gateway is shutting down", 5)


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
        self, dispatcher: Dispatcher, limits: Limits, server: Server, ticket: Ticket, reply: Reply
    ) -> None:
        self._dispatcher = dispatcher
        self._limits = limits
        self._server = server
        self._ticket = ticket
        self._reply = reply

    async def run(self, question: Question, accept: str) -> str:
        """Asks the server and passes its answer through; returns how it ended.

        Raises:
            UpstreamError: If the server fails.
        """
        limits = self._limits
        begun = anyio.current_time()
        most = limits.first_token_time if question.stream else limits.total_time
        with anyio.CancelScope(deadline=begun + most) as scope:
            async with self._server.answer(question, accept) as response:
                kind = response.headers.get("content-type", "").lower()
                if response.status < 400 and kind.startswith("text/event-stream"):
                    outcome = await self._pass_stream(response, scope)
                else:
                    outcome = await self._pass_whole(response)
            await self._reply.end()  # last: the client may go at once, which cancels this task
            return outcome
        if self._reply.blocked:
            return ABANDONED  # it is the client who takes nothing
        if self._reply.answered:
            await self._reply.end()  # the server has not, though it said that this was all
            return COMPLETED
        if not self._reply.begun:
            raise UpstreamError(SILENT, f"gave nothing within {most:g} s")
        if anyio.current_time() - begun >= limits.total_time:
            raise UpstreamError(SILENT, f"took more than {limits.total_time:g} s")
        raise UpstreamError(SILENT, f"gave nothing for {limits.stall_time:g} s")

    async def _pass_whole(self, response: aiohttp.ClientResponse) -> str:
        """Passes on an answer that does not stream, once it is all there."""
        parts, size = [], 0
        async for chunk in response.content.iter_any():
            parts.append(chunk)
            size += len(chunk)
            if size > _LARGEST_ANSWER:
                raise UpstreamError(FAILED, f"answered with more than {_LARGEST_ANSWER} bytes")
        body = b"".join(parts)
        outcome = REJECTED
        if response.status < 400:
            reader = AnswerReader(stream=False)
            reader.feed(body)
            self._close(reader)
            outcome = _outcome(reader, "answered with what is no JSON object")
        await self._reply.begin(response, self._server.spec.name, body)
        self._reply.answered = outcome == COMPLETED
        return outcome

    async def _pass_stream(self, response: aiohttp.ClientResponse, scope: anyio.CancelScope) -> str:
        """Passes on a stream as it comes; what is before the first token goes with it."""
        limits, ticket, reply = self._limits, self._ticket, self._reply
        clock = asyncio.get_running_loop().time  # of anyio's deadlines, too; asked at every token
        latest = clock() + limits.total_time
        renewed = -math.inf
        held: list[bytes] = []
        reader = AnswerReader(stream=True)
        try:
            async for chunk in response.content.iter_any():
                reader.feed(chunk)
                ticket.tokens = reader.tokens
                if reply.begun:
                    await reply.pass_on(chunk)
                else:
                    held.append(chunk)
                    if not reader.tokens:
                        if reader.error and not reader.rejected:
                            break  # it may be answered elsewhere
                        continue
                    self._dispatcher.first_token(ticket)
                    await reply.begin(
                        response, self._server.spec.name, b"".join(held), streams=True
                    )
                reply.answered = reader.ended and not reader.error
                now = clock()
                if now - renewed > _RENEWED * limits.stall_time:  # not for every token
                    renewed = now
                    scope.deadline = min(latest, now + (1 + _RENEWED) * limits.stall_time)
        except aiohttp.ClientError:
            if not reader.done:
                raise  # else all that matters is there
        finally:
            self._close(reader)
            reply.told_error = bool(reader.error)
        outcome = _outcome(reader, "broke off: its stream ended before the answer did")
        if not reply.begun:
            await reply.begin(response, self._server.spec.name, b"".join(held), streams=True)
        reply.answered = outcome == COMPLETED
        return outcome

    def _close(self, reader: AnswerReader) -> None:
        reader.close()
        self._ticket.tokens = reader.tokens
        self._ticket.prompt_tokens = reader.prompt_tokens or self._ticket.prompt_tokens
        self._ticket.cached_tokens = reader.cached_tokens


def _outcome(reader: AnswerReader, without_end: str) -> str:
    """Returns how an answer has ended that a server has sent without breaking off.

    Raises:
        UpstreamError: If there is an error in it, or not all that belongs to an answer.
    """
    if reader.rejected:
        return REJECTED
    if reader.error:
        raise UpstreamError(FAILED, f"reported an error: {reader.error}")
    if not reader.ended:
        raise UpstreamError(BROKEN, without_end)
    return COMPLETED
