"""The study: agents route the same requests live, and play what was recorded in simulation."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

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
    """

    nodes: Sequence[Node]
    urls: Sequence[str]
    folder: Path
    duration: float
    encoder: Encoder
    recordings: Mapping[str, Recording | None]

    @property
    def rate(self) -> float:
        """Requests/s."""
        capacity = sum(
            node.engine.capacity(MEAN_PROMPT, MEAN_ANSWER)
            for node in self.nodes
            if isinstance(node, Engine)
        )
        return float(f"{LOAD * capacity:.2g}")

    def live(self, arrivals: str, agent: str) -> Path:
        """Lets an agent route live, if it has not yet; returns the record."""
        folder = self.folder / arrivals / agent
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
        found = [self._rows(arrivals, agents) for arrivals in self.recordings]
        return pd.concat([pd.DataFrame(rows) for rows in found], ignore_index=True)

    def _rows(self, arrivals: str, agents: Sequence[str]) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        times: list[NDArray[np.float64]] = []
        for agent in agents:
            print(f"{arrivals}, {agent}", flush=True)
            record = self.live(arrivals, agent)
            times.append(_block_means(record))
            rows.append(self._row(arrivals, agent, record))
        for row, contradicted in zip(rows, _contradictions(rows, times), strict=True):
            row["contradicted"] = contradicted
        return sorted(rows, key=lambda row: row["jct_mean_live"])

    def _row(self, arrivals: str, agent: str, record: Path) -> dict[str, Any]:
        """Returns what was measured and simulated of an agent (s)."""
        measured, simulated = read_record(record).measured(), self.simulated(agent, record)
        row: dict[str, Any] = {"arrivals": arrivals, "agent": agent, "rate": self.rate}
        row["requests"] = len(read_record(record).requests)
        for name in METRICS:
            row |= {f"{name}_live": measured.get(name, np.nan), f"{name}_sim": simulated[name]}
        return row


def _block_means(record: Path) -> NDArray[np.float64]:
    """Returns the mean JCTs (s) of so many requests in a row: neighbours are not independent."""
    table = read_record(record).requests
    jct = (table["completion_time"] - table["arrival_time"]).to_numpy()
    parts = np.array_split(jct, max(1, len(jct) // BLOCK))
    return np.array([part.mean() for part in parts])


def _contradictions(
    rows: Sequence[Mapping[str, Any]], times: Sequence[NDArray[np.float64]]
) -> Iterator[int]:
    """Yields how many others each agent is faster than live, beyond the interval, and not in
    simulation, or the other way round."""
    for one, row in enumerate(rows):
        count = 0
        for other, rival in enumerate(rows):
            if other == one or len(times[one]) != len(times[other]):
                continue
            live = paired_difference(times[one], times[other])
            apart = row["jct_mean_sim"] - rival["jct_mean_sim"]
            count += (live.low > 0 and apart < 0) or (live.high < 0 and apart > 0)
        yield int(count)
