"""What a gateway adds to a request: asked directly and through it, in turns, at 100 requests/s.

    python -m tests.benchmarks.gateway [--only fcfs ppo] [--seconds 10] [--cores 1]
        [--pause 0.005] [--publish docs]

Two minutes on a machine that does nothing else. The gateway has a core to itself, fake servers and
client share the others; with `--cores 2` its threads may use another one, as the encoder of prompts
does, and on a machine of two cores the others then compute there, too. It is measured with `fcfs`,
which looks at nothing, and with the network that comes with the package, which reads an embedding
of every prompt; all prompts are different.
Long pauses between tokens make answers long, and many of them under way: 100 requests/s of
`--pause 0.3` are 330 at a time.
The servers write into each token when they sent it: what one takes on its way is measured as well.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import httpx2
import numpy as np
import pandas as pd

from edgecloud_gym.files import replacing
from tests.agents.gateway.support import CHAT, FakeServer, question
from tests.benchmarks.support import print_table

SERVERS: Final = 3
TOKENS: Final = 8  # of an answer
WARM_UP: Final = 2.0  # s
KINDS: Final = ("whole request", "first token", "further tokens")
# ms that the gateway may add, by agent, kind and percentile.
GOALS: Final = {
    ("fcfs", "whole request", 50): 3.0,
    ("fcfs", "whole request", 99): 15.0,
    ("fcfs", "first token", 50): 2.0,
    ("ppo", "whole request", 50): 15.0,
}
_STAMP = re.compile(rb'"content": "w(\d+\.\d+) "')
_LAST = b"\r\n0\r\n\r\n"


class StampingServer(FakeServer):
    """Writes the time into each token."""

    def event(self, number: int, event: bytes) -> bytes:
        return event.replace(f'"w{number - 1} "'.encode(), f'"w{time.monotonic():.6f} "'.encode())


async def serve_fakes(ports: Sequence[int], pause: float) -> None:
    """Serves until it is killed; between tokens is a pause (s)."""
    for port in ports:
        server = StampingServer("m", TOKENS, pause)
        server.port = port
        await server.start()
    await asyncio.Event().wait()


class Client:
    """Asks with as little work as can be: what it measures is not to be its own.

    Attributes:
        times: Of whole requests, first tokens and further tokens (ms).
    """

    def __init__(self, urls: Sequence[str]) -> None:
        self.times: dict[str, list[float]] = {kind: [] for kind in KINDS}
        self._places = [(parts.hostname, parts.port) for parts in map(urlsplit, urls)]
        self._idle: list[list[tuple[asyncio.StreamReader, asyncio.StreamWriter]]] = [
            [] for _ in urls
        ]

    async def ask(self, number: int, text: str) -> None:
        """Asks one of the servers, in turns."""
        which = number % len(self._places)
        body = json.dumps(question(text)).encode()
        head = f"POST {CHAT} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n".encode()
        begun = time.monotonic()
        idle = self._idle[which]
        reader, writer = idle.pop() if idle else await asyncio.open_connection(*self._places[which])
        writer.write(head + body)
        status = await reader.readline()
        assert b" 200 " in status, status
        await reader.readuntil(b"\r\n\r\n")
        seen, tail = 0, b""
        while not tail.endswith(_LAST):
            part = await reader.read(65536)
            assert part, "broke off"
            now = time.monotonic()
            for stamp in _STAMP.findall(part):
                kind = "further tokens" if seen else "first token"
                self.times[kind].append(1e3 * (now - float(stamp)))
                seen += 1
            tail = (tail + part)[-len(_LAST) :]
        self.times["whole request"].append(1e3 * (time.monotonic() - begun))
        idle.append((reader, writer))

    async def run(self, rate: float, seconds: float, seed: int) -> None:
        """Asks at random times, so many a second on average."""
        rng = random.Random(seed)
        async with asyncio.TaskGroup() as group:
            for number in range(round(rate * seconds)):
                group.create_task(self.ask(number, f"Question {number}: {rng.random()}"))
                await asyncio.sleep(rng.expovariate(rate))
        for _, writer in (pair for idle in self._idle for pair in idle):
            writer.close()


def measure(urls: Sequence[str], rate: float, seconds: float, seed: int) -> dict[str, list[float]]:
    """Returns what requests to these servers took (ms), see `Client`."""
    client = Client(urls)
    asyncio.run(client.run(rate, seconds, seed))
    return client.times


def free_ports(count: int) -> list[int]:
    """Returns ports that nobody listens at."""
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


@contextmanager
def running(command: Sequence[str], cores: set[int]) -> Iterator[subprocess.Popen[bytes]]:
    """Runs a module on some cores until the block ends."""
    process = subprocess.Popen([sys.executable, "-m", *command], stderr=subprocess.DEVNULL)
    try:
        os.sched_setaffinity(process.pid, cores)
        yield process
    finally:
        process.terminate()
        process.wait()


def compare(
    agent: str, urls: Sequence[str], given: argparse.Namespace, cores: set[int]
) -> list[dict[str, object]]:
    """Measures a gateway with an agent, and prints it; returns a row per kind and percentile."""
    (port,) = free_ports(1)
    gateway = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryDirectory() as folder:
        nodes = Path(folder) / "nodes.json"
        engine = {"kind": "engine", "model": "rtxpro6000-llama-3.1-8b", "backlog": 16}
        listed = [{"name": f"n{k}", "url": url, **engine} for k, url in enumerate(urls)]
        nodes.write_text(json.dumps(listed))
        command = ["agents.cli", "serve", "--nodes", str(nodes), "--agent", agent]
        with running([*command, "--port", str(port)], cores) as process:
            wait_for(gateway + "/health", process)
            measure([gateway], given.rate, WARM_UP, seed=99)
            before = cpu_seconds(process.pid)
            rounds: dict[str, list[dict[str, list[float]]]] = {"direct": [], "gateway": []}
            for seed in range(given.rounds):
                for name, asked in (("direct", urls), ("gateway", [gateway])):
                    rounds[name].append(measure(asked, given.rate, given.seconds, seed))
            spent = 1e3 * (cpu_seconds(process.pid) - before)
    rows = list(_rows(agent, rounds))
    spent /= given.rounds * round(given.rate * given.seconds)
    _show(agent, rows, f"{given.rate:g} requests/s, {_count(cores)}: {spent:.2f} ms per request")
    return rows


def _rows(
    agent: str, rounds: dict[str, list[dict[str, list[float]]]]
) -> Iterator[dict[str, object]]:
    for kind in KINDS:
        times = {n: np.concatenate([r[kind] for r in found]) for n, found in rounds.items()}
        for percentile in (50, 99):
            direct, through = (float(np.percentile(t, percentile)) for t in times.values())
            goal = GOALS.get((agent, kind, percentile))
            yield {
                "agent": agent, "what": kind, "percentile": percentile, "direct": direct,
                "gateway": through, "added": through - direct, "goal": goal,
            }  # fmt: skip


def _count(cores: set[int]) -> str:
    return "one core" if len(cores) == 1 else f"{len(cores)} cores"


def _show(agent: str, rows: Sequence[dict[str, object]], told: str) -> None:
    lines = []
    for row in rows:
        goal = row["goal"]
        verdict = ""
        if isinstance(goal, float) and isinstance(row["added"], float):
            verdict = f"<= {goal:g}" + ("" if row["added"] <= goal else " MISSED")
        figures = (f"{row[name]:.2f}" for name in ("direct", "gateway", "added"))
        lines.append((f"{row['what']}, p{row['percentile']}", *figures, verdict))
    print_table(f"{agent}, {told}", ("ms", "direct", "by gateway", "added", "goal"), lines)


def wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    """Waits for a gateway to take requests."""
    for _ in range(1200):
        assert process.poll() is None, "the gateway has ended"
        try:
            if httpx2.get(url, trust_env=False).status_code == 200:
                return
        except httpx2.HTTPError:
            pass
        time.sleep(0.1)
    raise TimeoutError(url)


def cpu_seconds(pid: int) -> float:
    """Returns the processor time of a process and its children (s)."""
    place = Path(f"/proc/{pid}")
    fields = (place / "stat").read_text().rsplit(")", 1)[1].split()
    children = " ".join(file.read_text() for file in place.glob("task/*/children")).split()
    own = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return own + sum(cpu_seconds(int(child)) for child in children)


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.gateway")
    parser.add_argument("--only", nargs="+", default=["fcfs", "ppo"], help="agents")
    parser.add_argument("--rate", type=float, default=100.0)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--cores", type=int, default=1, help="of the gateway")
    parser.add_argument("--pause", type=float, default=0.005, help="between tokens (s)")
    parser.add_argument("--publish", type=Path, help="folder of the docs: writes data/gateway.csv")
    parser.add_argument("--fakes", nargs="+", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.fakes:
        asyncio.run(serve_fakes(given.fakes, given.pause))
        return
    cores = os.sched_getaffinity(0)
    own = set(sorted(cores)[-given.cores :])
    others = cores - own or {min(cores)}
    os.sched_setaffinity(0, others)
    ports = free_ports(SERVERS)
    print(f"load {os.getloadavg()[0]:.1f}, {len(cores)} cores")
    fakes = ["tests.benchmarks.gateway", "--pause", str(given.pause), "--fakes", *map(str, ports)]
    with running(fakes, others):
        urls = [f"http://127.0.0.1:{port}" for port in ports]
        rows = [row for agent in given.only for row in compare(agent, urls, given, own)]
    if given.publish:
        table = pd.DataFrame(rows).assign(rate=given.rate, cores=given.cores)
        with replacing(given.publish / "data" / "gateway.csv") as temporary:
            table.to_csv(temporary, index=False, float_format="%.3f")


if __name__ == "__main__":
    main()
