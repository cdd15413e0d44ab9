"""Servers that only pretend, a gateway in front of them, and clients, all in one event loop."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import uvicorn
from numpy.typing import NDArray

from agents.gateway.api.serving import make_server, serving
from agents.gateway.decisions import DecisionProcess, Player
from agents.gateway.gateway import Gateway
from agents.gateway.limits import Limits
from agents.gateway.prompts import Embeddings
from agents.gateway.records.recorder import Recorder
from agents.gateway.servers.spec import ClusterFile, ServerSpec
from agents.registry import make_agent
from edgecloud_gym.dataset import load_dataset
from edgecloud_gym.engines import EngineModel
from edgecloud_gym.nodes import Engine, Node

CHAT = "/v1/chat/completions"
MODEL = EngineModel(
    step_overhead=0.0, step_floor=2e-3, token_time=1e-4, context_time=0.0, sequences=4,
    kv_tokens=16384,
)  # fmt: skip


class FakeServer:
    """An OpenAI-compatible server that streams as many tokens as it is told, and can misbehave.

    Attributes:
        tokens: How many tokens it answers with.
        pause: Time between tokens (s).
        status: Status that it answers with.
        headers: Further headers of answers that are not 200.
        break_after: After how many tokens it breaks the connection; None for never.
        hangs: Whether it says nothing, until this is cleared.
        stalls_after: After how many tokens it says nothing more; None for never.
        asked: Bodies of the requests that it was sent.
        heads: Their headers.
        active: How many it answers now.
        most_active: How many it has answered at a time.
        writer: Of the connection that came last.
    """

    def __init__(self, name: str = "m", tokens: int = 5, pause: float = 0.0) -> None:
        self.name = name
        self.tokens = tokens
        self.pause = pause
        self.status = 200
        self.headers: Mapping[str, str] = {}
        self.break_after: int | None = None
        self.hangs = False
        self.stalls_after: int | None = None
        self.asked: list[bytes] = []
        self.heads: list[dict[str, str]] = []
        self.completed = 0
        self.active = 0
        self.most_active = 0
        self.port = 0
        self.writer: asyncio.StreamWriter | None = None
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def connections(self) -> int:
        return len(self._tasks)

    def event(self, number: int, event: bytes) -> bytes:
        """What is sent as an event, by default what is given."""
        del number
        return event

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Dies: breaks all connections and listens no more."""
        if self._server is not None:
            self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._server = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.writer = writer
        try:
            while await self._answer(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            writer.transport.abort()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        if head[0].startswith("GET"):
            await _whole(writer, 200, {"data": [{"id": self.name}]})
            return True
        self.asked.append(body)
        self.heads.append(headers)
        self.active += 1
        self.most_active = max(self.most_active, self.active)
        # Somebody who hangs up is noticed only here: nothing else is read.
        gone = asyncio.ensure_future(reader.read(1))
        work = asyncio.ensure_future(self._work(json.loads(body), writer))
        try:
            await asyncio.wait({gone, work}, return_when=asyncio.FIRST_COMPLETED)
            return work.done() and work.result()
        finally:
            self.active -= 1
            for part in (gone, work):
                part.cancel()
            await asyncio.gather(gone, work, return_exceptions=True)

    async def _work(self, question: dict[str, Any], writer: asyncio.StreamWriter) -> bool:
        while self.hangs:
            await asyncio.sleep(0.01)
        if self.status != 200:
            await _whole(writer, self.status, {"error": {"message": "no"}}, self.headers)
            return True
        if not question.get("stream"):
            await asyncio.sleep(self.pause * self.tokens)
            if self.break_after is not None:
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 999\r\n\r\n{")
                return False
            await _whole(writer, 200, answer(self.tokens))
            self.completed += 1
            return True
        writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
            b"transfer-encoding: chunked\r\n\r\n"
        )
        for number, event in enumerate(events(self.tokens)):
            if self.break_after is not None and number > self.break_after:
                return False
            while self.stalls_after is not None and number > self.stalls_after:
                await asyncio.sleep(0.01)
            event = self.event(number, event)
            writer.write(f"{len(event):x}\r\n".encode() + event + b"\r\n")
            await writer.drain()
            await asyncio.sleep(self.pause)
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        self.completed += 1
        return True


async def _whole(
    writer: asyncio.StreamWriter,
    status: int,
    content: object,
    headers: Mapping[str, str] | None = None,
) -> None:
    body = json.dumps(content).encode()
    lines = [f"HTTP/1.1 {status} X", "content-type: application/json"]
    lines += [f"content-length: {len(body)}", *(f"{n}: {v}" for n, v in (headers or {}).items())]
    writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
    await writer.drain()


def events(tokens: int) -> list[bytes]:
    """What a stream of so many tokens consists of: a role, the tokens, the end."""
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
    deltas += [{"content": f"w{n} "} for n in range(tokens)]
    shown = [{"choices": [{"index": 0, "delta": delta}]} for delta in deltas]
    shown.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    return [*(b"data: " + json.dumps(e).encode() + b"\n\n" for e in shown), b"data: [DONE]\n\n"]


def answer(tokens: int) -> dict[str, Any]:
    text = "".join(f"w{n} " for n in range(tokens))
    message = {"message": {"content": text}, "finish_reason": "stop"}
    return {"choices": [message], "usage": {"prompt_tokens": 7, "completion_tokens": tokens}}


def error(response: httpx2.Response) -> dict[str, Any]:
    """What an OpenAI client reads of an error."""
    found = response.json()["error"]
    assert set(found) == {"message", "type", "param", "code"}
    return dict(found)


def outcomes(gateway: Gateway) -> dict[str, int]:
    """How many requests have ended how, as the gateway counts them."""
    samples = [sample for m in gateway.metrics.requests.collect() for sample in m.samples]
    return {
        sample.labels["outcome"]: int(sample.value)
        for sample in samples
        if sample.name.endswith("_total")
    }


def question(text: str = "Tell me.", stream: bool = True, **more: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}], "stream": stream, **more}


def engine(name: str, backlog: int = 0, **settings: Any) -> Node:
    return Engine(name, model=MODEL.replaced(**settings), backlog=backlog)


def encode(prompts: Sequence[str]) -> NDArray[np.float32]:
    """Vectors of prompts like those of the bundled dataset: a row of it each."""
    vectors = load_dataset("smollm2-135m").embeddings
    assert vectors is not None
    return vectors[[sum(prompt.encode()) % len(vectors) for prompt in prompts]]


def make_gateway(
    servers: Sequence[FakeServer],
    agent: str = "fcfs",
    *,
    nodes: Sequence[Node] | None = None,
    limits: Limits | None = None,
    model: str | None = None,
    serves: str | None = None,
    shadow: str | None = None,
    keys: Sequence[str] = (),
    record: Path | None = None,
    **more: Any,
) -> Gateway:
    given = [engine(f"n{k}") for k in range(len(servers))] if nodes is None else nodes
    allowed = limits or Limits(drain_time=5)
    specs = [
        ServerSpec(node, server.url, serves, keys[k] if keys else "")
        for k, (node, server) in enumerate(zip(given, servers, strict=True))
    ]

    def player(name: str) -> Player:
        return Player(make_agent(name), given, dataset="smollm2-135m", waiting=allowed.queue)

    process = DecisionProcess(player(agent), player(shadow) if shadow else None)
    cluster = ClusterFile(tuple(specs), model)
    if record is not None:
        more["watchers"] = [Recorder(record, process, cluster)]
    if process.needs_embeddings:
        more["embeddings"] = Embeddings(encode)
    return Gateway(cluster, process, allowed, **more)


@asynccontextmanager
async def running(gateway: Gateway) -> AsyncIterator[httpx2.AsyncClient]:
    """Serves a gateway; yields a client of it."""
    async with (
        httpx2.AsyncClient(timeout=60, trust_env=False) as client,
        serving(make_server(gateway, "127.0.0.1", 0)) as url,
    ):
        client.base_url = httpx2.URL(url)
        yield client


def run(test: Callable[[], Any]) -> None:
    loop_factory = uvicorn.Config("", loop="auto").get_loop_factory()  # that of `edgecloud serve`
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(asyncio.wait_for(test(), 60))


@asynccontextmanager
async def started(
    count: int, tokens: int = 5, pause: float = 0.0
) -> AsyncIterator[list[FakeServer]]:
    """Starts servers, and stops them in the end."""
    servers = [FakeServer(tokens=tokens, pause=pause) for _ in range(count)]
    for server in servers:
        await server.start()
    try:
        yield servers
    finally:
        for server in servers:
            await server.stop()


@asynccontextmanager
async def answering(response: bytes) -> AsyncIterator[FakeServer]:
    """Starts a server that answers with these bytes and breaks the connection."""

    class Answering(FakeServer):
        async def _work(self, question: dict[str, Any], writer: asyncio.StreamWriter) -> bool:
            del question
            writer.write(response)
            await writer.drain()
            await asyncio.sleep(0.05)  # or what is sent is lost when the connection is broken
            return False

    server = Answering()
    await server.start()
    try:
        yield server
    finally:
        await server.stop()
