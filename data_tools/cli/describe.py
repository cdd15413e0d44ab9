"""``edgecloud describe``: what a dataset or a workload trace holds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from data_tools.cli.console import reading_input, reporting


def describe(
    source: Annotated[
        str,
        typer.Argument(
            help="A bundled dataset's name, a dataset (.jsonl, .parquet), or a workload trace "
            "(Azure or BurstGPT .csv, Mooncake .jsonl; .gz as well)."
        ),
    ],
    png: Annotated[
        Path | None, typer.Option(help="Picture to write; by default NAME.png in this directory.")
    ] = None,
    no_png: Annotated[bool, typer.Option("--no-png", help="Draw no picture.")] = False,
    skip_malformed: Annotated[
        bool, typer.Option("--skip-malformed", help="Leave malformed rows out.")
    ] = False,
) -> None:
    """Show what a dataset or a workload trace holds.

    Prints counts, rates, burstiness and percentiles of tokens and times, and
    draws their distributions, with the slowdown curve of a dataset or the
    arrival rate of a trace.
    """
    with reporting("No picture was written or changed."), reading_input():
        if png is not None and no_png:
            raise ValueError("--png and --no-png exclude each other")

        from rich.console import Console

        from data_tools.describing.describe import describe as describe_source
        from data_tools.describing.describe import tables

        description = describe_source(source, on_error="skip" if skip_malformed else "raise")
        console = Console()
        for table in tables(description):
            console.print(table)
        if not no_png:
            from data_tools.describing.figure import save_figure

            path = png or Path(f"{description.name.removesuffix('.gz').rsplit('.', 1)[0]}.png")
            save_figure(description, path)
            typer.echo(f"Picture: {path}")
