"""A server with continuous batching in virtual time: what is measured on it has no noise.

The event loop's clock jumps to whatever is due next, so that minutes of load take a moment, and are
the same on any machine.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

from data_tools.backends.chat import Exchange

StepTime = Callable[[Sequence[int], int], float]
TEMPLATE = 5  # tokens that the chat template adds; a word is a token


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop that never waits: its time is that of the next thing due."""

    virtual = 0.0

    def time(self) -> float:
        """Returns the virtual time, s."""
        return self.virtual

    def _run_once(self) -> None:
        if not self._ready and self._scheduled:
            self.virtual = max(self.virtual, self._scheduled[0].when())
        super()._run_once()


def run_virtually(main: Callable[[VirtualLoop], Coroutine[Any, Any, Any]]) -> Any:
    """Runs a coroutine in virtual time."""
    loop = VirtualLoop()
    try:
        return loop.run_until_complete(main(loop))
    finally:
        loop.close()


@dataclass
class Request:
    """A request in the server."""

    exchange: Exchange
    prompt: int
    output: int
    done: asyncio.Future[None]
    on_chunk: Callable[[Exchange], object]
    made: int = field(default=0)


class VirtualServer:
    """Answers like a client of a server that works in steps, composed when they begin.

    Args:
        loop: Whose time it lives in.
        step_time: What a step takes (s), by the tokens of its batches and the cached tokens that
            those which decode look back on.
        sequences: How many requests run at a time.
        cached: Tokens of every prompt that need not be computed.
        mixed: Whether prompts are read in one batch with the tokens of those that decode, or as
            llama.cpp does, in a batch of their own behind it.
    """

    url = "virtual"

    def __init__(
        self,
        loop: VirtualLoop,
        step_time: StepTime,
        sequences: int,
        cached: int = 0,
        mixed: bool = True,
    ) -> None:
        self._loop, self._step_time, self._sequences = loop, step_time, sequences
        self._cached, self._mixed = cached, mixed
        self._waiting: list[Request] = []
        self._running: list[Request] = []
        self._worker: asyncio.Task[None] | None = None

    async def ask(
        self,
        prompt: str,
        max_tokens: int,
        *,
        extra: object = None,
        on_chunk: Callable[[Exchange], object] | None = None,
    ) -> Exchange:
        """Answers with as many tokens as allowed; see `ChatClient.ask`."""
        del extra
        exchange = Exchange(sent=self._loop.time(), moments=[])
        if on_chunk is not None:
            on_chunk(exchange)
        tokens = len(prompt.split()) + TEMPLATE
        told = on_chunk or (lambda _: None)
        request = Request(exchange, tokens, max_tokens, self._loop.create_future(), told)
        self._waiting.append(request)
        if self._worker is None or self._worker.done():
            self._worker = self._loop.create_task(self._work())
        await request.done
        exchange.last, exchange.status, exchange.counted = exchange.moments[-1], "ok", True
        exchange.prompt_tokens, exchange.output_tokens = tokens, max_tokens
        exchange.cached_tokens = self._cached
        return exchange

    async def _work(self) -> None:
        while self._waiting or self._running:
            while self._waiting and len(self._running) < self._sequences:
                self._running.append(self._waiting.pop(0))
            decoding = [request for request in self._running if request.made]
            reading = sum(
                request.prompt - self._cached for request in self._running if not request.made
            )
            context = sum(request.prompt + request.made for request in decoding)
            batches = [len(decoding) + reading] if self._mixed else [len(decoding), reading]
            await asyncio.sleep(self._step_time([n for n in batches if n], context))
            for request in self._running:
                request.made += 1
                request.exchange.moments.append(self._loop.time())
                request.on_chunk(request.exchange)
                if request.made == request.output:
                    request.done.set_result(None)
            self._running = [r for r in self._running if r.made < r.output]
