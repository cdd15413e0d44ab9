"""Playing an agent in a scenario, and keeping what came of it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from agents.base import Agent
from agents.experiments.design.scenario import Scenario, configuration
from agents.experiments.design.spec import AgentSpec
from agents.experiments.episode import agent_seed, play_steps, run_episode
from agents.experiments.episode.lanes import play_lanes
from agents.experiments.identity.fingerprint import identify, without_code
from agents.experiments.runs.errors import UnwritableError
from agents.experiments.runs.store import (
    PLAYED_FILE,
    REQUESTS_FILE,
    SUMMARY_FILE,
    TIMESERIES_FILE,
    run_folder,
)
from agents.threads import one_thread
from edgecloud_gym.results.metrics import prediction_errors

if TYPE_CHECKING:
    import pandas as pd

_ROWS: Final = 65_536  # per group of rows of a request log


class _Played(NamedTuple):
    """What came of an episode."""

    seed: int
    reward: float
    summary: Mapping[str, float]
    requests: pd.DataFrame
    telemetry: pd.DataFrame


def can_play_together(scenario: Scenario, spec: AgentSpec) -> bool:
    """Whether the seeds of an agent are played side by side, as lanes of a vector environment."""
    return scenario.has_lanes and spec.made.plays_lanes()


@one_thread()
def play_seeds(
    scenario: Scenario, spec: AgentSpec, seeds: Sequence[int], folders: Sequence[Path]
) -> None:
    """Plays an episode per seed, side by side if it can be, and keeps the results of each.

    Args:
        scenario: Where.
        spec: Who plays.
        seeds: Of the episodes.
        folders: Where the results of each go: folders that are complete or absent.

    Raises:
        Exception: What seeds that failed raised, as one or, if it differs, as a group; the others
            are played all the same.
    """
    if not can_play_together(scenario, spec):
        for seed, folder in zip(seeds, folders, strict=True):
            _play_alone(scenario, spec, seed, folder)
        return
    try:
        _play_together(scenario, spec, seeds, folders)
    except (Exception, SystemExit) as error:
        if isinstance(error, UnwritableError) or len(seeds) == 1:
            raise
        _play_singly(scenario, spec, seeds, folders)


def _play_together(
    scenario: Scenario, spec: AgentSpec, seeds: Sequence[int], folders: Sequence[Path]
) -> None:
    agent = spec.make()
    envs = scenario.make_lanes(len(seeds), agent.work_conserving)
    with one_thread():  # the agent may have brought torch along
        for ended in play_lanes(envs, agent, seeds):
            for lane, reward in ended.items():
                predicted = agent.predicted_times_in(envs, lane)
                requests = _with_predictions(envs.request_log(lane), agent, predicted)
                tables = requests, envs.telemetry(lane)
                played = _Played(seeds[lane], reward, envs.summary(lane), *tables)
                _keep(folders[lane], scenario, spec, agent, envs, played)
    envs.close()


def _play_singly(
    scenario: Scenario, spec: AgentSpec, seeds: Sequence[int], folders: Sequence[Path]
) -> None:
    """Plays each seed that lacks results, in lanes of one: nobody's error takes another along."""
    errors: dict[int, BaseException] = {}
    for seed, folder in zip(seeds, folders, strict=True):
        if folder.exists():
            continue
        try:
            _play_together(scenario, spec, [seed], [folder])
        except (Exception, SystemExit) as error:
            if isinstance(error, UnwritableError):
                raise
            errors[seed] = error
    told = {seed: f"{type(error).__name__}: {error}" for seed, error in errors.items()}
    if len(set(told.values())) > 1:
        each = "; ".join(f"seed {seed}: {text}" for seed, text in told.items())
        raise BaseExceptionGroup(each, list(errors.values()))
    if errors:
        raise next(iter(errors.values()))


def begin_seeds(
    scenario: Scenario, spec: AgentSpec, seeds: Sequence[int]
) -> tuple[Any, Iterator[object]]:
    """Begins what `play_seeds` does, with the first seed if they are played one by one.

    Returns:
        The environment, single or of lanes, and an iterator that plays a step each time.
    """
    agent = spec.make()
    if can_play_together(scenario, spec):
        envs = scenario.make_lanes(len(seeds), agent.work_conserving)
        return envs, play_lanes(envs, agent, seeds)
    env = scenario.make(agent.work_conserving)
    seed = seeds[0]
    return env.unwrapped, play_steps(env, agent, seed, agent_seed(seed), spec.explore)


def _play_alone(scenario: Scenario, spec: AgentSpec, seed: int, folder: Path) -> None:
    agent = spec.make()
    env = scenario.make(agent.work_conserving)
    reward = run_episode(env, agent, seed, agent_seed(seed), explore=spec.explore)
    base: Any = env.unwrapped
    requests = _with_predictions(base.request_log(), agent, agent.predicted_times())
    played = _Played(seed, reward, base.summary(), requests, base.telemetry())
    _keep(folder, scenario, spec, agent, base, played)
    env.close()


def _keep(
    folder: Path, scenario: Scenario, spec: AgentSpec, agent: Agent, base: Any, played: _Played
) -> None:
    """Keeps what came of an episode in ``base``, an environment of the package itself."""
    names = {"env": scenario.label, "agent": spec.label, "seed": played.seed}
    requests = _labelled(played.requests, names)
    summary = {
        **names,
        **played.summary,
        "reward": played.reward,
        **prediction_errors(requests["predicted_time"], requests["base_latency"]),
    }
    workload = base.simulator.workload
    definition = {
        "configuration": configuration(base),
        "workload": {
            "capacity": workload.capacity,
            "mean_arrival_rate": workload.mean_rate,
            "mean_latency": workload.mean_latency,
        },
        "agent": _all_settings(agent, spec.settings),
    }
    with run_folder(folder) as temporary:
        # In groups of rows, so that merging runs never holds a long one as a whole.
        log = requests.astype({"node": "string"})
        log.to_parquet(temporary / REQUESTS_FILE, row_group_size=_ROWS)
        _labelled(played.telemetry, names).to_parquet(temporary / TIMESERIES_FILE)
        (temporary / SUMMARY_FILE).write_text(json.dumps(summary))
        (temporary / PLAYED_FILE).write_text(json.dumps(definition))


def _with_predictions(log: pd.DataFrame, agent: Agent, told: tuple[Any, Any]) -> pd.DataFrame:
    """Adds ``predicted_time`` (s) after ``base_latency``; NaN where the agent has told none.

    Raises:
        ValueError: If the predictions are not one time per request that has arrived; the agent is
            named.
    """
    predicted = np.full(len(log), np.nan)
    requests, times = (np.asarray(part) for part in told)
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
