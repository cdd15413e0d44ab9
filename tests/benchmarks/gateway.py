"""What a gateway adds to the time of a request: asked directly and through it, in turns.

    python -m tests.benchmarks.gateway [--rate 100] [--seconds 20] [--agent fcfs] [--ppo]

Servers, gateway (on one core) and client are processes of their own. The servers write into each
token when they sent it, so that what a token takes on its way is measured as well. With ``--ppo`` a
policy network, not trained, decides over embeddings of prompts that are all different.
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
from pathlib import Path

import httpx2
import numpy as np

from tests.agents.gateway.support import CHAT, FakeServer, question

_STAMP = re.compile(rb'"content": "w(\d+\.\d+) "')
SERVERS = 3


class StampingServer(FakeServer):
    """Writes the time into each token."""

    def event(self, number: int, event: bytes) -> bytes:
        return event.replace(f'"w{number - 1} "'.encode(), f'"w{time.monotonic():.6f} "'.encode())


async def serve_fakes(ports: list[int], tokens: int, pause: float) -> None:
    for port in ports:
        server = StampingServer("m", tokens, pause)
        server.port = port
        await server.start()
    await asyncio.Event().wait()


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


async def measure(
    urls: list[str], rate: float, seconds: float, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns total times, and how long first and further tokens were on their way (ms)."""
    rng = random.Random(seed)
    totals: list[float] = []
    firsts: list[float] = []
    others: list[float] = []

    async with httpx2.AsyncClient(timeout=60, trust_env=False) as client:

        async def ask(number: int) -> None:
            begun = time.monotonic()
            seen = 0
            body = question(f"Question {number} of {seed}: {rng.random()}")
            async with client.stream("POST", urls[number % len(urls)] + CHAT, json=body) as answer:
                assert answer.status_code == 200, await answer.aread()
                async for part in answer.aiter_raw():
                    now = time.monotonic()
                    for stamp in _STAMP.findall(part):
                        (others if seen else firsts).append(now - float(stamp))
                        seen += 1
            totals.append(time.monotonic() - begun)

        async with asyncio.TaskGroup() as group:
            for number in range(round(rate * seconds)):
                group.create_task(ask(number))
                await asyncio.sleep(rng.expovariate(rate))
    return tuple(1e3 * np.array(times) for times in (totals, firsts, others))  # type: ignore[return-value]


def untrained_ppo(path: Path, nodes: Path) -> None:
    """Saves a policy network for these nodes that has learnt nothing: it takes as long as any."""
    import gymnasium
    from sb3_contrib import MaskablePPO

    from agents.schedulers.sb3_file import save_model
    from edgecloud_gym.node_files import load_nodes
    from edgecloud_gym.wrappers import SequentialAssignment

    env = SequentialAssignment(
        gymnasium.make("EdgeCloud-Cluster-v0", nodes=load_nodes(nodes), candidate_pool_size=16)
    )
    save_model(MaskablePPO("MultiInputPolicy", env, device="cpu", n_steps=64), path)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.gateway")
    parser.add_argument("--rate", type=float, default=100.0)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tokens", type=int, default=8)
    parser.add_argument("--pause", type=float, default=0.005)
    parser.add_argument("--agent", default="fcfs")
    parser.add_argument("--ppo", action="store_true")
    parser.add_argument("--fakes", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.fakes:
        ports = [int(port) for port in given.fakes.split(",")]
        asyncio.run(serve_fakes(ports, given.tokens, given.pause))
        return
    *ports, port = free_ports(SERVERS + 1)
    common = ["--tokens", str(given.tokens), "--pause", str(given.pause)]
    fakes = subprocess.Popen(
        [sys.executable, "-m", "tests.benchmarks.gateway", *common,
         "--fakes", ",".join(map(str, ports))]
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        nodes = Path(folder) / "nodes.json"
        engine = {"kind": "engine", "model": "rtxpro6000-llama-3.1-8b", "backlog": 16}
        nodes.write_text(json.dumps(
            [{"name": f"n{k}", "url": f"http://127.0.0.1:{p}", **engine}
             for k, p in enumerate(ports)]
        ))  # fmt: skip
        agent = given.agent
        if given.ppo:
            agent = str(Path(folder) / "ppo.zip")
            untrained_ppo(Path(agent), nodes)
        command = [sys.executable, "-m", "agents.cli", "serve", "--nodes", str(nodes),
                   "--agent", agent, "--port", str(port)]  # fmt: skip
        gateway = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        os.sched_setaffinity(gateway.pid, {max(os.sched_getaffinity(0))})
        try:
            url = f"http://127.0.0.1:{port}"
            wait_for(url + "/health")
            report(given, [f"http://127.0.0.1:{p}" for p in ports], url, gateway.pid)
        finally:
            for process in (gateway, fakes):
                process.terminate()
                process.wait()


def wait_for(url: str) -> None:
    for _ in range(1200):
        try:
            if httpx2.get(url, trust_env=False).status_code == 200:
                return
        except httpx2.HTTPError:
            pass
        time.sleep(0.1)
    raise TimeoutError(url)


def cpu_seconds(pid: int) -> float:
    """Returns the processor time of a process (s), which a busy machine leaves alone."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def report(given: argparse.Namespace, direct: list[str], gateway: str, pid: int) -> None:
    print(f"load {os.getloadavg()[0]:.1f}; {given.rate:g} requests/s, {given.tokens} tokens")
    times: dict[str, list[tuple[np.ndarray, ...]]] = {"direct": [], "gateway": []}
    asyncio.run(measure([gateway], given.rate, 2.0, 99))  # warms up
    before = cpu_seconds(pid)
    for n in range(given.rounds):
        for name, urls in (("direct", direct), ("gateway", [gateway])):
            times[name].append(asyncio.run(measure(urls, given.rate, given.seconds, n)))
    asked = given.rounds * round(given.rate * given.seconds)
    print(
        f"processor time of the gateway: {1e3 * (cpu_seconds(pid) - before) / asked:.2f} ms/request"
    )
    for index, what in enumerate(("whole request", "first token", "further tokens")):
        rows = {n: np.concatenate([t[index] for t in rounds]) for n, rounds in times.items()}
        for q in (50, 99):
            a, b = (float(np.percentile(rows[name], q)) for name in ("direct", "gateway"))
            print(f"{what}, p{q}: {a:.2f} ms direct, {b:.2f} ms by the gateway: {b - a:+.2f} ms")


if __name__ == "__main__":
    main()
