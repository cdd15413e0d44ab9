"""``edgecloud describe``: what a dataset or a workload trace holds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from data_tools.cli.console import reading_input, reporting
from data_tools.cli.options import SkipMalformed, on_error, path_option


def describe(
    source: Annotated[
        str,
        typer.Argument(
            help="A bundled dataset's name, a dataset (.jsonl, .parquet, .csv or a folder), or a "
            "workload trace (Azure, BurstGPT, Mooncake, Bailian; .csv or .jsonl). Packed files "
            "(.gz, .bz2, .xz, .zip) are read as well."
        ),
    ],
    png: Annotated[
        Path | None, path_option(help="Picture to write; by default NAME.png in this directory.")
    ] = None,
    no_png: Annotated[bool, typer.Option("--no-png", help="Draw no picture.")] = False,
    unit: Annotated[
        Literal["s", "ms", "us", "ns"] | None,
        typer.Option(help="Unit of a trace's times; by default that of its format."),
    ] = None,
    skip_malformed: SkipMalformed = False,
) -> None:
    """Show what a dataset or a workload trace holds.

    Prints counts, rates, burstiness and percentiles of tokens and times, and
    draws their distributions, with the slowdown curve of a dataset or the
    arrival rate of a trace. For example:

    edgecloud describe smollm2-135m --no-png

    edgecloud describe AzureLLMInferenceTrace_conv.csv --png azure.png
    """
    with reporting("No picture was written or changed."):
        with reading_input():
            if png is not None and no_png:
                raise ValueError("--png and --no-png exclude each other")
            from rich.console import Console

            from data_tools.describing.describe import check_source, tables
            from data_tools.describing.describe import describe as describe_source
            from edgecloud_gym.files import check_writable

            picture = None if no_png else png or Path(f"{_name(source)}.png")
            check_source(source, unit, on_error(skip_malformed))
            if picture is not None:
                check_writable(picture)
        description = describe_source(source, on_error=on_error(skip_malformed), unit=unit)
        console = Console()
        for table in tables(description):
            console.print(table)
        if picture is not None:
            from data_tools.describing.figure import save_figure

            save_figure(description, picture)
            typer.echo(f"Picture: {picture}")


def _name(source: str) -> str:
    """Returns what to call a picture: a file's name without suffixes, else the last part."""
    from edgecloud_gym.dataset.tables import table_name

    path = Path(source)
    return table_name(path) if path.is_file() else path.resolve().name
