"""``edgecloud train``: an agent learns on the train prompts and is kept in a file."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import gymnasium as gym
import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from agents.cli.options import (
    DATASET,
    PROCESSORS,
    ArrivalRate,
    Dataset,
    Duration,
    Environment,
    Nodes,
    RateScale,
    Scheduler,
    Settings,
    TraceFile,
    Workers,
)
from agents.cli.playing import say
from agents.cli.reading import (
    agent_kinds,
    needs_embeddings,
    read_name,
    read_settings,
    setting_kinds,
)
from agents.cli.scenarios import (
    dataset_notes,
    is_given,
    join_settings,
    make_scenarios,
    read_environment,
    replay_trace,
)
from agents.cli.train_predictor import PREDICTOR, train_predictor
from agents.cli.train_seeds import numbered, train_all
from agents.experiments.learners import PPO, Learner
from agents.experiments.model_file import read_model_file
from agents.experiments.training import Training, advancing, whole
from agents.registry import LEARNERS
from agents.report.words import counted
from data_tools.cli.console import INTERRUPTED, reading_input, reporting, warn
from data_tools.cli.options import path_option
from edgecloud_gym.checks import did_you_mean
from edgecloud_gym.dataset import load_dataset
from edgecloud_gym.files import check_writable

TRAINABLE: Final = (PPO, *LEARNERS, PREDICTOR)
LOAD: Final = 1.2
DURATION: Final = 100.0
_AGENT_HELP: Final = (
    f"Agent: {', '.join(TRAINABLE)}. Settings follow after colons: "
    "cn-greedy:epsilon=0.2, ppo:learning_rate=3e-4."
)
_OF_PREDICTOR: Final = ("agent", "output", "seed", "dataset", "help")
_BESIDE: Final = ("settings", "done", "algorithm", "allow_stop")  # not what defines a training
# It makes returns of a size that a value network learns.
PPO_REWARD: Final[Mapping[str, float]] = {"jct": 0.01}


def train(
    context: typer.Context,
    agent: Annotated[
        str,
        typer.Argument(metavar="AGENT", help=_AGENT_HELP, show_default=False),
    ],
    output: Annotated[
        Path,
        path_option(help="File of the model: .zip of ppo, .npz of others.", show_default=False),
    ],
    env: Environment = None,
    steps: Annotated[
        int, typer.Option(min=1, help="Environment steps that ppo learns from, in whole rollouts.")
    ] = (200_000),
    episodes: Annotated[int, typer.Option(min=1, help="Episodes that a bandit learns from.")] = 10,
    seed: Annotated[int, typer.Option(min=0, help="Random seed.")] = 0,
    seeds: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Trainings of their own, with seeds SEED, SEED + 1, ...; the files are numbered: "
            "ppo-0.zip, ppo-1.zip, ...",
        ),
    ] = None,
    workers: Workers = PROCESSORS,
    scheduler: Scheduler = None,
    load: Annotated[float, typer.Option(help="Arrival rate as a fraction of capacity.")] = LOAD,
    arrival_rate: ArrivalRate = None,
    duration: Duration = DURATION,
    dataset: Dataset = DATASET,
    trace: TraceFile = None,
    rate_scale: RateScale = 1.0,
    settings: Settings = None,
    nodes: Nodes = None,
) -> None:
    """Train an agent on the train prompts.

    By default it learns in short, overloaded episodes, where the order of requests matters most.
    The file is complete at any time. The same command goes on where an interrupted one stopped, or,
    given more steps or episodes, where a finished one did.

    For example:

    edgecloud train ppo --env continuous --output ppo.zip

    edgecloud train 'cn-ducb:hidden=[64,64]' --env static --output cn-ducb.npz

    edgecloud train predictor --dataset mine.jsonl --output mine.npz
    """
    with reporting(extra="agents"):
        with reading_input(gym.error.Error):
            name, options = _read_agent(agent)
            _check_suffix(name, output)
            if name == PREDICTOR:
                _warn_of_others(context)
                train_predictor(dataset, options, seed, output)
                return
            wrong, right = ("episodes", "steps") if name == PPO else ("steps", "episodes")
            if is_given(context, wrong):
                warn(f"--{wrong} has no effect: how long {name} learns is told by --{right}")
            given = read_settings(settings, setting_kinds())
            chosen = {
                "arrival_rate": arrival_rate,
                "load": load,
                "duration": duration,
                "dataset": dataset,
            }
            common = {"split": "train", **join_settings(context, chosen, given)}
            rated = arrival_rate is not None or "arrival_rate" in given or trace is not None
            if rated and not is_given(context, "load") and "load" not in given:
                del common["load"]  # only the default
            if name == PPO:
                common.setdefault("reward", PPO_REWARD)
            data = load_dataset(common["dataset"])
            if data.embeddings is None:
                raise ValueError(needs_embeddings(name, data))
            env_id = read_environment(env, nodes, common)
            notes = dataset_notes([env_id], common, data)
            prompts = {"dataset": data, "split": common["split"]}
            amount = steps if name == PPO else episodes
            data, more = replay_trace(context, trace, rate_scale, common, data)
            (scenario,) = make_scenarios([env_id], None, common, data)
            scenario.check()
            chosen_seeds = [seed] if seeds is None else [*range(seed, seed + seeds)]
            trainings = {
                output if seeds is None else numbered(output, own): Training(
                    name, options, scenario, own, prompts, amount
                )
                for own in chosen_seeds
            }
            for path, training in trainings.items():
                training.resumable(path)
                check_writable(path)
            if seeds is None:
                for option, given_how in (("workers", None), ("scheduler", scheduler)):
                    if given_how is not None or is_given(context, option):
                        warn(f"--{option} has no effect: one training is not divided")
                learner = trainings[output].learner(output)
        say(notes + more)
        if seeds is None:
            _train_one(learner, trainings[output], output)
        else:
            train_all(trainings, workers, scheduler)


def _train_one(learner: Learner, training: Training, output: Path) -> None:
    """Trains in this process, in front of someone."""
    if learner.done >= training.amount:
        already = counted(learner.done, learner.unit)
        typer.echo(f"{output} has learnt from {already} already.")
        return
    total = whole(learner, training.amount)
    if total > training.amount:
        note = (
            f"{training.name} learns {learner.stride:,} {learner.unit}s at a time: "
            f"from {total:,}, not {training.amount:,}."
        )
        say([note])
    _learn(learner, training.name, total, output, training.record())


def _read_agent(text: str) -> tuple[str, dict[str, Any]]:
    name, items = read_name(text)
    if name not in TRAINABLE:
        raise ValueError(
            f"cannot train {name!r}: must be one of {', '.join(TRAINABLE)}"
            f"{did_you_mean(name, TRAINABLE)}"
        )
    return name, read_settings(items, None if name in (PPO, PREDICTOR) else agent_kinds(name))


def _warn_of_others(context: typer.Context) -> None:
    """Warns of options that say where an agent plays: the predictor looks at prompts alone."""
    for parameter in context.command.params:
        if parameter.name not in _OF_PREDICTOR and is_given(context, str(parameter.name)):
            warn(f"{parameter.opts[0]} has no effect: a predictor looks at prompts alone")


def _check_suffix(name: str, output: Path) -> None:
    """Raises ``ValueError`` if the name of a model's file says that another agent's is in it."""
    right, wrong = (".zip", ".npz") if name == PPO else (".npz", ".zip")
    if output.suffix.casefold() == wrong:
        raise ValueError(f"--output {output}: a file of {name} ends in {right}, not {wrong}")


def _learn(
    learner: Learner, name: str, total: int, output: Path, training: Mapping[str, Any]
) -> None:
    """Learns under a progress bar, and saves whenever the learner can be saved."""
    started = time.perf_counter()
    first = learner.done
    latest = math.nan
    try:
        for returned in _advancing(learner, name, total):
            learner.save(output, training)
            latest = returned
    except KeyboardInterrupt:
        _tell_interrupted(output, learner, total)
        raise typer.Exit(INTERRUPTED) from None
    seconds = time.perf_counter() - started
    episode = "no episode has ended" if math.isnan(latest) else f"return per episode {latest:,.2f}"
    learnt = counted(learner.done, learner.unit)
    if first:
        learnt += f" in all, {learner.done - first:,} of them now,"
    typer.echo(f"{name} has learnt from {learnt} in {seconds:,.0f} s; {episode}.")
    if learner.empty:
        empty = counted(learner.empty, "episode")
        warn(f"in {empty} no request arrived: nothing was learnt from that")
    typer.echo(f"Saved to {output}")


def _tell_interrupted(output: Path, learner: Learner, total: int) -> None:
    """Says what is kept: what the file holds, not what was under way."""
    message = "Nothing was learnt yet, and nothing is kept."
    if output.exists():
        done = (read_model_file(output).training or {})["done"]
        message = (
            f"What was learnt from {done:,} of {counted(total, learner.unit)} is kept in {output}; "
            "the same command goes on from there."
        )
    typer.echo(f"Interrupted. {message}", err=True)


def _advancing(learner: Learner, name: str, total: int) -> Iterator[float]:
    """Yields the return per episode each time the learner has advanced."""
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        _Rate(),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    bars = Progress(
        *columns, console=console, transient=True, expand=True, disable=not console.is_terminal
    )
    with bars as bar:
        task = bar.add_task(name, total=total, completed=learner.done, unit=f"{learner.unit}s")
        for latest in advancing(learner, total):
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
