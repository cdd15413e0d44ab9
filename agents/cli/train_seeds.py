"""Several trainings at once, in processes of this machine or on a cluster."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import as_completed
from pathlib import Path

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from agents.experiments.dask_cluster import dask_executor
from agents.experiments.errors import RunError
from agents.experiments.executors import ExecutorError, answer_of
from agents.experiments.processes import do_in_processes
from agents.experiments.training import Training, pack_training, train_parcel
from agents.report.words import counted
from data_tools.cli.console import INTERRUPTED, fail, warn
from edgecloud_gym.files import replacing


def numbered(output: Path, seed: int) -> Path:
    """Returns the file of one of several trainings: ppo-3.npz of ppo.npz."""
    return output.with_name(f"{output.stem}-{seed}{output.suffix}")


def train_all(trainings: Mapping[Path, Training], workers: int, scheduler: str | None) -> None:
    """Trains each into its file; what a file holds of its training already is not repeated.

    Raises:
        typer.Exit: With 1 if a training failed, 130 after Ctrl-C, 2 if a cluster breaks down.
    """
    left = {}
    for path, training in trainings.items():
        kept = training.resumable(path)
        if kept is None or kept[1] < training.amount:
            left[path] = training
    failed = 0
    ended = 0
    console = Console(stderr=True)
    columns = (TextColumn("training"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    bars = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
    try:
        with bars as bar:
            task = bar.add_task(
                "training", total=len(trainings), completed=len(trainings) - len(left)
            )
            for training, error in _trained(left, workers, scheduler):
                ended += 1
                failed += error is not None
                if error is not None:
                    warn(f"{training.title} failed: {error.message}")
                bar.advance(task)
    except ExecutorError as error:
        fail(error, error)
    except KeyboardInterrupt:
        typer.echo(
            f"Interrupted. {ended} of {counted(len(left), 'training')} have ended; the same "
            "command goes on with what the files hold.",
            err=True,
        )
        raise typer.Exit(INTERRUPTED) from None
    done = [path for path in trainings if path.exists()]
    typer.echo(f"{counted(len(done), 'model')}: {' '.join(map(str, done))}")
    if failed:
        raise typer.Exit(1)


def _trained(
    left: Mapping[Path, Training], workers: int, scheduler: str | None
) -> Iterator[tuple[Training, RunError | None]]:
    """Yields each training as it ends, with what went wrong in it."""
    if scheduler is None:
        jobs = ((training, path.absolute()) for path, training in left.items())
        yield from do_in_processes(jobs, min(workers, len(left)))
        return
    with dask_executor(scheduler, workers, warn) as executor:
        futures = {}
        for path, training in left.items():
            parcel, cargo = pack_training(training, path)
            futures[executor.submit(train_parcel, parcel, executor.ship(cargo))] = path
        try:
            for future in as_completed(futures):
                path = futures[future]
                answer = answer_of(future, left[path].title)
                if answer.refused:
                    raise ExecutorError(f"{left[path].title}: {answer.refused}")
                if answer.files is not None:
                    with replacing(path) as temporary:
                        temporary.write_bytes(answer.files["model"])
                yield left[path], answer.error
        finally:
            for future in futures:
                future.cancel()
