"""The part of ``edgecloud profile`` that loads a server: what it prints, and the engine model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from data_tools.cli.console import fail, warn
from edgecloud_gym.checks import parse_number
from edgecloud_gym.files import UnreadableFileError, check_writable

if TYPE_CHECKING:
    from data_tools.calibration.logs import Log
    from data_tools.calibration.sweep import MeasuredSteps
    from data_tools.load.session import ServerUnderLoad


def whole_numbers(name: str, text: str | None, *, least: int = 1) -> tuple[int, ...]:
    """Returns the numbers of a list such as 1,2,4; none for None.

    Raises:
        ValueError: If it is no list of ``least`` or more different whole numbers from 1.
    """
    if text is None:
        return ()
    try:
        numbers = [parse_number(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    found = tuple(int(number) for number in numbers if number.is_integer())
    if len(found) < len(numbers) or len(set(found)) < least or min(found, default=0) < 1:
        some = "one number or more" if least == 1 else "two or more sizes"
        raise ValueError(f"{name}={text!r}: must be {some} such as 1,2,4,8")
    return found


def check_engine(
    engine: Path | None, asked: Sequence[ServerUnderLoad], sequences: int | None
) -> None:
    """Checks that an engine model can be made and written, before anything is measured.

    Raises:
        ValueError, OSError: If not.
    """
    if engine is None:
        return
    if engine.suffix != ".json":
        raise ValueError(f"--engine={engine}: must end in .json")
    if len(asked) > 1:
        raise ValueError("--engine is of one model, and --model names several")
    if not asked[0].concurrencies and sequences is None:
        raise ValueError(
            "--engine without --concurrency is fitted to the open loops, which do not tell how "
            "many sequences the server runs at a time: give --sequences"
        )
    check_writable(engine)


def measure(asked: ServerUnderLoad, engine: Path | None, settings: dict[str, Any]) -> None:
    """Measures a server under load, prints what came of it and writes the engine model.

    Args:
        asked: What is to be measured.
        engine: Engine model to write, if any.
        settings: The server's settings, by the names of `EngineModel`; None where not given.
    """
    from data_tools.load.session import measure_server

    loops = measure_server(asked)
    if asked.concurrencies:
        typer.echo(f"Sweep: {asked.sweep_path}")
    for path in loops:
        _report_loop(path)
    if engine is not None:
        _write_engine(asked, loops, engine, settings)


def _report_loop(path: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    from data_tools.load.measuring import read_records
    from data_tools.load.summary import summarise

    found = summarise(read_records(path))
    statuses = ", ".join(f"{count} {status}" for status, count in found.statuses.items())
    table = Table(title=f"{path}: {found.planned} requests at {found.rate:.3g}/s ({statuses})")
    for head in ("s", "mean", "p50", "p99"):
        table.add_column(head, justify="left" if head == "s" else "right")
    for name, times in (
        ("until the last token", found.e2e),
        ("until the first", found.ttft),
        ("per further token", found.tpot),
    ):
        table.add_row(name, *(f"{time:.4g}" for time in times))
    middle, high, most = found.lateness
    table.add_row("sent late by (p50, p99, most)", *(f"{t:.2g}" for t in (middle, high, most)))
    console = Console()
    console.print(table)
    for note in found.notes():
        console.print(f"- {note}", markup=False, highlight=False)


def _write_engine(
    asked: ServerUnderLoad, loops: Sequence[Path], engine: Path, settings: dict[str, Any]
) -> None:
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
