"""Playing an experiment in front of someone: a plan, progress, tables, pictures."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column
from rich.text import Text

from agents.experiments.estimate import Estimate, estimate
from agents.experiments.executors import ExecutorError
from agents.experiments.executors.dask_cluster import LOCAL, dask_player
from agents.experiments.executors.workers import Player, play_in_processes
from agents.experiments.play import ExperimentProgress, play
from agents.experiments.results.folder import OtherExperimentError, claim
from agents.experiments.results.result import ExperimentResult
from agents.experiments.runs.definition import as_record
from agents.experiments.runs.run import Run
from agents.experiments.runs.store import RunStore
from agents.experiments.shard import Shard
from agents.report.metric_tables import check_columns
from agents.report.results import CSVS, FAILURES, RECORD, Results
from agents.report.terminal import print_results
from agents.report.words import counted
from data_tools.cli.console import INTERRUPTED, fail, warn
from data_tools.cli.options import is_given


@dataclass(frozen=True)
class How:
    """How the runs of an experiment are to be played.

    Attributes:
        player: Who plays.
        processes: How many runs at a time.
        shard: Which part is played here.
        retry_failed: Whether to play again what has failed.
    """

    player: Player
    processes: int
    shard: Shard | None
    retry_failed: bool


@contextmanager
def read_how(
    context: typer.Context,
    workers: int,
    scheduler: str | None,
    shard: str | None,
    retry_failed: bool,
) -> Iterator[How]:
    """Yields what the options say of how to play.

    Raises:
        ExecutorError: If a cluster cannot be used.
        ValueError: If options are wrong or contradict each other.
    """
    part = None if shard is None else Shard.parse(shard)
    if scheduler is None:
        yield How(partial(play_in_processes, workers), workers, part, retry_failed)
        return
    if part is not None:
        raise ValueError(f"--scheduler {scheduler} and --shard {shard}: give one of them")
    check_workers(context, workers, scheduler)
    with dask_player(scheduler, workers, warn) as (player, count):
        yield How(player, count, part, retry_failed)


def check_workers(context: typer.Context, workers: int, scheduler: str) -> None:
    """Raises ``ValueError`` if a number of workers is given for a cluster, which has its own."""
    if scheduler != LOCAL and is_given(context, "workers"):
        raise ValueError(f"--workers {workers}: the workers are those of --scheduler {scheduler}")


def take_folder(runs: Sequence[Run], output: Path, overwrite: bool, how: How) -> None:
    """Sees that the folder is to be had.

    Raises:
        OSError: If nothing can be written to the folder.
        ValueError: If the folder holds another experiment.
    """
    try:
        claim(output, as_record(runs), overwrite=overwrite, together=how.shard is not None)
    except OtherExperimentError as error:
        hint = "Name another folder with --output, or clear this one with --overwrite"
        raise ValueError(f"{error.problem}. {hint}") from error


@dataclass(frozen=True)
class Plan:
    """What is to be played, and what it will take.

    Attributes:
        runs: Of this process, finished ones included.
        left: Those that are still to be played.
        estimate: What these take.
        processes: How many play at a time.
        free: Bytes of the disk that are free.
    """

    runs: Sequence[Run]
    left: Sequence[Run]
    estimate: Estimate
    processes: int
    free: int

    def lines(self) -> list[str]:
        """Returns what a user should know before it begins."""
        finished = len(self.runs) - len(self.left)
        what = counted(len(self.runs), "run") + (f", {finished:,} of them done" if finished else "")
        if not self.left:
            return [f"{what}: nothing is left to play."]
        of_each = " each" if self.processes > 1 else ""
        memory = f" of {_size(self.estimate.memory)}{of_each}" if self.estimate.memory else ""
        lines = [
            f"{what}: about {_duration(self.estimate.seconds)} on "
            f"{counted(self.processes, 'process')}{memory}, {_size(self.estimate.disk)} of disk."
        ]
        if self.estimate.disk > self.free:
            lines.append(f"Only {_size(self.free)} are free there.")
        return lines


def make_plan(runs: Sequence[Run], output: Path, how: How) -> Plan:
    """Tries each agent in each scenario for a moment.

    Raises:
        TypeError: If an agent does not fit its environment.
        ValueError: Likewise.
    """
    store = RunStore(output)
    mine = runs if how.shard is None else how.shard.of(runs)
    left = [run for run in mine if not store.is_done(run.digest)]
    if not how.retry_failed:
        left = [run for run in left if store.failure(run.digest) is None]
    there = next(path for path in (output, *output.absolute().parents) if path.exists())
    free = shutil.disk_usage(there).free
    return Plan(mine, left, estimate(left, how.processes), how.processes, free)


def play_all(
    runs: Sequence[Run], output: Path, how: How, plan: Plan, *, tables: bool = True
) -> ExperimentResult:
    """Plays an experiment under a progress bar.

    Args:
        runs: The experiment.
        output: Its folder.
        how: How to play.
        plan: What is left.
        tables: Whether to write all requests and states into tables, too.

    Raises:
        typer.Exit: With 130 after Ctrl-C, with 2 if a cluster breaks down.
    """
    columns = (
        TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True, width=18)),
        BarColumn(bar_width=24),
        TextColumn("{task.fields[count]}"),
        TimeRemainingColumn(),
    )
    costs = plan.estimate.costs
    console = Console(stderr=True)
    quiet = not console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=quiet) as bar:
        # Measured in the time that runs take, not in their number: some agents take a hundred
        # times as long as others.
        task = bar.add_task("starting", total=sum(c.seconds for c in costs.values()), count="")

        def show(progress: ExperimentProgress) -> None:
            if progress.note is not None:
                warn(progress.note)
            run = progress.run
            seconds = costs[run.digest].seconds if run is not None and run.digest in costs else 0.0
            name = "" if run is None else run.spec.label
            count = f"{progress.done}/{progress.total}"
            bar.update(task, advance=seconds, description=name, count=count)

        try:
            return play(
                runs,
                output,
                how.player,
                show,
                shard=how.shard,
                retry_failed=how.retry_failed,
                tables=tables,
            )
        except ExecutorError as error:
            fail(error, error)
        except KeyboardInterrupt:
            pass
    store = RunStore(output)  # a worker may have finished a run that it could not report any more
    kept = sum(store.is_done(run.digest) for run in plan.runs)
    typer.echo(
        f"Interrupted. {kept} of {counted(len(plan.runs), 'run')} are kept in {output}; "
        "the same command goes on from there.",
        err=True,
    )
    raise typer.Exit(INTERRUPTED)


def say(notes: Sequence[str]) -> None:
    """Prints what a user should know before anything is played."""
    for note in notes:
        Console().print(Text(note, "dim"), soft_wrap=True)


def conclude(
    result: ExperimentResult, baseline: str, how: How, columns: Sequence[str] = ()
) -> None:
    """Shows the results, or says what they still wait for.

    Raises:
        typer.Exit: With 1 if runs failed.
    """
    assert result.output is not None
    if result.missing:
        typer.echo(
            f"Shard {how.shard} is done; {counted(result.missing, 'run')} of other shards are "
            "still to be played. The last shard writes the results, as does "
            f"`edgecloud merge {result.output}`."
        )
        if result.failures:
            raise typer.Exit(1)
        return
    show_results(result, result.output, baseline, failed=bool(result.failures), columns=columns)


def show_results(
    results: Results, output: Path, baseline: str, *, failed: bool, columns: Sequence[str] = ()
) -> None:
    """Prints the tables, draws the pictures, and says where everything is.

    Raises:
        typer.Exit: With 1 if runs failed.
    """
    from agents.report.plots import draw_all

    try:
        check_columns(columns, results.summary)
    except ValueError as error:
        warn(error)  # the results are there all the same
        columns = ()
    print_results(Console(), results, baseline, columns)
    files = [name for name in (*CSVS, RECORD, FAILURES) if (output / name).exists()]
    files += [path.name for path in draw_all(results, output)]
    typer.echo(f"Results in {output}: {' '.join(files)}")
    if failed:
        raise typer.Exit(1)


def _duration(seconds: float) -> str:
    """Returns a time in the unit that people would use."""
    if seconds < 90:
        return f"{max(seconds, 1):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _size(count: int) -> str:
    """Returns a number of bytes in the unit that people would use."""
    return f"{max(count / 1e6, 1):,.0f} MB" if count < 1e9 else f"{count / 1e9:,.1f} GB"
