"""The options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

from data_tools.cli.options import path_option
from edgecloud_gym.arrivals import read_trace
from edgecloud_gym.config import SystemConfig
from edgecloud_gym.processors import available_processors

PROCESSORS: Final = available_processors()
DATASET: Final = str(SystemConfig.dataset)
DURATION: Final = 300.0
BASELINE: Final = "fcfs"
MOST_SEEDS: Final = 100_000  # each of which is a run per agent, with files of its own

Loads = Annotated[
    list[float] | None,
    typer.Option(
        "--load", help="Arrival rate as a fraction of capacity; repeat for a sweep. 0.9 by default."
    ),
]
ArrivalRate = Annotated[
    float | None, typer.Option(help="Arrival rate (requests/s), instead of a load.")
]
Duration = Annotated[float, typer.Option(help="How long requests arrive (s).")]
Dataset = Annotated[str, typer.Option(help="Bundled name, or path to JSONL or Parquet.")]
TraceFile = Annotated[
    Path | None,
    path_option(
        "--trace",
        help="Workload trace whose arrivals and answer lengths are replayed.",
        show_default=False,
    ),
]
Azure = Annotated[
    Path | None,
    path_option(
        "--azure",
        help="Azure's trace of conversations of 2023, for the scenarios that replay it.",
        show_default=False,
    ),
]
Environment = Annotated[
    str | None,
    typer.Option(
        "--env",
        help="Environment, by id or in short; of a file of nodes it is known.",
        show_default=False,
    ),
]
Nodes = Annotated[
    Path | None,
    path_option(
        "--nodes",
        help="File of a cluster's nodes, .yaml or .json; plays EdgeCloud-Cluster-v0.",
        show_default=False,
    ),
]
RateScale = Annotated[float, typer.Option(help="How many times as fast the trace is replayed.")]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Any other environment setting, see `edgecloud settings`; repeat for several.",
    ),
]
Baseline = Annotated[str, typer.Option(help="Baseline agent of the comparisons.")]
Seeds = Annotated[
    int,
    typer.Option(min=1, max=MOST_SEEDS, metavar="N", help="Episodes per agent: seeds 0, 1, ..."),
]
Workers = Annotated[int, typer.Option(min=1, metavar="N", help="Processes that play.")]
Columns = Annotated[
    list[str] | None,
    typer.Option(
        "--columns",
        metavar="METRIC",
        help="Metric of summary.csv to show in a table of its own, such as ttft_p99; repeat for "
        "several, or separate them by commas.",
    ),
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Clear the folder if it holds another experiment.")
]
Scheduler = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS",
        help="Dask scheduler whose workers play, tcp://host:port, or local to start one here.",
    ),
]
ShardOption = Annotated[
    str | None,
    typer.Option(
        "--shard",
        metavar="I/N",
        help="Play the I-th of N parts only, into a folder that all parts share.",
    ),
]
RetryFailed = Annotated[
    bool, typer.Option("--retry-failed", help="Play runs again that failed in an earlier call.")
]
Learn = Annotated[
    bool | None,
    typer.Option(
        "--learn/--no-learn",
        help="Whether all agents may learn while they play. By default those that are named may, "
        "and the models of files may not.",
        show_default=False,
    ),
]
Trust = Annotated[
    bool,
    typer.Option(
        "--trust",
        help="Load files of Stable-Baselines3, too: they hold pickled objects, and to read one "
        "runs whatever code is in it.",
    ),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Only tell what is to be played and what it will take.")
]


def suite_traces(azure: Path | None) -> dict[str, Path]:
    """Returns the workload traces that the suite's scenarios may replay, by the option's name.

    Raises:
        OSError: If a file cannot be read.
        ValueError: If it is no trace.
    """
    if azure is None:
        return {}
    read_trace(azure)  # before anything is played or learnt for it
    return {"azure": azure}


def split_columns(columns: list[str] | None) -> list[str]:
    """Returns the metrics that --columns names."""
    names = [name.strip() for text in columns or [] for name in text.split(",")]
    return [name for name in dict.fromkeys(names) if name]
