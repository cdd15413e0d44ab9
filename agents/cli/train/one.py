"""One training in front of someone: a progress bar, and what came of it."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from pathlib import Path

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

from agents.cli.shared.playing import say
from agents.experiments.training.learners import Learner
from agents.experiments.training.model_file import read_model_file
from agents.experiments.training.training import Training, whole
from agents.report.words import counted
from data_tools.cli.console import INTERRUPTED, warn


def train_one(learner: Learner, training: Training, output: Path) -> None:
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
    _learn(learner, training, total, output)


def _learn(learner: Learner, training: Training, total: int, output: Path) -> None:
    """Learns under a progress bar, and saves whenever the learner can be saved."""
    name = training.name
    started = time.perf_counter()
    first = learner.done
    latest = math.nan
    try:
        for returned in _advancing(learner, training, total, output):
            latest = returned
    except KeyboardInterrupt:
        _tell_interrupted(training.last(output), learner, total)
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
    if learner.done < training.amount:
        typer.echo(f"It stopped early: nothing was better in {training.patience} looks.")
    for line in training.curve_in_words(output):
        typer.echo(line)
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


def _advancing(learner: Learner, training: Training, total: int, output: Path) -> Iterator[float]:
    """Yields the return per episode each time the learner has advanced."""
    name = training.name
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
        for latest in training.advancing(learner, output):
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
