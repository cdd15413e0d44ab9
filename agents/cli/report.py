"""``edgecloud report``: a results folder as one self-contained page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from agents.cli.shared.options import BASELINE, Baseline, Columns, split_columns
from agents.cli.shared.reading import check_baseline
from agents.report.html import render
from agents.report.markdown import render_markdown
from agents.report.metric_tables import check_columns
from agents.report.results import read_results
from data_tools.cli.console import reading_input, reporting
from data_tools.cli.options import is_given, path_option, read_path
from edgecloud_gym.files import check_writable, replacing


def report(
    context: typer.Context,
    folder: Annotated[
        Path,
        typer.Argument(
            parser=read_path,
            metavar="FOLDER",
            help="Results of `edgecloud compare` or `evaluate`.",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path | None,
        path_option(help="Page, .html or .md; by default report.html in the folder."),
    ] = None,
    baseline: Baseline = BASELINE,
    columns: Columns = None,
) -> None:
    """Make one self-contained page of a results folder.

    In HTML it holds the tables, the pictures and the configuration, and needs no other file; in
    Markdown, the tables alone.

    For example:

    edgecloud report results/compare

    edgecloud report results/compare --output results.md --baseline c2ucb
    """
    path = output or folder / "report.html"
    with reporting(extra="agents"):
        with reading_input():
            if path.suffix not in (".html", ".md"):
                raise ValueError(f"--output {path}: must end in .html or .md")
            results = read_results(folder)
            if is_given(context, "baseline"):
                check_baseline(baseline, [str(a) for a in results.summary["agent"].unique()])
            more = split_columns(columns)
            check_columns(more, results.summary)
            check_writable(path)
        page = (
            render(results, baseline, more)
            if path.suffix == ".html"
            else render_markdown(results, baseline, more)
        )
        with replacing(path) as temporary:
            temporary.write_text(page, encoding="utf-8")
        typer.echo(f"Wrote {path}")
