"""``edgecloud merge``: the results of an experiment that was played in shards."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from agents.cli.shared.options import BASELINE, Baseline, Columns, split_columns
from agents.cli.shared.playing import show_results
from agents.cli.shared.reading import check_baseline
from agents.experiments.merge import merge as merge_folder
from data_tools.cli.console import reading_input, reporting
from data_tools.cli.options import is_given, read_path


def merge(
    context: typer.Context,
    folder: Annotated[
        Path,
        typer.Argument(
            parser=read_path,
            metavar="FOLDER",
            help="Folder that the shards of `edgecloud compare` or `evaluate` share.",
            show_default=False,
        ),
    ],
    baseline: Baseline = BASELINE,
    columns: Columns = None,
) -> None:
    """Write the results of an experiment that was played in shards.

    They are those of one process, bit for bit. The last shard does the same by itself.

    For example:

    edgecloud merge results/compare

    edgecloud merge results/compare --baseline c2ucb
    """
    with reporting(extra="agents"):
        with reading_input():
            results = merge_folder(folder)
            if is_given(context, "baseline"):
                check_baseline(baseline, [str(a) for a in results.summary["agent"].unique()])
        show_results(
            results,
            folder,
            baseline,
            failed=bool(results.record["failures"]),
            columns=split_columns(columns),
        )
