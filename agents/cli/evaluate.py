"""``edgecloud evaluate``: trained models beside other agents on prompts they have not seen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import gymnasium as gym
import numpy as np
import typer

from agents.cli.shared.belonging import foreign_notes
from agents.cli.shared.models import read_model
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
    Environment,
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
    check_trust,
    read_agents,
    read_settings,
    setting_kinds,
)
from agents.cli.shared.scenarios import (
    dataset_notes,
    join_settings,
    make_scenarios,
    read_environment,
    replay_trace,
)
from agents.experiments.design.spec import AgentSpec
from agents.experiments.executors import ExecutorError
from agents.experiments.experiment import ignorant, prepare
from agents.experiments.identity.fingerprint import identify
from agents.experiments.training.model_file import ModelFile
from data_tools.cli.console import reading_input, reporting
from data_tools.cli.options import is_given, path_option
from edgecloud_gym.dataset import SPLITS, RequestDataset, load_dataset


def evaluate(
    context: typer.Context,
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL",
            help="Models that `edgecloud train` wrote, or names of those in the package, as in "
            "ppo-static; with --trust also those that `agents.save_model` or Stable-Baselines3 "
            "saved.",
            show_default=False,
        ),
    ],
    env: Environment = None,
    agents: Annotated[
        str, typer.Option(help="Agents beside them, as of compare.")
    ] = "fcfs,sjf-oracle",
    split: Annotated[str, typer.Option(help="Prompts: test, train or all.")] = "test",
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
    algorithm: Annotated[
        str | None,
        typer.Option(help="Algorithm of Stable-Baselines3, where a file does not tell."),
    ] = None,
    allow_stop: Annotated[
        bool,
        typer.Option(
            "--allow-stop",
            help="SequentialAssignment let the models of Stable-Baselines3 end decisions early.",
        ),
    ] = False,
    vec_normalize: Annotated[
        Path | None,
        path_option(
            help="Statistics of VecNormalize that belong to the model of Stable-Baselines3, where "
            "the file has none."
        ),
    ] = None,
    trust: Trust = False,
    output: Annotated[Path, path_option(help="Folder of the results.")] = Path("results/evaluate"),
    overwrite: Overwrite = False,
    workers: Workers = PROCESSORS,
    scheduler: Scheduler = None,
    shard: ShardOption = None,
    retry_failed: RetryFailed = False,
    dry_run: DryRun = False,
) -> None:
    """Compare trained models, as they are, with other agents on the same request streams.

    The models neither explore nor learn meanwhile unless --learn is given, and idle places are
    filled for each as in its training. Prints and writes what compare does; a second call with the
    same output folder repeats no finished run.

    For example:

    edgecloud evaluate ppo.npz c2ucb.npz --env continuous --load 0.95 --seeds 20

    edgecloud evaluate m.zip --trust --vec-normalize m.pkl --split all
    """
    with reporting(extra="agents"), ExitStack() as stack:
        with reading_input(gym.error.Error, ExecutorError):
            given = read_settings(settings, setting_kinds())
            options = {
                "arrival_rate": arrival_rate,
                "duration": duration,
                "dataset": dataset,
                "split": split,
            }
            join_settings(context, {"load": load or None}, given)
            common = join_settings(context, options, given)
            data = load_dataset(common["dataset"])
            env_id = read_environment(env, nodes, common)
            models = [read_model(name) for name in files]
            check_trust(models, trust)
            extra = {"algorithm": algorithm, "allow_stop": allow_stop or None}
            extra["vec_normalize"] = None if vec_normalize is None else str(vec_normalize)
            beside = read_agents(agents, trust)
            given_of_models = {n: v for n, v in extra.items() if v is not None}
            specs = [*_specs(models, given_of_models, beside), *beside]
            check_embeddings(specs, data)
            if is_given(context, "baseline"):
                check_baseline(baseline, [spec.label for spec in specs])
            notes = [*dataset_notes([env_id], common, data), *_seen(models, data, common["split"])]
            notes += foreign_notes(specs, data)
            notes += [_silent(model) for model in models if _is_silent(model)]
            data, more = replay_trace(context, trace, rate_scale, common, data, load)
            runs = prepare(make_scenarios([env_id], load, common, data), specs, seeds, learn=learn)
            how = stack.enter_context(read_how(context, workers, scheduler, shard, retry_failed))
            plan = make_plan(runs, output, how)
            if not dry_run:
                take_folder(runs, output, overwrite, how)
        say([*notes, *more, *ignorant(runs), *plan.lines()])
        if not dry_run:
            conclude(play_all(runs, output, how, plan), baseline, how, split_columns(columns))


def _specs(
    models: Sequence[ModelFile], extra: dict[str, Any], beside: Sequence[AgentSpec]
) -> list[AgentSpec]:
    """Returns trained models as agents, called by their file names, or paths if these repeat.

    Args:
        models: The files.
        extra: What is known besides of those of Stable-Baselines3.
        beside: Who else plays: a trained c2ucb.npz is told from the agent c2ucb.

    Raises:
        ValueError: If a file is given twice, or something is said of models that are not there.
    """
    names = Counter([*(model.path.stem for model in models), *(spec.label for spec in beside)])
    specs = []
    for model in models:
        label = model.path.stem if names[model.path.stem] == 1 else str(model.path)
        if model.agent == "sb3":
            chosen = {"path": str(model.path), **extra}
            specs.append(AgentSpec("sb3", chosen, label=label, explore=False))
        else:
            path = str(model.path)
            specs.append(AgentSpec(model.agent, model.settings, path, label, explore=False))
    if extra and not any(model.agent == "sb3" for model in models):
        option = next(iter(extra)).replace("_", "-")
        raise ValueError(f"--{option}: none of the files is of Stable-Baselines3")
    return specs


def _is_silent(model: ModelFile) -> bool:
    return model.agent == "sb3" and model.training is None


def _silent(model: ModelFile) -> str:
    return (
        f"{model.path} does not say how it was trained: idle places are filled as the environment "
        "has it by default; --set work_conserving, --allow-stop and --vec-normalize tell otherwise."
    )


def _seen(models: Sequence[ModelFile], data: RequestDataset, split: str) -> list[str]:
    """Returns a note for each model that has learnt from the prompts it is now to meet."""
    notes = []
    for model in models:
        learnt = (model.training or {}).get("settings", {})
        if learnt.get("dataset") != identify(data) or learnt.get("split") not in SPLITS:
            continue
        if np.intersect1d(data.rows(split), data.rows(learnt["split"])).size:
            notes.append(f"{model.path} has learnt from prompts that it meets here.")
    return notes
