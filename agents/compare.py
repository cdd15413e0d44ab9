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
from agents.runs import AgentSpec, Scenario
from edgecloud_gym import ENV_IDS
from edgecloud_gym.config import SystemConfig, settable
from edgecloud_gym.dataset import RequestDataset, load_dataset

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
    try:
        data = load_dataset(dataset)
        specs = _agents(agents, data)
        check_agent_names([baseline])
        common: dict[str, Any] = {"dataset": dataset, "duration": duration}
        if arrival_rate is not None:
            common["arrival_rate"] = arrival_rate
        extra = dict(_parsed(item) for item in settings or [])
        scenarios = _scenarios(
            env or list(ENV_IDS), [*load] if load else [None], {**common, **extra}, data
        )
        for scenario in scenarios:
            scenario.make().close()
    except (gym.error.Error, OSError, TypeError, ValueError) as error:
        console.print(f"[bold red]error:[/] {error}", highlight=False)
        raise typer.Exit(2) from error
    for note in _notes(scenarios, data):
        console.print(note, style="dim")
    result = _run(console, scenarios, specs, seeds, output, workers)
    _show(console, result, baseline)
    if result.failures:
        raise typer.Exit(1)


def _agents(given: str | None, data: RequestDataset) -> list[AgentSpec]:
    """Returns the agents asked for, or those default ones that the dataset has the data for."""
    learnable = data.embeddings is not None
    default = f"{HEURISTICS},{LEARNERS}" if learnable else HEURISTICS
    specs = [_agent(item.strip()) for item in (given or default).split(",") if item.strip()]
    bandits = [str(spec.agent) for spec in specs if spec.agent in BANDITS]
    if bandits and not learnable:
        raise ValueError(
            f"{', '.join(bandits)}: learn from embeddings, and dataset {data.name!r} has none; "
            "make them with `edgecloud embed`"
        )
    return specs


def _agent(text: str) -> AgentSpec:
    """Reads ``name`` or ``name:key=value:key=value``."""
    name, *settings = text.split(":")
    spec = AgentSpec(name, dict(_parsed(item) for item in settings), label=text)
    if settings:
        spec.make()  # so that a wrong setting is refused now
    return spec


def _parsed(item: str) -> tuple[str, Any]:
    """Reads ``key=value``; a value that is no Python literal is text."""
    key, separator, text = item.partition("=")
    if not separator or not key:
        raise ValueError(f"{item!r}: must be KEY=VALUE")
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


def _notes(scenarios: list[Scenario], data: RequestDataset) -> list[str]:
    notes = []
    if data.embeddings is None:
        notes.append(f"Dataset {data.name!r} has no embeddings: agents that learn need them.")
    if any("edge_slowdown" in s.settings for s in scenarios) and data.slowdown is None:
        notes.append(
            f"Dataset {data.name!r} has no measured slowdown curve: "
            "in continuous batching, requests do not slow each other down."
        )
    return notes


def _run(
    console: Console,
    scenarios: list[Scenario],
    specs: list[AgentSpec],
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
                scenarios, specs, seeds, output_dir=output, workers=workers, progress=show
            )
        except ExperimentError as error:
            console.print(f"[bold red]error:[/] {error}", highlight=False)
            return error.result
        except KeyboardInterrupt:
            console.print(
                f"Interrupted. {done.done} of {done.total} runs are kept in {output}; "
                "the same command goes on from there.",
                soft_wrap=True,
            )
            raise typer.Exit(130) from None


def _show(console: Console, result: ExperimentResult, baseline: str) -> None:
    from agents.plots import draw_experiment, draw_load_sweep
    from agents.tables import CENSORED_LEGEND, LEGEND, ranking_table

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
    console.print(LEGEND, style="dim", highlight=False)
    if result.summary["unfinished"].any():
        console.print(CENSORED_LEGEND, style="dim", highlight=False)
    console.print(
        f"Results in {result.output}: summary.csv timeseries.csv requests.csv run.json {pictures}",
        highlight=False,
        soft_wrap=True,
    )
