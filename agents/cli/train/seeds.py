"""Several trainings at once, in processes of this machine or on a cluster."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import as_completed
from pathlib import Path

import numpy as np
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from agents.experiments.executors.dask_cluster import dask_executor
from agents.experiments.executors.executor import ExecutorError, answer_of
from agents.experiments.executors.processes import do_in_processes
from agents.experiments.runs.errors import RunError
from agents.experiments.training.model_file import read_model_file
from agents.experiments.training.parcel import pack_training, train_parcel
from agents.experiments.training.training import Training
from agents.experiments.training.validation import UNIT
from agents.report.words import counted
from data_tools.cli.console import INTERRUPTED, fail, warn
from edgecloud_gym.files import replacing, write_json


def numbered(output: Path, seed: int) -> Path:
    """Returns the file of one of several trainings: ppo-3.npz of ppo.npz."""
    return output.with_name(f"{output.stem}-{seed}{output.suffix}")


def spread_file(output: Path) -> Path:
    """Returns the file that says how far several trainings differ: ppo-seeds.json of ppo.npz."""
    return output.with_name(f"{output.stem}-seeds.json")


def keep_best(trainings: Mapping[Path, Training], output: Path) -> None:
    """Keeps a copy of the best of several trainings, and says how far they differ.

    They are told apart by what validation has chosen each by: a choice among them is one more look
    at the same prompts, so that only others, those of the test split, show how good the best is.

    Args:
        trainings: By their files, which must be there.
        output: Gets the best of them; `spread_file` the score of each.
    """
    scores = {path: float((read_model_file(path).training or {})["score"]) for path in trainings}
    best = min(scores, key=lambda path: scores[path])
    with replacing(output) as temporary:
        temporary.write_bytes(best.read_bytes())
    values = np.array(list(scores.values()))
    spread = float(values.std(ddof=1)) if len(values) > 1 else None
    record = {
        "metric": f"mean JCT on prompts kept aside, as a share of {UNIT}'s",
        "mean": float(values.mean()),
        "std": spread,
        "min": float(values.min()),
        "max": float(values.max()),
        "kept": trainings[best].seed,
        "seeds": {str(trainings[path].seed): score for path, score in scores.items()},
    }
    write_json(spread_file(output), record)
    each = ", ".join(f"{score:.3f} (seed {trainings[p].seed})" for p, score in scores.items())
    deviation = "" if spread is None else f", standard deviation {spread:.3f}"
    typer.echo(
        f"Mean JCT on prompts kept aside, as a share of {UNIT}'s: {each}; mean "
        f"{values.mean():.3f}, {values.min():.3f} to {values.max():.3f}{deviation}."
    )
    typer.echo(f"The best, of seed {trainings[best].seed}, is kept as {output}")


def train_all(
    trainings: Mapping[Path, Training], workers: int, scheduler: str | None, output: Path
) -> None:
    """Trains each into its file; what a file holds of its training already is not repeated.

    Args:
        trainings: By their files.
        workers: How many at a time.
        scheduler: A Dask cluster; None for processes of this machine.
        output: Gets a copy of the best, where there is a validation to tell by; see `keep_best`.

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
    judged = {path: trainings[path] for path in done if trainings[path].validation is not None}
    if judged:
        keep_best(judged, output)
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
