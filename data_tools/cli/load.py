"""The part of ``edgecloud profile`` that loads a server: what it prints, and the engine model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from data_tools.cli.engine import write_engine
from data_tools.cli.reports import report_loop

if TYPE_CHECKING:
    from data_tools.load.session import ServerUnderLoad


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
        report_loop(path)
    if engine is not None:
        write_engine(asked, loops, engine, settings)
