"""``edgecloud compare``: agents side by side on the same request streams."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as ProgressBar

from agents.experiment import ExperimentError, ExperimentResult, Progress, run_experiment
from agents.options import (
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
from agents.registry import AGENT_NAMES, check_agent_names
from agents.runs import AgentSpec, Scenario
from edgecloud_gym import ENV_IDS
from edgecloud_gym.config import SystemConfig
from edgecloud_gym.dataset import load_dataset

HEURISTICS: Final = "fcfs,random,round-robin,least-connections,historical-lrt,sjf-oracle"
LEARNERS: Final = "c2ucb,cn-ducb"
PLOT: Final = "comparison.png"
SWEEP_PLOT: Final = "load_sweep.png"


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


def play_all(
    console: Console,
    scenarios: list[Scenario],
    specs: list[AgentSpec],
    seeds: int,
    output: Path,
    workers: int,
) -> ExperimentResult:
    """Runs an experiment under a progress bar; prints what failed.

    Raises:
        typer.Exit: With 2 if an agent or a scenario repeats, with 130 after Ctrl-C.
    """
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    done = Progress(0, 0)
    with ProgressBar(*columns, console=console, transient=True) as bar:
        task = bar.add_task("starting", total=None)

        def show(progress: Progress) -> None:
            nonlocal done
            done = progress
            latest = "" if progress.run is None else progress.run.spec.label
            bar.update(
                task, completed=progress.done, total=progress.total, description=f"{latest:18}"
            )

        try:
            return run_experiment(
                scenarios, specs, seeds, output_dir=output, workers=workers, progress=show
            )
        except ExperimentError as error:
            console.print(f"[bold red]error:[/] {error}", highlight=False)
            return error.result
        except (OSError, ValueError) as error:  # of no run: a name repeats, the disk is full
            console.print(f"[bold red]error:[/] {error}", highlight=False)
            raise typer.Exit(2) from error
        except KeyboardInterrupt:
            console.print(
                f"Interrupted. {done.done} of {done.total} runs are kept in {output}; "
                "the same command goes on from there.",
                soft_wrap=True,
            )
            raise typer.Exit(130) from None


def show_results(console: Console, result: ExperimentResult, baseline: str) -> None:
    """Prints a table per scenario, and draws the pictures."""
    from agents.plots import draw_experiment, draw_load_sweep
    from agents.tables import legend, ranking_table

    if not result.runs:
        return
    for label, rows in result.summary.groupby("env", sort=False):
        seeds = rows["seed"].nunique()
        requests = rows["arrived"].mean()
        console.print(f"\n[bold]{label}[/]  {seeds} seeds, {requests:,.0f} requests each")
        console.print(ranking_table(rows, baseline))
    draw_experiment(result, result.output / PLOT)
    pictures = PLOT
    if len({run.scenario.settings.get("load") for run in result.runs}) > 1:
        draw_load_sweep(result, result.output / SWEEP_PLOT)
        pictures += f" {SWEEP_PLOT}"
    console.print(legend(result.summary), style="dim", highlight=False)
    console.print(
        f"Results in {result.output}: summary.csv timeseries.csv requests.csv run.json {pictures}",
        highlight=False,
        soft_wrap=True,
    )
