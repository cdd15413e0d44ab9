"""Where the commands play: options put together to scenarios, and what to say about them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import typer

from agents.cli.shared.reading import env_defaults, find_env, settable_in
from agents.experiments.design.replay import replay
from agents.experiments.design.scenario import Scenario
from data_tools.cli.options import is_given
from edgecloud_gym import CLUSTER_ID
from edgecloud_gym.config import SystemConfig
from edgecloud_gym.dataset import RequestDataset
from edgecloud_gym.node_files import load_nodes
from edgecloud_gym.wording import shown


def join_settings(
    context: typer.Context, options: Mapping[str, Any], settings: Mapping[str, Any]
) -> dict[str, Any]:
    """Returns options and other settings as one; ``--set`` goes before an option's default.

    Args:
        context: Of the command.
        options: Values by setting, which is the option's name; ``None`` is no value.
        settings: What ``--set`` says.

    Raises:
        ValueError: If something is given both ways.
    """
    for name in options.keys() & settings.keys():
        if is_given(context, name):
            option = f"--{name.replace('_', '-')}"
            raise ValueError(
                f"{option} {options[name]} and --set {name}={settings[name]}: give one of them"
            )
    return {**{n: value for n, value in options.items() if value is not None}, **settings}


def read_nodes(
    nodes: Path | None, envs: Sequence[str] | None, settings: dict[str, Any]
) -> list[str] | None:
    """Puts the nodes of a file into settings; returns the environments that are to be played.

    Args:
        nodes: The file, if there is one: it is for clusters.
        envs: The environments that are asked for, if any.
        settings: Is changed.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If it does not hold nodes, or another environment is to have them.
    """
    if nodes is None:
        return None if envs is None else [find_env(name) for name in envs]
    if "nodes" in settings:
        raise ValueError(f"--nodes {nodes} and --set nodes: give one of them")
    chosen = [CLUSTER_ID] if envs is None else [find_env(name) for name in envs]
    for env_id in chosen:
        if env_id != CLUSTER_ID:
            raise ValueError(f"--nodes {nodes}: {env_id} has an edge and a cloud, not nodes")
    settings["nodes"] = load_nodes(nodes)
    return chosen


def read_environment(env: str | None, nodes: Path | None, settings: dict[str, Any]) -> str:
    """Returns the one environment that is to be played, and puts its nodes into settings.

    Args:
        env: The environment that is asked for; a file of nodes says it too.
        nodes: The file, if there is one.
        settings: Is changed.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If neither is given, or as of `read_nodes`.
    """
    if env is None and nodes is None:
        raise ValueError("give --env, or --nodes for a cluster")
    (env_id,) = read_nodes(nodes, None if env is None else [env], settings) or []
    return env_id


def replay_trace(
    context: typer.Context,
    trace: Path | None,
    rate_scale: float,
    settings: dict[str, Any],
    data: RequestDataset,
    loads: Sequence[float] | None = None,
) -> tuple[RequestDataset, list[str]]:
    """Makes settings replay a workload trace, if there is one.

    Args:
        context: Of the command.
        trace: The file.
        rate_scale: How many times as fast.
        settings: Is changed: arrivals, dataset, order and split of the prompts.
        data: The dataset that the settings name.
        loads: The loads that it is stretched to.

    Returns:
        The dataset to play with, and notes on what is replayed.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If it is no trace, or settings contradict it.
    """
    if trace is None:
        if is_given(context, "rate_scale"):
            raise ValueError(f"--rate-scale {rate_scale:g}: is of a trace; there is no --trace")
        return data, []
    for name in ("arrivals", "prompt_order"):
        if name in settings:
            raise ValueError(f"--trace {trace} and --set {name}={settings[name]}: give one of them")
    stretched = bool(loads) or "load" in settings or "arrival_rate" in settings
    if is_given(context, "rate_scale") and stretched:
        raise ValueError("--rate-scale and a load or arrival rate: give one of them")
    replayed = replay(
        trace,
        data,
        split=settings.get("split", "all"),
        duration=settings["duration"],
        rate_scale=rate_scale,
        own_times=not stretched,
    )
    settings.update(replayed.settings)
    return replayed.dataset, replayed.notes


def make_scenarios(
    env_ids: Sequence[str],
    loads: Sequence[float] | None,
    settings: Mapping[str, Any],
    data: RequestDataset,
) -> list[Scenario]:
    """Returns a scenario per environment and load, each with the settings that it has.

    Settings for which the dataset lacks the data are left out.

    Raises:
        TypeError: If none of the environments has a setting.
        ValueError: If an environment or load is given twice.
    """
    for what, given in (("env", list(env_ids)), ("load", [f"{load:g}" for load in loads or []])):
        twice = next((item for item in given if given.count(item) > 1), None)
        if twice is not None:
            raise ValueError(f"--{what} {twice}: is given twice")
    chosen_loads: Sequence[float | None] = loads or [None]
    scenarios = []
    used: set[str] = set()
    for env_id in env_ids:
        known = settable_in(env_id)
        mine = {name: value for name, value in settings.items() if name in known}
        used |= mine.keys()
        if data.embeddings is None:
            mine.setdefault("observe", "id")
        if lacks_slowdown(env_id, mine, data):
            mine["edge_slowdown"] = None
        for load in chosen_loads:
            chosen = mine if load is None else {**mine, "load": load}
            label = env_id if len(chosen_loads) == 1 else f"{env_id} load {load:g}"
            scenarios.append(Scenario(env_id, chosen, label))
    for name in settings.keys() - used:
        # No environment has it: the first one says so, and names what it has.
        SystemConfig.from_settings({name: settings[name]}, env_defaults(env_ids[0]))
    return scenarios


def lacks_slowdown(env_id: str, settings: Mapping[str, Any], data: RequestDataset) -> bool:
    """Tells whether an environment would take a slowdown curve that the dataset lacks."""
    known = settable_in(env_id)
    continuous = "edge_slowdown" in known and "edge_batch_capacity" not in known
    return continuous and data.slowdown is None and "edge_slowdown" not in settings


def dataset_notes(
    env_ids: Sequence[str], settings: Mapping[str, Any], data: RequestDataset
) -> list[str]:
    """Returns what a user should know of the dataset and of settings that do not apply.

    Args:
        env_ids: The environments.
        settings: As the user gave them.
        data: The dataset.
    """
    notes = []
    for name in settings:
        lacking = [env_id for env_id in env_ids if name not in settable_in(env_id)]
        if 0 < len(lacking) < len(env_ids):
            notes.append(f"{name} is no setting of {', '.join(lacking)}: left out there.")
    if data.embeddings is None:
        notes.append(f"Dataset {shown(data.name)} has no embeddings: agents that learn need them.")
    if any(lacks_slowdown(env_id, settings, data) for env_id in env_ids):
        notes.append(
            f"Dataset {shown(data.name)} has no measured slowdown curve: "
            "in continuous batching, requests do not slow each other down."
        )
    return notes
