"""One run of an experiment: what defines it, playing it, and keeping its results."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np

from agents.base import Agent
from agents.experiments.episode import run_episode
from agents.experiments.fingerprint import content_digest, describe, file_digest, source_digest
from agents.registry import check_agent_names, make_agent
from edgecloud_gym.config import SystemConfig
from edgecloud_gym.dataset import RequestDataset, load_dataset
from edgecloud_gym.files import replacing_folder
from edgecloud_gym.results.metrics import prediction_errors

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Scenario:
    """An environment with its settings.

    Attributes:
        env_id: Gymnasium id.
        settings: Keyword arguments of `gymnasium.make`.
        label: What the ``env`` column of the results says; the id by default.
    """

    env_id: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    label: str = ""

    def __post_init__(self) -> None:
        if "priority" in self.settings:
            raise ValueError("priority: in an experiment each agent chooses the queue's order")
        object.__setattr__(self, "label", self.label or self.env_id)

    @property
    def dataset(self) -> RequestDataset:
        """The requests, loaded once per process."""
        named = self.settings.get("dataset", SystemConfig.dataset)
        return named if isinstance(named, RequestDataset) else cached_dataset(named)

    def make(self) -> gym.Env[Any, Any]:
        """Makes the environment; slots may stay idle unless the settings say otherwise."""
        settings = {"work_conserving": False, **self.settings, "dataset": self.dataset}
        return gym.make(self.env_id, **settings)


@dataclass(frozen=True)
class AgentSpec:
    """An agent to be made afresh for every run.

    Attributes:
        agent: A name of `agents.registry`, or a subclass of `Agent`.
        settings: Its keyword arguments.
        checkpoint: A file that it loads first.
        label: What the ``agent`` column of the results says; the agent's name by default.
        explore: Whether it may try things out and learn; ``False`` to evaluate it as it is.
    """

    agent: str | type[Agent]
    settings: Mapping[str, Any] = field(default_factory=dict)
    checkpoint: str | None = None
    label: str = ""
    explore: bool = True

    def __post_init__(self) -> None:
        if isinstance(self.agent, str):
            check_agent_names([self.agent])
        name = self.agent if isinstance(self.agent, str) else self.agent.name
        object.__setattr__(self, "label", self.label or name)

    def files(self) -> list[str]:
        """Returns digests of the files that the agent is made from: checkpoint, trained model."""
        named = [self.checkpoint, *self.settings.values()]
        paths = [Path(item) for item in named if isinstance(item, (str, Path))]
        return [file_digest(path) for path in paths if path.is_file()]

    def make(self) -> Agent:
        """Makes the agent."""
        if isinstance(self.agent, str):
            agent = make_agent(self.agent, **self.settings)
        else:
            agent = self.agent(**self.settings)
        if self.checkpoint is not None:
            agent.load(self.checkpoint)
        return agent


@dataclass(frozen=True)
class Run:
    """A scenario, an agent and a seed."""

    scenario: Scenario
    spec: AgentSpec
    seed: int

    @property
    def title(self) -> str:
        """What messages call the run."""
        return f"{self.scenario.label}, agent {self.spec.label}, seed {self.seed}"

    @cached_property
    def digest(self) -> str:
        """Identifies the run by everything that its results depend on, the code included."""
        settings = {**self.scenario.settings, "dataset": self.scenario.dataset}
        definition = {
            "env": self.scenario.env_id,
            "settings": describe(settings),
            "labels": [self.scenario.label, self.spec.label],
            "agent": describe(self.spec.agent),
            "agent_settings": describe(self.spec.settings),
            "files": self.spec.files(),
            "explore": self.spec.explore,
            "seed": self.seed,
            "code": source_digest(),
        }
        return content_digest(json.dumps(definition, sort_keys=True).encode())

    def folder(self, output: Path) -> Path:
        """Returns where the results of the run are kept."""
        return output / "runs" / self.digest

    def play(self, output: Path) -> None:
        """Plays the run and keeps its results: a folder that is complete or absent."""
        agent = self.spec.make()
        env = self.scenario.make()
        with one_torch_thread():
            reward = run_episode(
                env, agent, self.seed, agent_seed(self.seed), explore=self.spec.explore
            )
        names = {
            "env": self.scenario.label,
            "agent": self.spec.label,
            "seed": self.seed,
        }
        base: Any = env.unwrapped
        requests = _labelled(_with_predictions(base.request_log(), agent), names)
        errors = prediction_errors(requests["predicted_time"], requests["base_latency"])
        summary = {**names, **base.summary(), "reward": reward, **errors}
        with replacing_folder(self.folder(output)) as folder:
            requests.astype({"node": "string"}).to_parquet(folder / "requests.parquet")
            _labelled(base.telemetry(), names).to_parquet(folder / "timeseries.parquet")
            (folder / "summary.json").write_text(json.dumps(summary))
        env.close()


@lru_cache(maxsize=4)
def cached_dataset(name_or_path: str | Path) -> RequestDataset:
    """Loads a dataset, or returns it if this process has loaded it before."""
    return load_dataset(name_or_path)


def agent_seed(seed: int) -> int:
    """Returns the seed of an agent's own draws, independent of the environment's stream."""
    return int(np.random.SeedSequence([seed, 1]).generate_state(1)[0])


def _with_predictions(log: pd.DataFrame, agent: Agent) -> pd.DataFrame:
    """Adds ``predicted_time`` (s) after ``base_latency``; NaN where the agent predicted none."""
    predicted = np.full(len(log), np.nan)
    requests, times = agent.predicted_times()
    predicted[requests] = times
    log.insert(list(log.columns).index("base_latency") + 1, "predicted_time", predicted)
    return log


def _labelled(table: pd.DataFrame, names: Mapping[str, Any]) -> pd.DataFrame:
    for position, (name, value) in enumerate(names.items()):
        table.insert(position, name, value)
    return table


@contextmanager
def one_torch_thread() -> Iterator[None]:
    """Keeps torch, where it is loaded, to one thread: quicker for small nets, and repeatable."""
    if "torch" not in sys.modules:
        yield
        return
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def read_summary(folder: Path) -> dict[str, Any]:
    """Returns the summary of a finished run."""
    summary: dict[str, Any] = json.loads((folder / "summary.json").read_text())
    return summary


def discard_unfinished(output: Path) -> None:
    """Removes what runs that were cut off have left."""
    for folder in (output / "runs").glob(".*"):
        shutil.rmtree(folder, ignore_errors=True)
