"""What the commands share: options, how their text is read, and how bad input is refused."""

from __future__ import annotations

import ast
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any, Final

import gymnasium as gym
import typer
from rich.console import Console

from agents.experiments.runs import AgentSpec, Scenario
from agents.registry import BANDITS
from edgecloud_gym import ENV_IDS
from edgecloud_gym.config import settable
from edgecloud_gym.dataset import RequestDataset

PROCESSORS: Final = os.cpu_count() or 1

Loads = Annotated[
    list[float] | None,
    typer.Option("--load", help="Arrival rate as a fraction of capacity; repeat for a sweep."),
]
ArrivalRate = Annotated[
    float | None, typer.Option(help="Arrival rate in requests/s, instead of a load.")
]
Duration = Annotated[float, typer.Option(help="How long requests arrive (s).")]
Dataset = Annotated[str, typer.Option(help="Bundled name, or path to JSONL or Parquet.")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Any other environment setting."),
]
Baseline = Annotated[str, typer.Option(help="Whom the table compares with.")]
Workers = Annotated[int, typer.Option(min=1, help="Processes.")]


@contextmanager
def refusing_bad_input(console: Console) -> Iterator[None]:
    """Turns what is wrong with options and input files into a message and exit code 2."""
    try:
        yield
    except (gym.error.Error, OSError, TypeError, ValueError) as error:
        console.print(f"[bold red]error:[/] {error}", highlight=False)
        raise typer.Exit(2) from error


def read_settings(items: Sequence[str] | None) -> dict[str, Any]:
    """Reads ``key=value`` items; a value that is no Python literal is text.

    Raises:
        ValueError: If an item has another form.
    """
    return dict(_read_setting(item) for item in items or [])


def _read_setting(item: str) -> tuple[str, Any]:
    key, separator, text = item.partition("=")
    if not separator or not key:
        raise ValueError(f"{item!r}: must be KEY=VALUE")
    try:
        return key, ast.literal_eval(text)
    except (SyntaxError, ValueError):
        return key, text


def read_name(text: str) -> tuple[str, dict[str, Any]]:
    """Reads ``name`` or ``name:key=value:key=value``.

    Raises:
        ValueError: If the text has another form.
    """
    name, *settings = text.split(":")
    return name, read_settings(settings)


def read_agents(text: str) -> list[AgentSpec]:
    """Reads agents separated by commas, each as `read_name` does.

    Raises:
        TypeError: If an agent has no such setting.
        ValueError: If an agent is unknown, or a setting out of range.
    """
    return [_agent(item.strip()) for item in text.split(",") if item.strip()]


def _agent(text: str) -> AgentSpec:
    name, settings = read_name(text)
    spec = AgentSpec(name, settings, label=text)
    if settings:
        spec.make()  # so that a wrong setting is refused now
    return spec


def check_embeddings(specs: Sequence[AgentSpec], data: RequestDataset) -> None:
    """Raises ``ValueError`` if agents learn from embeddings and the dataset has none."""
    learners = [str(spec.agent) for spec in specs if spec.agent in BANDITS]
    if learners and data.embeddings is None:
        raise ValueError(needs_embeddings(", ".join(learners), data))


def needs_embeddings(learners: str, data: RequestDataset) -> str:
    """Returns what to tell who would learn from a dataset without embeddings."""
    return (
        f"{learners}: learn from embeddings, and dataset {data.name!r} has none; "
        "make them with `edgecloud embed`"
    )


def make_scenarios(
    env_ids: Sequence[str],
    loads: Sequence[float] | None,
    settings: dict[str, Any],
    data: RequestDataset,
) -> list[Scenario]:
    """Returns a scenario per environment and load, each with the settings that it has.

    Settings for which the dataset lacks the data are left out.

    Raises:
        gymnasium.error.Error: If there is no such environment.
        TypeError: If none of the environments has a setting.
        ValueError: If an environment is not of this package, or a setting is out of range.
    """
    chosen_loads: Sequence[float | None] = loads or [None]
    scenarios = []
    used: set[str] = set()
    for env_id in env_ids:
        known = _settable(env_id)
        mine = {name: value for name, value in settings.items() if name in known}
        used |= mine.keys()
        if data.embeddings is None:
            mine.setdefault("observe", "id")
        if data.slowdown is None and "edge_batch_capacity" not in known:
            mine.setdefault("edge_slowdown", None)
        for load in chosen_loads:
            chosen = mine if load is None else {**mine, "load": load}
            label = env_id if len(chosen_loads) == 1 else f"{env_id} load {load:g}"
            scenarios.append(Scenario(env_id, chosen, label))
    for name in settings.keys() - used:
        # No environment has it: let the first one say so, and name what it has.
        gym.make(env_ids[0], **{"dataset": data, "observe": "id", name: settings[name]})
    for scenario in scenarios:
        scenario.make().close()
    return scenarios


def _settable(env_id: str) -> set[str]:
    entry_point = gym.spec(env_id).entry_point
    if not isinstance(entry_point, str) or not entry_point.startswith("edgecloud_gym"):
        raise ValueError(f"--env {env_id!r}: must be one of {', '.join(ENV_IDS)}")
    environment: Any = gym.envs.registration.load_env_creator(entry_point)
    return set(settable(environment.defaults))


def dataset_notes(scenarios: Sequence[Scenario], data: RequestDataset) -> list[str]:
    """Returns what a user should know that the dataset lacks."""
    notes = []
    if data.embeddings is None:
        notes.append(f"Dataset {data.name!r} has no embeddings: agents that learn need them.")
    if any("edge_slowdown" in s.settings for s in scenarios) and data.slowdown is None:
        notes.append(
            f"Dataset {data.name!r} has no measured slowdown curve: "
            "in continuous batching, requests do not slow each other down."
        )
    return notes
