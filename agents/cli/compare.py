"""``edgecloud compare``: agents side by side on the same request streams."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Final

import gymnasium as gym
import typer

from agents.cli.shared.belonging import foreign_notes
from agents.cli.shared.options import (
    BASELINE,
    DATASET,
    DURATION,
    PROCESSORS,
    ArrivalRate,
    Baseline,
    Columns,
    Dataset,
    DryRun,
    Duration,
    Learn,
    Loads,
    Nodes,
    Overwrite,
    RateScale,
    RetryFailed,
    Scheduler,
    Seeds,
    Settings,
    ShardOption,
    TraceFile,
    Trust,
    Workers,
    split_columns,
)
from agents.cli.shared.playing import conclude, make_plan, play_all, read_how, say, take_folder
from agents.cli.shared.reading import (
    check_baseline,
    check_embeddings,
    read_agents,
    read_settings,
    setting_kinds,
)
from agents.cli.shared.scenarios import (
    dataset_notes,
    join_settings,
    make_scenarios,
    read_nodes,
    replay_trace,
)
from agents.experiments.executors import ExecutorError
from agents.experiments.experiment import ignorant, prepare
from agents.prediction import has_bundled_predictor
from agents.registry import AGENT_NAMES
from data_tools.cli.console import reading_input, reporting
from data_tools.cli.options import is_given, path_option
from edgecloud_gym import ENV_IDS
from edgecloud_gym.dataset import load_dataset

HEURISTICS: Final = "fcfs,random,round-robin,least-connections,historical-lrt,sjf-oracle"
LEARNERS: Final = "c2ucb,cn-ducb"
SHIPPED: Final = "ppo"  # trained on the bundled dataset

_AGENTS_HELP: Final = (
    f"Agents, separated by commas: {', '.join(AGENT_NAMES)}. Settings follow after colons: "
    "c2ucb:alpha=2, or in quotes where there are commas: 'ppo:model=\"a,b\"'. By default "
    f"{f'{HEURISTICS},{LEARNERS},{SHIPPED}'.replace(',', ', ')}; the models that come with the "
    "package play the bundled dataset alone."
)


def compare(
    context: typer.Context,
    env: Annotated[
        list[str] | None,
        typer.Option(
            help="Environment, by id or in short; repeat for several. By default all that have an "
            "edge and a cloud."
        ),
    ] = None,
    agents: Annotated[
        str | None,
        typer.Option(help=_AGENTS_HELP),
    ] = None,
    nodes: Nodes = None,
    seeds: Seeds = 5,
    load: Loads = None,
    arrival_rate: ArrivalRate = None,
    duration: Duration = DURATION,
    dataset: Dataset = DATASET,
    trace: TraceFile = None,
    rate_scale: RateScale = 1.0,
    settings: Settings = None,
    learn: Learn = None,
    baseline: Baseline = BASELINE,
    columns: Columns = None,
    output: Annotated[Path, path_option(help="Folder of the results.")] = Path("results/compare"),
    overwrite: Overwrite = False,
    workers: Workers = PROCESSORS,
    scheduler: Scheduler = None,
    shard: ShardOption = None,
    retry_failed: RetryFailed = False,
    dry_run: DryRun = False,
    trust: Trust = False,
) -> None:
    """Compare agents on the same request streams.

    Prints tables per environment and writes summary.csv, timeseries.csv, requests.csv, run.json
    and comparison.png. A second call with the same output folder repeats no finished run.

    For example:

    edgecloud compare --env continuous --load 0.8 --load 0.95 --seeds 20

    edgecloud compare --agents fcfs,cn-ts --set drain=false --output undrained
    """
    with reporting(extra="agents"), ExitStack() as stack:
        with reading_input(gym.error.Error, ExecutorError):
            given = read_settings(settings, setting_kinds())
            options = {"arrival_rate": arrival_rate, "duration": duration, "dataset": dataset}
            join_settings(context, {"load": load or None}, given)
            common = join_settings(context, options, given)
            env_ids = read_nodes(nodes, env, common) or list(ENV_IDS)
            data = load_dataset(common["dataset"])
            notes = dataset_notes(env_ids, common, data)
            default = HEURISTICS if data.embeddings is None else f"{HEURISTICS},{LEARNERS}"
            if has_bundled_predictor(data):
                default = f"{default},{SHIPPED}"
            specs = read_agents(default if agents is None else agents, trust)
            check_embeddings(specs, data)
            notes += foreign_notes(specs, data)
            if is_given(context, "baseline"):
                check_baseline(baseline, [spec.label for spec in specs])
            data, more = replay_trace(context, trace, rate_scale, common, data, load)
            runs = prepare(make_scenarios(env_ids, load, common, data), specs, seeds, learn=learn)
            how = stack.enter_context(read_how(context, workers, scheduler, shard, retry_failed))
            plan = make_plan(runs, output, how)
            if not dry_run:
                take_folder(runs, output, overwrite, how)
        say([*notes, *more, *ignorant(runs), *plan.lines()])
        if not dry_run:
            conclude(play_all(runs, output, how, plan), baseline, how, split_columns(columns))
