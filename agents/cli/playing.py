"""Playing an experiment in front of someone: progress, tables, pictures."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column
from rich.text import Text

from agents.experiments.definition import as_record
from agents.experiments.folder import OtherExperimentError, claim
from agents.experiments.play import ExperimentProgress, play
from agents.experiments.result import ExperimentResult
from agents.experiments.runs import Run
from agents.experiments.store import is_intact
from agents.experiments.workers import play_in_processes
from agents.report.results import CSVS, FAILURES, RECORD
from agents.report.terminal import print_results
from agents.report.words import counted
from data_tools.cli.console import INTERRUPTED, warn


def take_folder(runs: Sequence[Run], output: Path, overwrite: bool) -> None:
    """Sees that agents fit their environments and that the folder is to be had.

    Raises:
        OSError: If nothing can be written to the folder.
        TypeError: If an agent does not fit.
        ValueError: If an agent does not fit, or the folder holds another experiment.
    """
    if not all(is_intact(run.folder(output)) for run in runs):
        _check_fit(runs)
    try:
        claim(output, as_record(runs), overwrite=overwrite)
    except OtherExperimentError as error:
        hint = "Name another folder with --output, or clear this one with --overwrite"
        raise ValueError(f"{error.problem}. {hint}") from error


def _check_fit(runs: Sequence[Run]) -> None:
    """Lets each agent decide once in each environment."""
    seen = set()
    for run in runs:
        key = (run.scenario.env_id, run.spec.label)
        if key in seen:
            continue
        seen.add(key)
        agent = run.spec.make()
        env = run.scenario.make(agent.work_conserving)
        try:
            agent.reset(env, seed=0)
            agent.act(*env.reset(seed=0), explore=False)
        except (TypeError, ValueError) as error:
            label = run.spec.label
            raise type(error)(f"{label} does not fit {run.scenario.label}: {error}") from error
        env.close()


def play_all(runs: Sequence[Run], output: Path, workers: int) -> ExperimentResult:
    """Plays an experiment under a progress bar.

    Raises:
        typer.Exit: With 130 after Ctrl-C.
    """
    columns = (
        TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True, width=18)),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    latest = ExperimentProgress(0, len(runs))
    failed = 0
    console = Console(stderr=True)
    quiet = not console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=quiet) as bar:
        task = bar.add_task("starting", total=len(runs))

        def show(progress: ExperimentProgress) -> None:
            nonlocal latest, failed
            latest = progress
            failed += progress.error is not None
            if progress.note is not None:
                warn(progress.note)
            name = "" if progress.run is None else progress.run.spec.label
            bar.update(task, completed=progress.done, description=name)

        try:
            return play(runs, output, partial(play_in_processes, workers), show)
        except KeyboardInterrupt:
            pass
    typer.echo(
        f"Interrupted. Kept in {output}: {latest.done - failed:,} of "
        f"{counted(latest.total, 'run')}; the same command goes on from there.",
        err=True,
    )
    raise typer.Exit(INTERRUPTED)


def say(notes: Sequence[str]) -> None:
    """Prints what a user should know before anything is played."""
    for note in notes:
        Console().print(Text(note, "dim"), soft_wrap=True)


def show_results(result: ExperimentResult, baseline: str) -> None:
    """Prints the tables, draws the pictures, and says where everything is.

    Raises:
        typer.Exit: With 1 if runs failed.
    """
    from agents.report.plots import draw_all

    print_results(Console(), result, baseline)
    assert result.output is not None
    written = (*CSVS, RECORD, FAILURES)
    files = [name for name in written if (result.output / name).exists()]
    files += [path.name for path in draw_all(result, result.output)]
    typer.echo(f"Results in {result.output}: {' '.join(files)}")
    if result.failures:
        raise typer.Exit(1)
