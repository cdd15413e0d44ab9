"""A gateway from start to shutdown: servers, decisions, and the requests between them."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from functools import partial
from typing import Any, Final, Self

import anyio
from starlette.requests import ClientDisconnect

from agents.gateway.api.openai import ApiError, Question
from agents.gateway.decisions import DecisionProcess
from agents.gateway.dispatcher import Dispatcher, QueueFullError, Watcher
from agents.gateway.limits import Limits
from agents.gateway.metrics import Metrics
from agents.gateway.prompts import Embeddings, PromptLengths, Vector
from agents.gateway.relay import ABANDONED, FAILURE, TURNED_AWAY, Relay, shutting_down
from agents.gateway.reply import Send
from agents.gateway.servers.server import Server
from agents.gateway.servers.spec import ClusterFile
from agents.gateway.ticket import Ticket

_LOG = logging.getLogger(__name__)
_SAVE_EVERY: Final = 60.0  # s
_LOOK: Final = 0.1  # s between looks after servers


class Gateway:
    """Routes requests to servers as an agent decides; an asynchronous context manager.

    Args:
        cluster: The servers.
        process: Who decides.
        limits: What is allowed.
        api_key: What clients must send; empty for none.
        embeddings: Embeds prompts; needed where the agent asks for embeddings.
        save: Saves what the agent has learnt; called now and then, and at the end.
        watchers: Who else is told of what happens.

    Attributes:
        failure: What has ended it, if it was a defect.
        on_failure: Called then.

    Raises:
        ValueError: If the agent asks for embeddings and nothing makes them.
    """

    def __init__(
        self,
        cluster: ClusterFile,
        process: DecisionProcess,
        limits: Limits | None = None,
        *,
        api_key: str = "",
        embeddings: Embeddings | None = None,
        save: Callable[[], None] | None = None,
        watchers: Sequence[Watcher] = (),
    ) -> None:
        if process.needs_embeddings and embeddings is None:
            raise ValueError("the agent asks for embeddings of prompts, and nothing makes them")
        self.limits = limits or Limits()
        self.api_key = api_key
        self.metrics = Metrics()
        self._zero = time.monotonic()
        self._model = cluster.model
        self.process = process
        self._embeddings = embeddings if process.needs_embeddings else None
        self._lengths = PromptLengths(process.player.env.live.reference)
        self._save = save
        self._watchers = watchers
        self._draining = False
        self._closed = False
        self._arriving = 0  # whose prompts are being embedded
        self._served = False
        self.failure: Exception | None = None
        self.on_failure: Callable[[], None] = lambda: None
        self.servers = [
            Server(spec, cluster.model, self.limits, self.clock) for spec in cluster.servers
        ]
        self._stopped = False

    def stop(self) -> None:
        """Lets it wait for a first server no longer; may be called by a signal's handler."""
        self._stopped = True

    def clock(self) -> float:
        """Returns the time since the gateway was made (s)."""
        return time.monotonic() - self._zero

    async def __aenter__(self) -> Self:
        """Starts; returns once a server takes requests, or it is stopped."""
        self.dispatcher = Dispatcher(
            self.process, self.servers, self.limits.queue, self.clock, self.metrics, self._watchers
        )
        self._relay = Relay(self.dispatcher, self.servers, self.limits, self.metrics)
        self._stack = AsyncExitStack()
        self._group = await self._stack.enter_async_context(anyio.create_task_group())
        await self._first_look()
        self._group.start_soon(self._keep_up, "the decision process", self.dispatcher.run)
        for server in self.servers:
            looks = partial(self._look_after, server)
            self._group.start_soon(self._keep_up, f"looking after {server.spec.name}", looks)
        if self._save is not None:
            saves = partial(self._save_now_and_then, self._save)
            self._group.start_soon(self._keep_up, "saving", saves)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stops what runs and saves what the agent has learnt."""
        self._group.cancel_scope.cancel()
        await self._stack.aclose()
        if self._save is not None:
            await self._save_once(self._save)
        self.dispatcher.close()
        for server in self.servers:
            await server.close()
        if self._embeddings is not None:
            self._embeddings.close()

    async def _first_look(self) -> None:
        """Waits until a server answers, and says which do not."""
        async with anyio.create_task_group() as group:
            for server in self.servers:
                group.start_soon(server.look_after)
        for server in self.servers:
            if not server.open:
                _LOG.warning("server %s %s", server.spec.name, server.trouble_in_full)
        if not any(server.open for server in self.servers):
            _LOG.warning("no server answers: waiting for one")
        while not any(server.open for server in self.servers) and not self._stopped:
            await asyncio.sleep(_LOOK)
            for server in self.servers:
                await server.look_after()
        self._note_servers()

    async def _keep_up(self, what: str, work: Callable[[], Awaitable[None]]) -> None:
        """Does what goes on until the end; a defect ends the gateway, and nobody waits for ever."""
        try:
            await work()
        except Exception as error:  # noqa: BLE001
            _LOG.critical("%s has failed, the gateway ends", what, exc_info=error)
            self.failure = error
            self._draining = self._closed = True
            self._relay.cut()
            self.on_failure()

    async def _look_after(self, server: Server) -> None:
        """Opens a server again when it has recovered."""
        while True:
            was = server.open
            await server.look_after()
            if server.open != was:
                self._note_servers()
                self.dispatcher.wake()
            await asyncio.sleep(_LOOK if server.open else min(_LOOK, max(0.01, server.wait)))

    def _note_servers(self) -> None:
        for server in self.servers:
            self.metrics.up.labels(server.spec.name).set(server.open)

    async def _save_now_and_then(self, save: Callable[[], None]) -> None:
        while True:
            await asyncio.sleep(_SAVE_EVERY)
            await self._save_once(save)

    async def _save_once(self, save: Callable[[], None]) -> None:
        if not self._served:
            return  # nothing has been learnt
        try:
            await self.dispatcher.save(save)
        except OSError as error:  # such as a full disk, which requests must not suffer from
            _LOG.error("what the agent has learnt could not be saved: %s", error)

    @property
    def model_names(self) -> list[str]:
        """The names by which clients may ask for the model; none if any will do."""
        if self._model is not None:
            return [self._model]
        listed = [server.models for server in self.servers if server.models]
        known = listed[0] if listed else ()
        return [name for name in known if all(name in others for others in listed)]

    def health(self) -> dict[str, Any]:
        """Returns how the gateway and its servers are."""
        ready = any(server.open for server in self.servers) and not self._draining
        return {
            "status": "ok" if ready else "draining" if self._draining else "no server",
            "agent": self.process.player.agent.name,
            "waiting": self.dispatcher.waiting + self._arriving,
            "in_service": len(self.dispatcher.tickets) - self.dispatcher.waiting,
            "nodes": {
                server.spec.name: {"open": server.open, "trouble": server.trouble}
                for server in self.servers
            },
        }

    def metrics_text(self) -> bytes:
        """Returns the metrics in Prometheus' format."""
        self._note_servers()
        return self.metrics.text()

    def check_open(self) -> None:
        """Raises `ApiError` if no more requests are taken."""
        if self._draining:
            raise shutting_down()
        self._check_room()

    def _check_room(self) -> None:
        try:
            self.dispatcher.check_room(self._arriving)
        except QueueFullError:
            raise self._queue_full() from None

    def _queue_full(self) -> ApiError:
        wait = max(1, math.ceil(self.dispatcher.queue_seconds))
        return ApiError(
            429,
            f"{self.limits.queue} requests wait already",
            "rate_limit_error",
            "queue_full",
            wait,
        )

    @contextmanager
    def at_the_door(self) -> Iterator[None]:
        """Counts a request that comes no further than this, and so has no ticket."""
        outcome = ABANDONED  # if its client goes, which cancels this
        try:
            yield
            outcome = ""
        except ApiError:
            outcome = TURNED_AWAY
            raise
        except ClientDisconnect:
            raise
        except Exception:
            outcome = FAILURE
            raise
        finally:
            if outcome:
                self.metrics.requests.labels(outcome).inc()

    async def answer(self, question: Question, arrival: float, accept: str, send: Send) -> None:
        """Answers a request.

        Raises:
            ApiError: If it cannot be answered, and nothing has been sent.
        """
        with self.at_the_door():
            ticket = await self._enter(question, arrival)
        try:
            await self._relay.serve(question, ticket, accept, send)
        finally:
            self._lengths.learn(question, ticket)

    async def _enter(self, question: Question, arrival: float) -> Ticket:
        """Lets a request wait if it is one that can be answered."""
        self._check_model(question)
        tokens = self._lengths.estimate(question)
        if self.limits.prompt is not None and tokens > self.limits.prompt:
            raise ApiError(
                400,
                f"the prompt has about {tokens} tokens, at most {self.limits.prompt} are allowed",
                code="context_length_exceeded",
            )
        embedding = None
        if self._embeddings is not None:
            self._check_room()
            embedding = await self._embedded(self._embeddings, question.prompt)
        if self._closed:
            raise shutting_down()
        self._served = True
        try:
            return self.dispatcher.enter(arrival, tokens, embedding)
        except QueueFullError:
            raise self._queue_full() from None

    async def _embedded(self, embeddings: Embeddings, prompt: str) -> Vector | None:
        """Returns a prompt's embedding; None if it takes as long as a request may wait."""
        self._arriving += 1
        try:
            with anyio.move_on_after(self.limits.queue_time):
                return await embeddings.of(prompt)
            return None
        finally:
            self._arriving -= 1

    def _check_model(self, question: Question) -> None:
        names = self.model_names
        if question.model is not None and names and question.model not in names:
            raise ApiError(
                404,
                f"model {question.model!r:.80} is not served; must be one of {', '.join(names)}",
                code="model_not_found",
            )

    async def drain(self, hurried: Callable[[], bool] = lambda: False) -> None:
        """Takes no more requests and waits for those there are to end, for so long as allowed.

        Args:
            hurried: Whether to wait no longer.
        """
        self._draining = True
        with anyio.move_on_after(self.limits.drain_time):
            while (self.dispatcher.tickets or self._arriving) and not hurried():
                await asyncio.sleep(0.05)
        self._closed = True
        self._relay.cut()
        while self.dispatcher.tickets:
            await asyncio.sleep(0.01)
