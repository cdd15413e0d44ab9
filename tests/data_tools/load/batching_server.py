"""A server with continuous batching whose steps take what a test says: they sleep."""

import json
import queue
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.data_tools.backends.chat_server import ChatServer, Handler, delta

TEMPLATE = 5  # tokens that the chat template adds; a word is a token


@dataclass
class Request:
    """A request in the server."""

    prompt: int
    output: int
    made: int = 0
    chunks: "queue.Queue[str | None]" = field(default_factory=queue.Queue)


class Batching:
    """One step after the other, each for all that run: o + c · tokens, a sleep.

    Args:
        overhead: Of a step (s).
        per_token: s.
        sequences: How many run at a time.
        refuses: Fields of a request that are answered with HTTP 400.
    """

    def __init__(
        self, overhead: float, per_token: float, sequences: int, refuses: tuple[str, ...] = ()
    ) -> None:
        self._overhead, self._per_token, self._sequences = overhead, per_token, sequences
        self._refuses = refuses
        self._waiting: queue.Queue[Request] = queue.Queue()
        self._stopped = threading.Event()
        self.bodies: list[dict[str, Any]] = []

    def reply(self, handler: Handler) -> None:
        """Answers one request."""
        body = handler.server.script.requests[-1]
        self.bodies.append(body)
        for name in self._refuses:
            if name in body:
                handler.plain(400, f"unknown field {name}")
                return
        words = len(body["messages"][0]["content"].split())
        request = Request(prompt=words + TEMPLATE, output=body["max_tokens"])
        self._waiting.put(request)
        handler.begin_stream()
        while (chunk := request.chunks.get()) is not None:
            handler.send(chunk)
        counts = {"prompt_tokens": request.prompt, "completion_tokens": request.output}
        handler.send(json.dumps({"choices": [], "usage": counts}))
        handler.send("[DONE]")
        handler.end_stream()

    def work(self) -> None:
        """Works until it is stopped."""
        running: list[Request] = []
        while not self._stopped.is_set():
            while len(running) < self._sequences and not self._waiting.empty():
                running.append(self._waiting.get())
            if not running:
                time.sleep(0.0005)
                continue
            tokens = sum(1 if request.made else request.prompt for request in running)
            time.sleep(self._overhead + self._per_token * tokens)
            for request in running:
                request.made += 1
                request.chunks.put(delta(content="x "))
                if request.made == request.output:
                    request.chunks.put(delta("length"))
                    request.chunks.put(None)
            running = [request for request in running if request.made < request.output]

    def stop(self) -> None:
        """Stops after the step that runs."""
        self._stopped.set()


@contextmanager
def batching_server(
    overhead: float = 4e-3,
    per_token: float = 1e-3,
    sequences: int = 3,
    refuses: tuple[str, ...] = (),
    most: int = 2000,
) -> Iterator[tuple[ChatServer, Batching]]:
    """Serves until the block ends."""
    engine = Batching(overhead, per_token, sequences, refuses)
    worker = threading.Thread(target=engine.work)
    worker.start()
    try:
        with ChatServer([engine.reply] * most) as server:
            yield server, engine
    finally:
        engine.stop()
        worker.join()
