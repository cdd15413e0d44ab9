"""``edgecloud compare``: agents side by side on the same request streams."""

from __future__ import annotations

import ast
import os
from pathlib import Path
from typing import Annotated, Any, Final

import gymnasium as gym
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as ProgressBar

from agents.experiment import ExperimentError, ExperimentResult, Progress, run_experiment
from agents.registry import AGENT_NAMES, BANDITS, check_agent_names
from agents.runs import Scenario
from edgecloud_gym import ENV_IDS
from edgecloud_gym.config import SystemConfig, settable
from edgecloud_gym.dataset import RequestDataset, load_dataset

DEFAULT_AGENTS: Final = "fcfs,random,round-robin,least-connections,historical-lrt,sjf-oracle"
PLOT: Final = "comparison.png"
_LEGEND: Final = """\
JCT: mean job completion time over the seeds, with its 95 % bootstrap interval.
vs: difference paired seed by seed. beats: the agents whom this one is faster
than by a paired interval that excludes 0."""
_CENSORED_LEGEND: Final = "Unfinished requests count with their age: JCT and p95 are lower bounds."


def compare(
    env: Annotated[
        list[str] | None, typer.Option(help="Environment id; repeat for several. All by default.")
    ] = None,
    agents: Annotated[
        str, typer.Option(help=f"Comma-separated, of: {' '.join(AGENT_NAMES)}.")
    ] = DEFAULT_AGENTS,
    seeds: Annotated[int, typer.Option(min=1, help="Episodes per agent: seeds 0, 1, ...")] = 5,
    load: Annotated[
        list[float] | None,
        typer.Option(help="Arrival rate as a fraction of capacity; repeat for a sweep."),
    ] = None,
    arrival_rate: Annotated[
        float | None, typer.Option(help="Arrival rate in requests/s, instead of a load.")
    ] = None,
    duration: Annotated[float, typer.Option(help="How long requests arrive (s).")] = 300.0,
    dataset: Annotated[str, typer.Option(help="Bundled name, or path to JSONL or Parquet.")] = str(
        SystemConfig.dataset
    ),
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Any other environment setting."),
    ] = None,
    baseline: Annotated[str, typer.Option(help="Whom the table compares with.")] = "fcfs",
    output: Annotated[Path, typer.Option(help="Folder of the results.")] = Path("results/compare"),
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = os.cpu_count() or 1,
) -> None:
    """Compare agents on the same request streams.

    Prints one table per environment and writes summary.csv, timeseries.csv, requests.csv, run.json
    and comparison.png. A second call with the same output folder repeats no finished run.
    """
    console = Console()
    names = [name.strip() for name in agents.split(",") if name.strip()]
    try:
        check_agent_names([*names, baseline])
        data = load_dataset(dataset)
        common: dict[str, Any] = {"dataset": dataset, "duration": duration}
        if arrival_rate is not None:
            common["arrival_rate"] = arrival_rate
        extra = dict(_parsed(item) for item in settings or [])
        scenarios = _scenarios(
            env or list(ENV_IDS), [*load] if load else [None], {**common, **extra}, data
        )
        _check_embeddings(names, data)
        for scenario in scenarios:
            scenario.make().close()
    except (gym.error.Error, OSError, TypeError, ValueError) as error:
        console.print(f"[bold red]error:[/] {error}", highlight=False)
        raise typer.Exit(2) from error
    for note in _notes(scenarios, data):
        console.print(note, style="dim")
    result = _run(console, scenarios, names, seeds, output, workers)
    _show(console, result, baseline)
    if result.failures:
        raise typer.Exit(1)


def _parsed(item: str) -> tuple[str, Any]:
    """Reads ``key=value``; a value that is no Python literal is text."""
    key, separator, text = item.partition("=")
    if not separator or not key:
        raise ValueError(f"--set {item!r}: must be KEY=VALUE")
    try:
        return key, ast.literal_eval(text)
    except (SyntaxError, ValueError):
        return key, text


def _scenarios(
    env_ids: list[str], loads: list[float | None], settings: dict[str, Any], data: RequestDataset
) -> list[Scenario]:
    """Returns a scenario per environment and load, each with the settings that it has."""
    scenarios = []
    used: set[str] = set()
    for env_id in env_ids:
        known = _settable(env_id)
        mine = {name: value for name, value in settings.items() if name in known}
        used |= mine.keys()
        if data.embeddings is None:
            mine.setdefault("observe", "id")
        if data.slowdown is None and "edge_batch_capacity" not in known:
            mine.setdefault("edge_slowdown", None)
        for load in loads:
            chosen = mine if load is None else {**mine, "load": load}
            label = env_id if len(loads) == 1 else f"{env_id} load {load:g}"
            scenarios.append(Scenario(env_id, chosen, label))
    for name in settings.keys() - used:
        # No environment has it: let the first one say so, and name what it has.
        gym.make(env_ids[0], **{"dataset": data, "observe": "id", name: settings[name]})
    return scenarios


def _settable(env_id: str) -> set[str]:
    entry_point = gym.spec(env_id).entry_point
    if not isinstance(entry_point, str) or not entry_point.startswith("edgecloud_gym"):
        raise ValueError(f"--env {env_id!r}: must be one of {', '.join(ENV_IDS)}")
    environment: Any = gym.envs.registration.load_env_creator(entry_point)
    return set(settable(environment.defaults))


def _check_embeddings(names: list[str], data: RequestDataset) -> None:
    needing = [name for name in names if name in BANDITS]
    if needing and data.embeddings is None:
        raise ValueError(
            f"{', '.join(needing)}: learn from embeddings, and dataset {data.name!r} has none; "
            "make them with `edgecloud embed`"
        )


def _notes(scenarios: list[Scenario], data: RequestDataset) -> list[str]:
    notes = []
    if any("edge_slowdown" in s.settings for s in scenarios) and data.slowdown is None:
        notes.append(
            f"Dataset {data.name!r} has no measured slowdown curve: "
            "in continuous batching, requests do not slow each other down."
        )
    return notes


def _run(
    console: Console,
    scenarios: list[Scenario],
    names: list[str],
    seeds: int,
    output: Path,
    workers: int,
) -> ExperimentResult:
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
                scenarios, names, seeds, output_dir=output, workers=workers, progress=show
            )
        except ExperimentError as error:
            console.print(f"[bold red]error:[/] {error}", highlight=False)
            return error.result
        except KeyboardInterrupt:
            console.print(
                f"Interrupted. {done.done} of {done.total} runs are kept in {output}; "
                "the same command goes on from there."
            )
            raise typer.Exit(130) from None


def _show(console: Console, result: ExperimentResult, baseline: str) -> None:
    from agents.plots import draw_experiment
    from agents.tables import ranking_table

    if not result.runs:
        return
    for label, rows in result.summary.groupby("env", sort=False):
        seeds = rows["seed"].nunique()
        requests = rows["arrived"].mean()
        console.print(f"\n[bold]{label}[/]  {seeds} seeds, {requests:,.0f} requests each")
        console.print(ranking_table(rows, baseline))
    draw_experiment(result, result.output / PLOT)
    console.print(_LEGEND, style="dim", highlight=False)
    if result.summary["unfinished"].any():
        console.print(_CENSORED_LEGEND, style="dim", highlight=False)
    console.print(
        f"Results in {result.output}: summary.csv timeseries.csv requests.csv run.json {PLOT}",
        highlight=False,
        soft_wrap=True,
    )
