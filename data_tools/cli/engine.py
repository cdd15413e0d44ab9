"""Engine models that ``edgecloud profile`` writes, of servers and of local models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from data_tools.cli.console import fail, warn
from edgecloud_gym.files import UnreadableFileError, check_writable

if TYPE_CHECKING:
    from data_tools.calibration.logs import Log
    from data_tools.calibration.sweep import MeasuredSteps
    from data_tools.load.session import ServerUnderLoad


def check_engine(
    engine: Path | None, asked: Sequence[ServerUnderLoad], sequences: int | None
) -> None:
    """Checks that an engine model can be made and written, before anything is measured.

    Raises:
        ValueError, OSError: If not.
    """
    if engine is None:
        return
    _check_file(engine, len(asked))
    if not asked[0].concurrencies and sequences is None:
        raise ValueError(
            "--engine without --concurrency is fitted to the open loops, which do not tell how "
            "many sequences the server runs at a time: give --sequences"
        )


def check_local_engine(
    engine: Path | None, models: Mapping[str, str], batch_sizes: Sequence[int]
) -> None:
    """Checks that an engine model of a local model can be made and written.

    Raises:
        ValueError, OSError: If not.
    """
    if engine is None:
        return
    _check_file(engine, len(models))
    if not batch_sizes:
        raise ValueError("--engine of a local model needs --batch-sizes, such as 1,2,4,8,16")


def _check_file(engine: Path, models: int) -> None:
    if engine.suffix != ".json":
        raise ValueError(f"--engine={engine}: must end in .json")
    if models > 1:
        raise ValueError("--engine is of one model, and --model names several")
    check_writable(engine)


def write_local_engine(rows: Path, engine: Path, settings: dict[str, Any]) -> None:
    """Writes the engine model that a local model's steps make, and prints it.

    Args:
        rows: The file of the model's answers; its sweep lies beside it.
        engine: The file to write.
        settings: The server's settings, by the names of `EngineModel`; None where not given.
    """
    from data_tools.calibration import read_steps
    from data_tools.calibration.sweep_file import SweepFile
    from data_tools.profiling.local_sweep import sweep_path

    path = sweep_path(rows)
    steps = read_steps(path)
    about = SweepFile.read(path).configuration
    model = steps.engine(
        name=engine.stem,
        served_model=str(about.get("source", "")),
        hardware=str(about.get("hardware", "")),
        source="edgecloud profile: steps of a local model; no server, no load tests it",
        **settings,
    )
    _show_steps(steps)
    model.save(engine)
    typer.echo(f"Engine model: {engine}")


def write_engine(
    asked: ServerUnderLoad, loops: Sequence[Path], engine: Path, settings: dict[str, Any]
) -> None:
    """Writes the engine model that a sweep and open loops tell, and prints it."""
    from data_tools.calibration import calibrate, read_steps
    from data_tools.cli.calibrate import show

    steps = read_steps(asked.sweep_path) if asked.concurrencies else None
    about: dict[str, Any] = {"served_model": asked.model, "hardware": asked.endpoint}
    logs = _usable(loops)
    if logs:
        result = calibrate(
            logs,
            name=engine.stem,
            sweep=steps,
            **about,
            **settings,
        )
        show(result)
        result.model.save(engine)
    elif steps is None:
        fail("no open loop has a log that an engine could be fitted to")
    else:
        model = steps.engine(
            name=engine.stem,
            source="edgecloud profile, a sweep; no load tests it",
            **about,
            **settings,
        )
        _show_steps(steps)
        model.save(engine)
    typer.echo(f"Engine model: {engine}")


def _usable(loops: Sequence[Path]) -> list[Log]:
    """Returns the logs of open loops, with a warning for each that tells too little."""
    from data_tools.calibration import read_log

    found = []
    for path in loops:
        try:
            found.append(read_log(path))
        except UnreadableFileError as error:
            warn(f"the engine model is not tested by this loop: {error}")
    return found


def _show_steps(steps: MeasuredSteps) -> None:
    for tokens, seconds in steps.step_times:
        typer.echo(f"step of {tokens:g} tokens: {1000 * seconds:.4g} ms")
    if steps.context_time > 0:
        typer.echo(f"context_time: {1e6 * steps.context_time:.4g} µs a cached token")
    if steps.prefill_overhead > 0:
        typer.echo(f"prefill_overhead: {1000 * steps.prefill_overhead:.4g} ms")
    for note in steps.notes:
        typer.echo(f"- {note}")
