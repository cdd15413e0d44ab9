"""``edgecloud train``: an agent learns on the train prompts and is kept in a file."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as ProgressBar
from rich.text import Text

from agents.cli.options import (
    ArrivalRate,
    Dataset,
    Duration,
    Settings,
    make_scenarios,
    needs_embeddings,
    read_name,
    read_settings,
    refusing_bad_input,
)
from agents.experiments.fingerprint import describe
from agents.experiments.learners import PPO, BanditLearner, Learner, PPOLearner
from agents.experiments.model_file import read_model_file
from agents.experiments.runs import Scenario
from agents.registry import BANDITS
from edgecloud_gym.config import SystemConfig
from edgecloud_gym.dataset import load_dataset

LEARNERS: Final = (PPO, *BANDITS)
LOAD: Final = 1.2
# It makes returns of a size that a value network learns.
PPO_REWARD: Final[Mapping[str, float]] = {"jct": 0.01}


def train(
    agent: Annotated[
        str,
        typer.Argument(
            help=f"One of: {' '.join(LEARNERS)}. Settings follow after colons: "
            "cn-greedy:epsilon=0.2, ppo:learning_rate=3e-4.",
            show_default=False,
        ),
    ],
    env: Annotated[str, typer.Option(help="Environment id.", show_default=False)],
    output: Annotated[Path, typer.Option(help="File of the model.", show_default=False)],
    steps: Annotated[int, typer.Option(min=1, help="How long ppo learns.")] = 200_000,
    episodes: Annotated[int, typer.Option(min=1, help="How long a bandit learns.")] = 10,
    seed: Annotated[int, typer.Option(min=0, help="Of everything random.")] = 0,
    load: Annotated[
        float | None,
        typer.Option(help=f"Arrival rate as a fraction of capacity, {LOAD} by default."),
    ] = None,
    arrival_rate: ArrivalRate = None,
    duration: Duration = 100.0,
    dataset: Dataset = str(SystemConfig.dataset),
    settings: Settings = None,
) -> None:
    """Train an agent on the train prompts.

    By default it learns in short, overloaded episodes, where the order of requests matters most.
    The file is complete at any time. The same command goes on where an interrupted one stopped, or,
    given more steps or episodes, where a finished one did.
    """
    console = Console()
    with refusing_bad_input(console):
        name, options = read_name(agent)
        common: dict[str, Any] = {"dataset": dataset, "duration": duration, "split": "train"}
        if arrival_rate is not None:
            common["arrival_rate"] = arrival_rate
        elif load is None:
            load = LOAD
        scenario = _scenario(name, env, load, {**common, **read_settings(settings)})
        training = _training(name, options, scenario, seed)
        resume = _resumable(output, training)
        learner: Learner = (
            PPOLearner(options, scenario, seed, resume)
            if name == PPO
            else BanditLearner(name, options, scenario, seed, resume)
        )
        output.parent.mkdir(parents=True, exist_ok=True)
    total = steps if name == PPO else episodes
    if learner.done >= total:
        console.print(f"{output} has learnt from {learner.done:,} {learner.unit} already.")
        return
    _learn(console, learner, name, total, output, training)


def _scenario(name: str, env_id: str, load: float | None, settings: dict[str, Any]) -> Scenario:
    """Returns where an agent learns."""
    if name not in LEARNERS:
        raise ValueError(f"cannot train {name!r}: must be one of {', '.join(LEARNERS)}")
    data = load_dataset(settings["dataset"])
    if data.embeddings is None:
        raise ValueError(needs_embeddings(name, data))
    if name == PPO:
        settings = {"reward": PPO_REWARD, **settings}
    return make_scenarios([env_id], None if load is None else [load], settings, data)[0]


def _training(
    name: str, options: Mapping[str, Any], scenario: Scenario, seed: int
) -> dict[str, Any]:
    """Returns what defines a training, as JSON values, all but how long it is."""
    return {
        "agent": name,
        "options": describe(options),
        "env": scenario.env_id,
        "settings": describe({**scenario.settings, "dataset": scenario.dataset}),
        "seed": seed,
    }


def _resumable(output: Path, training: Mapping[str, Any]) -> tuple[Path, int] | None:
    """Returns what the file holds of this training, if it is there.

    Raises:
        ValueError: If the file is there and holds something else.
    """
    if not output.exists():
        return None
    found = _flat(read_model_file(output).training or {})
    wanted = _flat(training)
    for name in sorted(wanted.keys() | found.keys() - {"done"}):
        if found.get(name) != wanted.get(name):
            raise ValueError(
                f"--output {output}: is there already, and was trained with {name} "
                f"{found.get(name)!r}, not {wanted.get(name)!r}; name another file or remove it"
            )
    return output, int(found["done"])


def _flat(training: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a training with the environment's settings beside the rest."""
    return {**training, **training.get("settings", {}), "settings": None}


def _learn(
    console: Console,
    learner: Learner,
    name: str,
    total: int,
    output: Path,
    training: Mapping[str, Any],
) -> None:
    """Learns under a progress bar, and saves whenever the learner can be saved."""
    started = time.perf_counter()
    first = learner.done
    latest = math.nan
    try:
        for returned in _advancing(console, learner, name, total):
            learner.save(output, training)
            latest = returned
    except KeyboardInterrupt:
        _tell_interrupted(console, output, learner.unit, total)
        raise typer.Exit(130) from None
    except OSError as error:
        console.print(f"[bold red]error:[/] {error}", highlight=False)
        raise typer.Exit(1) from error
    seconds = time.perf_counter() - started
    console.print(
        f"{name} learnt from {learner.done - first:,} {learner.unit} in {seconds:,.0f} s; "
        f"return per episode {latest:,.2f}.\nSaved to {output}",
        highlight=False,
        soft_wrap=True,
    )


def _tell_interrupted(console: Console, output: Path, unit: str, total: int) -> None:
    """Says what is kept: what the file holds, not what was under way."""
    message = "Nothing was learnt yet, and nothing is kept."
    if output.exists():
        done = (read_model_file(output).training or {})["done"]
        message = (
            f"What was learnt from {done:,} of {total:,} {unit} is kept in {output}; "
            "the same command goes on from there."
        )
    console.print(f"Interrupted. {message}", highlight=False, soft_wrap=True)


def _advancing(console: Console, learner: Learner, name: str, total: int) -> Iterator[float]:
    """Yields the return per episode each time the learner has advanced."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        _Rate(),
        TimeRemainingColumn(),
    )
    with ProgressBar(*columns, console=console, transient=True, expand=True) as bar:
        task = bar.add_task(name, total=total, completed=learner.done, unit=learner.unit)
        while learner.done < total:
            latest = learner.advance()
            yield latest
            shown = name if math.isnan(latest) else f"{name}: return {latest:,.2f}"
            bar.update(task, completed=learner.done, description=shown)


class _Rate(ProgressColumn):
    """How much is learnt per second, or per minute where that is slow."""

    def render(self, task: Task) -> Text:
        if not task.speed:
            return Text("")
        if task.speed < 1.0:
            return Text(f"{60 * task.speed:,.0f} {task.fields['unit']}/min")
        return Text(f"{task.speed:,.0f} {task.fields['unit']}/s")
