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
    ArrivalRate,
    Dataset,
    Duration,
    RateScale,
    Settings,
    TraceFile,
    path_option,
)
from agents.cli.playing import say
from agents.cli.reading import (
    agent_kinds,
    find_env,
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
    replay_trace,
)
from agents.experiments.fingerprint import identify
from agents.experiments.learners import PPO, BanditLearner, Learner, PPOLearner
from agents.experiments.model_file import read_model_file
from agents.experiments.scenario import Scenario
from agents.registry import BANDITS, agent_class
from agents.report.words import counted
from data_tools.cli.console import INTERRUPTED, reading_input, reporting, warn
from edgecloud_gym.checks import did_you_mean
from edgecloud_gym.config import SystemConfig
from edgecloud_gym.dataset import load_dataset
from edgecloud_gym.files import check_writable

LEARNERS: Final = (PPO, *BANDITS)
LOAD: Final = 1.2
DURATION: Final = 100.0
_AGENT_HELP: Final = (
    f"Agent: {', '.join(LEARNERS)}. Settings follow after colons: "
    "cn-greedy:epsilon=0.2, ppo:learning_rate=3e-4."
)
_BESIDE: Final = ("settings", "done", "algorithm", "allow_stop")  # not what defines a training
# It makes returns of a size that a value network learns.
PPO_REWARD: Final[Mapping[str, float]] = {"jct": 0.01}


def train(
    context: typer.Context,
    agent: Annotated[
        str,
        typer.Argument(metavar="AGENT", help=_AGENT_HELP, show_default=False),
    ],
    env: Annotated[str, typer.Option(help="Environment, by id or in short.", show_default=False)],
    output: Annotated[
        Path,
        path_option(help="File of the model: .zip of ppo, .npz of others.", show_default=False),
    ],
    steps: Annotated[
        int, typer.Option(min=1, help="Environment steps that ppo learns from, in whole rollouts.")
    ] = (200_000),
    episodes: Annotated[int, typer.Option(min=1, help="Episodes that a bandit learns from.")] = 10,
    seed: Annotated[int, typer.Option(min=0, help="Random seed.")] = 0,
    load: Annotated[float, typer.Option(help="Arrival rate as a fraction of capacity.")] = LOAD,
    arrival_rate: ArrivalRate = None,
    duration: Duration = DURATION,
    dataset: Dataset = DATASET,
    trace: TraceFile = None,
    rate_scale: RateScale = 1.0,
    settings: Settings = None,
) -> None:
    """Train an agent on the train prompts.

    By default it learns in short, overloaded episodes, where the order of requests matters most.
    The file is complete at any time. The same command goes on where an interrupted one stopped, or,
    given more steps or episodes, where a finished one did.

    For example:

    edgecloud train ppo --env continuous --output ppo.zip

    edgecloud train 'cn-ducb:hidden=[64,64]' --env static --output cn-ducb.npz
    """
    with reporting(extra="agents"):
        with reading_input(gym.error.Error):
            name, options = _read_agent(agent)
            _check_suffix(name, output)
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
            env_id = find_env(env)
            notes = dataset_notes([env_id], common, data)
            prompts = {"dataset": data, "split": common["split"]}
            data, more = replay_trace(context, trace, rate_scale, common, data)
            (scenario,) = make_scenarios([env_id], None, common, data)
            scenario.check()
            training = _training(name, options, scenario, seed, prompts)
            resume = _resumable(output, training)
            check_writable(output)
            learner = _learner(name, options, scenario, seed, resume)
        wanted = steps if name == PPO else episodes
        if learner.done >= wanted:
            already = counted(learner.done, learner.unit)
            say(notes + more)
            typer.echo(f"{output} has learnt from {already} already.")
            return
        total = learner.done + math.ceil((wanted - learner.done) / learner.stride) * learner.stride
        if total > wanted:
            more.append(
                f"{name} learns {learner.stride:,} {learner.unit}s at a time: "
                f"from {total:,}, not {wanted:,}."
            )
        say(notes + more)
        _learn(learner, name, total, output, training)


def _read_agent(text: str) -> tuple[str, dict[str, Any]]:
    name, items = read_name(text)
    if name not in LEARNERS:
        raise ValueError(
            f"cannot train {name!r}: must be one of {', '.join(LEARNERS)}"
            f"{did_you_mean(name, LEARNERS)}"
        )
    return name, read_settings(items, None if name == PPO else agent_kinds(name))


def _check_suffix(name: str, output: Path) -> None:
    """Raises ``ValueError`` if the name of a model's file says that another agent's is in it."""
    right, wrong = (".zip", ".npz") if name == PPO else (".npz", ".zip")
    if output.suffix.casefold() == wrong:
        raise ValueError(f"--output {output}: a file of {name} ends in {right}, not {wrong}")


def _learner(
    name: str,
    options: Mapping[str, Any],
    scenario: Scenario,
    seed: int,
    resume: tuple[Path, int] | None,
) -> Learner:
    if name == PPO:
        return PPOLearner(options, scenario, seed, resume)
    return BanditLearner(name, options, scenario, seed, resume)


def _training(
    name: str,
    options: Mapping[str, Any],
    scenario: Scenario,
    seed: int,
    prompts: Mapping[str, Any],
) -> dict[str, Any]:
    """Returns what defines a training, as JSON values, all but how long it is.

    Args:
        name: Of the agent.
        options: Its settings.
        scenario: Where it learns.
        seed: Seeds everything.
        prompts: The dataset and split that the prompts are of, which a replayed trace orders anew.
    """
    own = None if name == PPO else agent_class(name).work_conserving
    filled = SystemConfig.work_conserving if own is None else own
    settings = {"work_conserving": filled, **scenario.settings, **prompts}
    return {
        "agent": name,
        "options": identify(options),
        "env": scenario.env_id,
        "settings": identify(settings),
        "seed": seed,
    }


def _resumable(output: Path, training: Mapping[str, Any]) -> tuple[Path, int] | None:
    """Returns what the file holds of this training, if it is there.

    Raises:
        ValueError: If the file is there and holds something else.
    """
    if not output.exists():
        return None
    kept = read_model_file(output).training or {}
    found = _flat(kept)
    wanted = _flat(training)
    found.setdefault("work_conserving", wanted["work_conserving"])  # of before it was kept
    for name in sorted(wanted.keys() | found.keys()):
        if found.get(name) != wanted.get(name):
            raise ValueError(
                f"--output {output}: is there already, and was trained with {name} "
                f"{found.get(name)!r}, not {wanted.get(name)!r}; name another file or remove it"
            )
    return output, int(kept["done"])


def _flat(training: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a training with the environment's settings beside the rest."""
    flat = {**training, **training.get("settings", {})}
    return {name: value for name, value in flat.items() if name not in _BESIDE}


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
