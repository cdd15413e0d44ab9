"""What an experiment is: the arguments of `run_experiment`, checked, and as they are kept."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from numbers import Integral
from typing import Any, TypeAlias

import numpy as np

from agents.base import Agent
from agents.experiments.design.scenario import Scenario
from agents.experiments.design.spec import AgentSpec
from agents.experiments.identity.code import code_behind
from agents.experiments.identity.fingerprint import identify, without_code
from agents.experiments.runs.run import Run
from agents.report.words import ranges
from edgecloud_gym.checks import MOST, check_bool, check_integer
from edgecloud_gym.files import duplicate
from edgecloud_gym.wording import shown

ScenarioLike: TypeAlias = str | Scenario
AgentLike: TypeAlias = str | type[Agent] | AgentSpec


def define_runs(
    env_id: ScenarioLike | Iterable[ScenarioLike],
    agents: AgentLike | Iterable[AgentLike],
    seeds: int | Iterable[int],
    env_kwargs: Mapping[str, Any],
    learn: bool | None = None,
) -> list[Run]:
    """Returns the runs of an experiment, in the order scenario, agent, seed.

    Raises:
        TypeError: If something is of another kind than `run_experiment` says.
        ValueError: If there is nothing to play, something is given twice, or an agent is unknown.
    """
    given = [env_id] if isinstance(env_id, (str, Scenario)) else list(env_id)
    scenarios = [_scenario(item, env_kwargs) for item in given]
    who = [agents] if isinstance(agents, (str, type, AgentSpec, Agent)) else list(agents)
    # Made anew, so that what is known of an agent's code is of now.
    specs = [replace(item) if isinstance(item, AgentSpec) else AgentSpec(item) for item in who]
    if learn is not None:
        check_bool("learn", learn)
        specs = [replace(spec, explore=learn) for spec in specs]
    chosen = _seeds(seeds)
    for what, argument, value, labels in (
        ("env", "env_id", env_id, [s.label for s in scenarios]),
        ("agent", "agents", agents, [s.label for s in specs]),
        ("seed", "seeds", seeds, [str(seed) for seed in chosen]),
    ):
        if not labels:
            raise ValueError(f"{argument}={shown(value)}: an experiment needs at least one {what}")
        twice = duplicate(labels)
        if twice is not None:
            raise ValueError(
                f"each {what} may occur once: {shown(twice)} is given twice, in {shown(labels)}"
            )
    return [
        Run(scenario, spec, seed) for scenario in scenarios for spec in specs for seed in chosen
    ]


def _scenario(item: object, env_kwargs: Mapping[str, Any]) -> Scenario:
    if isinstance(item, str):
        return Scenario(item, dict(env_kwargs))
    if isinstance(item, Scenario):
        return Scenario(item.env_id, {**env_kwargs, **item.settings}, item.label)
    raise TypeError(f"env_id={shown(item)}: must be environment ids or Scenario objects")


def _seeds(seeds: object) -> list[int]:
    if isinstance(seeds, Integral):
        return list(range(check_integer("seeds", seeds, least=0, most=MOST)))
    if isinstance(seeds, (str, bytes, Mapping)) or not isinstance(seeds, Iterable):
        raise TypeError(
            f"seeds={shown(seeds)}: must be how many, or the seeds themselves, integers"
        )
    values = seeds.tolist() if isinstance(seeds, np.ndarray) else seeds
    return [check_integer("seeds", seed, least=0) for seed in values]


def as_record(runs: Sequence[Run]) -> dict[str, Any]:
    """Returns what an experiment was asked to play, as JSON values."""
    scenarios = {run.scenario.label: run.scenario for run in runs}
    specs = {run.spec.label: run.spec for run in runs}
    return {
        "scenarios": [
            {"label": label, "env": s.env_id, "settings": _settings(s.settings)}
            for label, s in scenarios.items()
        ],
        "agents": [
            {
                "label": label,
                "agent": s.agent if isinstance(s.agent, str) else s.agent.__qualname__,
                "settings": _settings(s.settings),
                "checkpoint": None if s.checkpoint is None else str(s.checkpoint),
                "explore": s.explore,
                "learns": s.learns,
            }
            for label, s in specs.items()
        ],
        "seeds": sorted({run.seed for run in runs}),
        "runs": [[r.scenario.label, r.spec.label, r.seed, r.digest] for r in runs],
        "watched": sorted(code_behind(*(s.agent for s in specs.values())).files),
    }


def _settings(settings: Mapping[str, Any]) -> Any:
    return without_code(identify(settings))


def difference(there: Mapping[str, Any], here: Mapping[str, Any]) -> str:
    """Returns in what an experiment differs from one that it may extend, or nothing.

    It may add scenarios, agents and seeds; what the other has, it must have as well.

    Args:
        there: `as_record` of the other one.
        here: Its own.
    """
    found = []
    for kind in ("scenarios", "agents"):
        mine = {item["label"]: item for item in here[kind]}
        theirs = {item["label"]: item for item in there[kind]}
        lacking = [label for label in theirs if label not in mine]
        if lacking:
            found.append(f"{kind} there and not here: {', '.join(lacking)}")
        for label in mine.keys() & theirs.keys():
            for name, value, other in _changes(theirs[label], mine[label]):
                found.append(f"{name} of {label} is {value} there, {other} here")
    seeds = sorted({*there["seeds"]} - {*here["seeds"]})
    if seeds:
        found.append(f"seeds there and not here: {ranges(seeds)}")
    more = f"; {len(found) - 3} more" if len(found) > 3 else ""
    return "; ".join(found[:3]) + more


def _changes(there: Any, here: Any) -> list[tuple[str, str, str]]:
    """Returns the names and both values of what differs, settings one by one."""
    absent = object()
    found = []
    for name in sorted(there.keys() | here.keys()):
        one, other = there.get(name, absent), here.get(name, absent)
        if one == other:
            continue
        if name == "settings":
            found += _changes(one, other)
        else:
            shown = ["not set" if x is absent else _short(x) for x in (one, other)]
            found.append((name, *shown))
    return found


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
