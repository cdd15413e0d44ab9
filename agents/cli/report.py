"""``edgecloud report``: a results folder as one self-contained page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from agents.report.html import render
from agents.report.markdown import render_markdown
from agents.report.results import read_results
from edgecloud_gym.files import replacing


def report(
    folder: Annotated[Path, typer.Argument(help="Results of `edgecloud compare`.")],
    output: Annotated[
        Path | None,
        typer.Option(help="The page, .html or .md; report.html in the folder by default."),
    ] = None,
    baseline: Annotated[str, typer.Option(help="Whom the tables compare with.")] = "fcfs",
) -> None:
    """Make one self-contained page of a results folder.

    In HTML it holds the tables, the pictures and the configuration, and needs no other file; in
    Markdown, the tables alone.
    """
    path = output or folder / "report.html"
    if path.suffix not in (".html", ".md"):
        typer.secho(f"error: --output {path}: must end in .html or .md", err=True)
        raise typer.Exit(2)
    try:
        results = read_results(folder)
        page = (
            render(results, baseline)
            if path.suffix == ".html"
            else render_markdown(results.summary, results.sweeps, results.requests, baseline)
        )
    except (OSError, ValueError, KeyError) as error:
        typer.secho(f"error: {folder} is not a finished results folder: {error}", err=True)
        raise typer.Exit(2) from error
    with replacing(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    typer.echo(f"Wrote {path}")
