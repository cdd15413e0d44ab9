"""The gateway under load while servers die, hang and come back, and clients go away.

``python -m tests.agents.gateway.stress --requests 5000`` takes some minutes; a short run is a test.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import random
import resource
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2

from agents.gateway.api.app import Receive, Scope
from agents.gateway.api.serving import make_server, serving
from agents.gateway.gateway import Gateway
from agents.gateway.limits import Limits
from agents.gateway.reply import Send
from tests.agents.gateway.support import (
    CHAT,
    FakeServer,
    engine,
    make_gateway,
    outcomes,
    question,
    started,
)

TOKENS = 12


@dataclass
class Report:
    """What became of a stress run.

    Attributes:
        ends: How many requests ended how, as their clients saw it.
        reached: How many reached the gateway: the others' clients left before they were sent.
        counted: How those ended, as the gateway counted them.
        tickets: Requests that the gateway still has at the end.
        at_nodes: Requests that the decision process still believes to be at nodes.
        active: Requests that servers still answer.
        connections: Connections that servers still have after the gateway's end.
        memory: Resident memory after each tenth of the requests (MB).
        seconds: How long it took.
    """

    ends: Counter[str] = field(default_factory=Counter)
    reached: int = 0
    counted: dict[str, int] = field(default_factory=dict)
    tickets: int = 0
    at_nodes: int = 0
    active: int = 0
    connections: int = 0
    memory: list[float] = field(default_factory=list)
    seconds: float = 0.0


async def ask(client: httpx2.AsyncClient, number: int, leaves: float | None) -> str:
    """Asks once, and goes away after a while if it is to; returns how it ended."""
    try:
        async with asyncio.timeout(leaves):
            response = await client.post(CHAT, json=question(f"request {number}"))
    except TimeoutError:
        return "left"
    if response.status_code != 200:
        error = response.json()["error"]
        assert error["message"]
        return f"error {response.status_code}"
    events = response.content.split(b"\n\n")
    tokens = sum(b'"content": "w' in event for event in events)
    if events[-2] == b"data: [DONE]":
        assert tokens == TOKENS, f"{tokens} tokens in an answer"
        return "answered"
    assert json.loads(events[-2].removeprefix(b"data: "))["error"]["message"]
    assert 0 < tokens <= TOKENS
    return "broken off"


async def misfortunes(servers: list[FakeServer], seconds: float, hang: float) -> None:
    """Kills the first server and restarts it, twice; lets the second hang."""
    for _ in range(2):
        await asyncio.sleep(seconds / 6)
        await servers[0].stop()
        await asyncio.sleep(seconds / 10)
        await servers[0].start()
    servers[1].hangs = True
    await asyncio.sleep(hang)
    servers[1].hangs = False


@asynccontextmanager
async def watched(gateway: Gateway, report: Report) -> AsyncIterator[httpx2.AsyncClient]:
    """Serves a gateway and takes down how many requests reach it; yields a client."""
    server = make_server(gateway, "127.0.0.1", 0)
    app: Any = server.config.app

    async def count(scope: Scope, receive: Receive, send: Send) -> None:
        report.reached += scope["type"] == "http"
        await app(scope, receive, send)

    server.config.app = count
    async with (
        httpx2.AsyncClient(timeout=60, trust_env=False) as client,
        serving(server) as url,
    ):
        client.base_url = httpx2.URL(url)
        yield client


def memory() -> float:
    """Returns the resident memory (MB)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


async def stress(
    requests: int, rate: float, hang: float, seed: int = 0, agent: str = "join-shortest-queue"
) -> Report:
    """Runs requests against three servers.

    Args:
        requests: How many.
        rate: How many a second.
        hang: How long a server hangs (s).
        seed: Seeds when clients go.
        agent: Who routes.
    """
    rng = random.Random(seed)
    report = Report()
    limits = Limits(queue=4096, first_token_time=max(1.0, hang / 4), drain_time=10)
    nodes = [engine(f"n{k}", backlog=4, sequences=16) for k in range(3)]
    begun = time.monotonic()
    async with started(3, tokens=TOKENS, pause=0.003) as servers:
        gateway = make_gateway(servers, agent, nodes=nodes, limits=limits)
        async with watched(gateway, report) as client:
            faults = asyncio.create_task(misfortunes(servers, requests / rate, hang))
            tasks: set[asyncio.Task[str]] = set()
            for number in range(requests):
                leaves = rng.uniform(0.0, 0.3) if rng.random() < 0.1 else None
                task = asyncio.create_task(ask(client, number, leaves))
                tasks.add(task)
                task.add_done_callback(lambda t: (report.ends.update([t.result()]),
                                                  tasks.discard(t)))  # fmt: skip
                await asyncio.sleep(rng.expovariate(rate))
                if (number + 1) % (requests // 10) == 0:
                    gc.collect()
                    report.memory.append(round(memory(), 1))
            await faults
            await asyncio.gather(*tasks)
            await asyncio.sleep(0.5)
            gateway.dispatcher.wake()
            await asyncio.sleep(0.2)
            report.tickets = len(gateway.dispatcher.tickets)
            report.at_nodes = len(gateway.process.player.env.live.at_nodes())
            report.active = sum(server.active for server in servers)
            report.counted = outcomes(gateway)
        await asyncio.sleep(0.2)
        report.connections = sum(server.connections for server in servers)
    report.seconds = round(time.monotonic() - begun, 1)
    return report


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--requests", type=int, default=5000)
    parser.add_argument("--rate", type=float, default=60.0)
    parser.add_argument("--hang", type=float, default=10.0)
    parser.add_argument("--agent", default="join-shortest-queue")
    given = parser.parse_args()
    report = asyncio.run(stress(given.requests, given.rate, given.hang, agent=given.agent))
    for name, value in vars(report).items():
        print(f"{name}: {dict(value) if isinstance(value, Counter) else value}")


if __name__ == "__main__":
    main()
