"""Playing an experiment in front of someone: progress, tables, pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as ProgressBar

from agents.experiments.experiment import (
    ExperimentError,
    ExperimentResult,
    Progress,
    run_experiment,
)
from agents.experiments.runs import AgentSpec, Scenario

PLOT: Final = "comparison.png"
SWEEP_PLOT: Final = "load_sweep.png"


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
    from agents.report.plots import draw_experiment, draw_load_sweep
    from agents.report.tables import legend, ranking_table

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
