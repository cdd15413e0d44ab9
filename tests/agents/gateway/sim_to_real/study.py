"""The study: agents route the same requests live, and play what was recorded in simulation."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from agents import Scenario, run_experiment
from agents.experiments.design.spec import AgentSpec
from agents.gateway.api.serving import make_server, serving
from agents.gateway.decisions import DecisionProcess, Player
from agents.gateway.encoding import Encoder
from agents.gateway.gateway import Gateway
from agents.gateway.limits import Limits
from agents.gateway.prompts import Embeddings
from agents.gateway.records.reading import read_record
from agents.gateway.records.recorder import Recorder
from agents.gateway.servers.spec import ClusterFile, ServerSpec
from agents.registry import make_agent
from agents.statistics import paired_difference
from data_tools.backends.chat import ChatClient
from data_tools.load.open_loop import OpenLoop, asking
from data_tools.load.plan import Recording, arrival_times, plan_prompts
from data_tools.prompts.builtin import generate_prompts
from edgecloud_gym import CLUSTER_ID
from edgecloud_gym.files import write_json
from edgecloud_gym.nodes import Engine, Node
from tests.agents.gateway.sim_to_real.servers import LONGEST

AGENTS: Final = ("fcfs", "join-shortest-queue", "predicted-sjf", "c2ucb", "ppo")
METRICS: Final = ("jct_mean", "jct_p95", "ttft_mean")
LOAD: Final = 0.8
MEAN_PROMPT, MEAN_ANSWER = 40.0, 60.0  # tokens, about; only the rate depends on them
NORMAL: Final = 1.96  # standard deviations of an interval of 95 %
BLOCK: Final = 8  # requests in a row, whose mean counts as one observation


@dataclass(frozen=True)
class Study:
    """What is compared.

    Attributes:
        nodes: The servers, as measured.
        urls: Where they are.
        folder: Where everything is kept.
        duration: How long requests arrive (s).
        encoder: Embeds prompts.
        recordings: Arrivals by name: a recording, or None for a Poisson process.
        runs: How often each agent routes the same requests live; the runs of all agents take
            turns, so that it is seen how far the machine is the same one from run to run.
    """

    nodes: Sequence[Node]
    urls: Sequence[str]
    folder: Path
    duration: float
    encoder: Encoder
    recordings: Mapping[str, Recording | None]
    runs: int = 2

    @property
    def rate(self) -> float:
        """Requests/s."""
        capacity = sum(
            node.engine.capacity(MEAN_PROMPT, MEAN_ANSWER)
            for node in self.nodes
            if isinstance(node, Engine)
        )
        return float(f"{LOAD * capacity:.2g}")

    def live(self, arrivals: str, agent: str, run: int) -> Path:
        """Lets an agent route live, if it has not yet; returns the record."""
        folder = self.folder / arrivals / (agent if run == 0 else f"{agent}, run {run + 1}")
        if not (folder / "done.json").exists():
            for old in folder.glob("*"):
                old.unlink()
            asyncio.run(self._serve(arrivals, agent, folder))
            write_json(folder / "done.json", {"load": os.getloadavg()})
        return folder

    async def _serve(self, arrivals: str, agent: str, folder: Path) -> None:
        player = Player(make_agent(agent), self.nodes, dataset="smollm2-135m", waiting=1024)
        process = DecisionProcess(player)
        specs = [ServerSpec(n, u) for n, u in zip(self.nodes, self.urls, strict=True)]
        cluster = ClusterFile(tuple(specs))
        gateway = Gateway(
            cluster, process, Limits(), embeddings=Embeddings(self.encoder),
            watchers=[Recorder(folder, process, cluster)],
        )  # fmt: skip
        recording = self.recordings[arrivals]
        times = arrival_times(self.rate, self.duration, 100_000, seed=0, recording=recording)
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
        return {name: float(row[name]) for name in METRICS}

    def compare(self, agents: Sequence[str]) -> pd.DataFrame:
        """Returns a row per arrivals and agent, from the quickest live; see `_row`."""
        records: dict[tuple[str, str], list[Path]] = {}
        for run in range(self.runs):
            for arrivals in self.recordings:
                for agent in agents:
                    print(f"{arrivals}, {agent}, run {run + 1} of {self.runs}", flush=True)
                    record = self.live(arrivals, agent, run)
                    records.setdefault((arrivals, agent), []).append(record)
        rows = {key: self._row(*key, found) for key, found in records.items()}
        blocks = {key: [_block_means(record) for record in found] for key, found in records.items()}
        noise = _noise([[float(run.mean()) for run in runs] for runs in blocks.values()])
        for (arrivals, agent), row in rows.items():
            others = [other for kind, other in rows if kind == arrivals and other != agent]
            row["noise"] = noise
            row["contradicted"] = sum(
                _contradict((row, blocks[arrivals, agent]), (rows[key], blocks[key]), noise)
                for key in ((arrivals, other) for other in others)
            )
        table = pd.DataFrame(list(rows.values()))
        order = {name: place for place, name in enumerate(self.recordings)}
        places = table["arrivals"].map(order)
        return (
            table.assign(place=places)
            .sort_values(["place", "jct_mean_live"], kind="stable", ignore_index=True)
            .drop(columns="place")
        )

    def _row(self, arrivals: str, agent: str, records: Sequence[Path]) -> dict[str, Any]:
        """Returns what was measured and simulated of an agent (s), means over its runs."""
        measured = pd.DataFrame([read_record(record).measured() for record in records]).mean()
        simulated = pd.DataFrame([self.simulated(agent, record) for record in records]).mean()
        row: dict[str, Any] = {"arrivals": arrivals, "agent": agent, "rate": self.rate}
        row["requests"] = sum(len(read_record(record).requests) for record in records)
        for name in METRICS:
            row |= {f"{name}_live": measured.get(name, np.nan), f"{name}_sim": simulated[name]}
        return row


def _noise(means: Sequence[Sequence[float]]) -> float:
    """Returns by how much an agent's mean JCT differs from run to run of the same requests.

    Args:
        means: Of each agent, the mean JCT (s) of each of its runs.

    Returns:
        The standard deviation of a run, as a share of the mean; 0 where each agent has one run.
    """
    relative = [np.var(np.divide(runs, np.mean(runs)), ddof=1) for runs in means if len(runs) > 1]
    return float(np.sqrt(np.mean(relative))) if relative else 0.0


def _block_means(record: Path) -> NDArray[np.float64]:
    """Returns the mean JCTs (s) of so many requests in a row: neighbours are not independent."""
    table = read_record(record).requests
    jct = (table["completion_time"] - table["arrival_time"]).to_numpy()
    parts = np.array_split(jct, max(1, len(jct) // BLOCK))
    return np.array([part.mean() for part in parts])


def _contradict(
    one: tuple[Mapping[str, Any], Sequence[NDArray[np.float64]]],
    other: tuple[Mapping[str, Any], Sequence[NDArray[np.float64]]],
    noise: float,
) -> bool:
    """Whether one agent is faster than another live, beyond chance, and not in simulation.

    Chance is that of requests, by blocks of them in pairs, and that of the machine, which is not
    the same one from run to run.

    Args:
        one, other: A row, and the block means (s) of each run.
        noise: See `_noise`.
    """
    (row, runs), (rival, theirs) = one, other
    if len({len(run) for run in (*runs, *theirs)}) > 1:
        return False
    live = paired_difference(np.mean(runs, axis=0), np.mean(theirs, axis=0))
    of_requests = max(live.high - live.mean, live.mean - live.low)
    means = float(np.mean(runs)), float(np.mean(theirs))
    of_machine = NORMAL * noise * np.hypot(*means) / np.sqrt(len(runs))
    apart = row["jct_mean_sim"] - rival["jct_mean_sim"]
    beyond_chance = abs(live.mean) > np.hypot(of_requests, of_machine)
    return bool(beyond_chance and live.mean * apart < 0)
