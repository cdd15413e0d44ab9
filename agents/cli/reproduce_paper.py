"""``edgecloud reproduce-paper``: the paper's main experiment."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import gymnasium as gym
import typer

from agents.cli.shared.options import (
    DATASET,
    PROCESSORS,
    Dataset,
    DryRun,
    Overwrite,
    Seeds,
    Workers,
)
from agents.cli.shared.playing import make_plan, play_all, read_how, say, take_folder
from agents.cli.shared.reading import find_env
from agents.experiments import paper
from agents.experiments.executors import ExecutorError
from agents.experiments.experiment import prepare
from agents.report.results import PAPER_PLOT, PAPER_TABLE
from data_tools.cli.console import reading_input, reporting
from data_tools.cli.options import path_option
from edgecloud_gym import ENV_IDS


def reproduce_paper(
    context: typer.Context,
    env: Annotated[
        list[str] | None,
        typer.Option(
            help="Simulator, by id or in short; repeat for several. By default all three."
        ),
    ] = None,
    seeds: Seeds = paper.EPOCHS,
    duration: Annotated[
        float, typer.Option(help="How long requests arrive (s); the episode ends then.")
    ] = paper.DURATION,
    arrival_rate: Annotated[
        float, typer.Option(help="Arrival rate (requests/s).")
    ] = paper.ARRIVAL_RATE,
    dataset: Dataset = DATASET,
    output: Annotated[Path, path_option(help="Folder of the results.")] = Path(
        "results/reproduce_paper"
    ),
    overwrite: Overwrite = False,
    workers: Workers = PROCESSORS,
    dry_run: DryRun = False,
) -> None:
    """Play the paper's main experiment: nine schedulers, three simulators, ten epochs of two hours.

    More requests arrive than can be served. Prints the mean JCT of completed requests, as the
    paper's code counts, beside that of all requests, and writes summary.csv, run.json, paper.csv
    and paper.png; the request logs stay in the folder runs, as Parquet. A second call with the same
    output folder repeats no finished run.

    For example:

    edgecloud reproduce-paper --workers 2

    edgecloud reproduce-paper --env static --seeds 3 --duration 3600
    """
    from agents.report.paper import draw_paper, lines_of, paper_table

    with reporting(extra="agents"):
        with (
            reading_input(gym.error.Error, ExecutorError),
            read_how(context, workers, None, None, True) as how,
        ):
            env_ids = [find_env(name) for name in env] if env else list(ENV_IDS)
            for env_id in env_ids:
                if env_id not in paper.EDGES:
                    raise ValueError(f"--env {env_id}: must be among {', '.join(paper.EDGES)}")
            systems = paper.scenarios(
                env_ids, dataset=dataset, arrival_rate=arrival_rate, duration=duration
            )
            runs = prepare(systems, paper.AGENTS, seeds)
            plan = make_plan(runs, output, how)
            if not dry_run:
                take_folder(runs, output, overwrite, how)
        workload = systems[0].make().unwrapped.simulator.workload  # type: ignore[attr-defined]
        load = arrival_rate / workload.capacity
        say([f"{arrival_rate:g} requests/s are a load of {load:.2f} for {env_ids[0]}."])
        say(plan.lines())
        if dry_run:
            return
        result = play_all(runs, output, how, plan, tables=False)
        table = paper_table(result.summary)
        table.to_csv(output / PAPER_TABLE, index=False, float_format="%.6g")
        for line in lines_of(table):
            typer.echo(line)
        draw_paper(table, output / PAPER_PLOT)
        typer.echo(f"\nResults in {output}: summary.csv run.json {PAPER_TABLE} {PAPER_PLOT} runs/")
        for failure in result.failures:
            typer.echo(f"failed: {failure}", err=True)
        if result.failures:
            raise typer.Exit(1)
