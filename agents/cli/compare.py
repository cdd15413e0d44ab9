"""``edgecloud compare``: agents side by side on the same request streams."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console

from agents.cli.options import (
    PROCESSORS,
    ArrivalRate,
    Baseline,
    Dataset,
    Duration,
    Loads,
    Settings,
    Workers,
    check_embeddings,
    dataset_notes,
    make_scenarios,
    read_agents,
    read_settings,
    refusing_bad_input,
)
from agents.cli.playing import play_all, show_results
from agents.registry import AGENT_NAMES, check_agent_names
from edgecloud_gym import ENV_IDS
from edgecloud_gym.config import SystemConfig
from edgecloud_gym.dataset import load_dataset

HEURISTICS: Final = "fcfs,random,round-robin,least-connections,historical-lrt,sjf-oracle"
LEARNERS: Final = "c2ucb,cn-ducb"


def compare(
    env: Annotated[
        list[str] | None, typer.Option(help="Environment id; repeat for several. All by default.")
    ] = None,
    agents: Annotated[
        str | None,
        typer.Option(
            help=f"Comma-separated, of: {' '.join(AGENT_NAMES)}. Settings follow after colons: "
            "cn-greedy:epsilon=0.2, sb3:path=model.zip.",
            show_default=f"{HEURISTICS},{LEARNERS}",
        ),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Episodes per agent: seeds 0, 1, ...")] = 5,
    load: Loads = None,
    arrival_rate: ArrivalRate = None,
    duration: Duration = 300.0,
    dataset: Dataset = str(SystemConfig.dataset),
    settings: Settings = None,
    baseline: Baseline = "fcfs",
    output: Annotated[Path, typer.Option(help="Folder of the results.")] = Path("results/compare"),
    workers: Workers = PROCESSORS,
) -> None:
    """Compare agents on the same request streams.

    Prints one table per environment and writes summary.csv, timeseries.csv, requests.csv, run.json
    and comparison.png. A second call with the same output folder repeats no finished run.
    """
    console = Console()
    with refusing_bad_input(console):
        data = load_dataset(dataset)
        learnable = data.embeddings is not None
        specs = read_agents(agents or (f"{HEURISTICS},{LEARNERS}" if learnable else HEURISTICS))
        check_embeddings(specs, data)
        check_agent_names([baseline])
        common: dict[str, Any] = {"dataset": dataset, "duration": duration}
        if arrival_rate is not None:
            common["arrival_rate"] = arrival_rate
        scenarios = make_scenarios(
            env or ENV_IDS, load, {**common, **read_settings(settings)}, data
        )
    for note in dataset_notes(scenarios, data):
        console.print(note, style="dim")
    result = play_all(console, scenarios, specs, seeds, output, workers)
    show_results(console, result, baseline)
    if result.failures:
        raise typer.Exit(1)
