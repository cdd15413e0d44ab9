"""What ``edgecloud profile`` says of the files that it wrote."""

from __future__ import annotations

from pathlib import Path

import typer

from edgecloud_gym.dataset.rows import ERROR, request_failed


def report_rows(path: Path) -> None:
    """Says how many rows a file has, and why the first failed."""
    from data_tools.profiling.run_file import read_rows

    rows = read_rows(path)
    failed = [row for row in rows if request_failed(row)]
    typer.echo(f"{path}: {len(rows)} rows, {len(failed)} of them failed")
    if failed:
        typer.echo(f"  the first failure: {failed[0][ERROR]}")


def report_limits(path: Path) -> None:
    """Says what limited the latest session's decoding, if it is known."""
    from data_tools.machine import Limits
    from data_tools.profiling.run_file import RunMetadata, metadata_path

    limits = RunMetadata.read(metadata_path(path)).sessions[-1].get("limits")
    if limits is not None:
        typer.echo(f"  {Limits.from_json(limits).verdict()}")


def report_loop(path: Path) -> None:
    """Prints the figures of an open loop, and what a reader of them must know."""
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
