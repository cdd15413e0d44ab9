"""One run of an experiment: what defines it, playing it, and keeping its results."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from platform import python_version
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from agents.base import Agent
from agents.experiments.code import digest, source_digest
from agents.experiments.episode import run_episode
from agents.experiments.fingerprint import identify, without_code
from agents.experiments.scenario import Scenario, configuration
from agents.experiments.spec import AgentSpec
from agents.experiments.store import (
    PLAYED_FILE,
    REQUESTS_FILE,
    RUNS,
    SUMMARY_FILE,
    TIMESERIES_FILE,
    run_folder,
)
from agents.threads import one_thread
from edgecloud_gym.results.metrics import prediction_errors

if TYPE_CHECKING:
    import pandas as pd

_PACKAGES: Final = (
    "edgecloud-gym",
    "gymnasium",
    "numba",
    "numpy",
    "pandas",
    "pyarrow",
    "sb3-contrib",
    "stable-baselines3",
    "torch",
)
_NOT_COMPUTING: Final = ("edgecloud-gym", "pandas", "pyarrow")  # the first by its source instead
_ROWS: Final = 65_536  # per group of rows of a request log


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
        definition = {
            "scenario": self.scenario.identity,
            "agent": self.spec.identity,
            "seed": self.seed,
            "code": source_digest(),
            "versions": {n: v for n, v in versions().items() if n not in _NOT_COMPUTING},
        }
        return digest(json.dumps(definition, sort_keys=True).encode())

    def folder(self, output: Path) -> Path:
        """Returns where the results of the run are kept."""
        return output / RUNS / self.digest

    @one_thread()
    def play(self, folder: Path) -> None:
        """Plays the run and keeps its results: a folder that is complete or absent.

        Args:
            folder: Where; see `folder`.
        """
        agent = self.spec.make()
        env = self.scenario.make(agent.work_conserving)
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
        summary = {
            **names,
            **base.summary(),
            "reward": reward,
            **errors,
        }
        workload = base.simulator.workload
        played = {
            "configuration": configuration(env),
            "workload": {
                "capacity": workload.capacity,
                "mean_arrival_rate": workload.mean_rate,
                "mean_latency": workload.mean_latency,
            },
            "agent": _all_settings(agent, self.spec.settings),
        }
        with run_folder(folder) as temporary:
            # In groups of rows, so that merging runs never holds a long one as a whole.
            log = requests.astype({"node": "string"})
            log.to_parquet(temporary / REQUESTS_FILE, row_group_size=_ROWS)
            _labelled(base.telemetry(), names).to_parquet(temporary / TIMESERIES_FILE)
            (temporary / SUMMARY_FILE).write_text(json.dumps(summary))
            (temporary / PLAYED_FILE).write_text(json.dumps(played))
        env.close()


def agent_seed(seed: int) -> int:
    """Returns the seed of an agent's own draws, independent of the environment's stream."""
    return int(np.random.SeedSequence([seed, 1]).generate_state(1)[0])


@cache
def versions() -> Mapping[str, str]:
    """Returns the versions of Python and of the packages that matter, where they are installed."""
    found = {"python": python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _with_predictions(log: pd.DataFrame, agent: Agent) -> pd.DataFrame:
    """Adds ``predicted_time`` (s) after ``base_latency``; NaN where the agent predicted none.

    Raises:
        ValueError: If the predictions are not one time per request that has arrived; the agent is
            named.
    """
    predicted = np.full(len(log), np.nan)
    requests, times = (np.asarray(part) for part in agent.predicted_times())
    wrong = _wrong_predictions(requests, times, len(log))
    if wrong:
        raise ValueError(f"agent {agent.name!r}: predicted_times(): {wrong}")
    predicted[requests.astype(np.int64)] = times
    log.insert(list(log.columns).index("base_latency") + 1, "predicted_time", predicted)
    return log


def _wrong_predictions(requests: Any, times: Any, arrived: int) -> str:
    """Returns what is wrong with an agent's predictions, or nothing."""
    if requests.ndim != 1 or requests.shape != times.shape:
        return f"ids {requests.shape} and times {times.shape} must be of one length"
    if len(requests) == 0:
        return ""
    if requests.dtype.kind not in "iu" or times.dtype.kind not in "iuf":
        return f"ids must be integers and times numbers, got {requests.dtype} and {times.dtype}"
    if requests.min() < 0 or requests.max() >= arrived:
        bad = requests[(requests < 0) | (requests >= arrived)][0]
        return f"id {bad}: must be that of a request that arrived, 0 to {arrived - 1}"
    return ""


def _all_settings(agent: Agent, given: Mapping[str, Any]) -> Any:
    """Returns an agent's settings, defaults included; those given where it does not tell."""
    try:
        return without_code(identify(agent.settings()))
    except (AttributeError, TypeError):
        return without_code(identify(given))


def _labelled(table: pd.DataFrame, names: Mapping[str, Any]) -> pd.DataFrame:
    for position, (name, value) in enumerate(names.items()):
        table.insert(position, name, value)
    return table
