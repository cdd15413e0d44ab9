"""``edgecloud evaluate``: trained models beside other agents on prompts they have not seen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console

from agents.base import Agent
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
from agents.experiments.fingerprint import describe
from agents.experiments.model_file import ModelFile, read_model_file
from agents.experiments.runs import AgentSpec, Scenario
from agents.registry import check_agent_names
from edgecloud_gym.config import SystemConfig
from edgecloud_gym.dataset import load_dataset

# What a file of another algorithm makes SB3 and torch raise.
_LOADING_ERRORS: Final = (
    AssertionError,
    AttributeError,
    KeyError,
    RuntimeError,
    TypeError,
    ValueError,
)


def evaluate(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE...",
            help="Models that `edgecloud train` or Stable-Baselines3 saved. SB3's hold pickled "
            "objects: take only those you trust.",
            show_default=False,
        ),
    ],
    env: Annotated[str, typer.Option(help="Environment id.", show_default=False)],
    agents: Annotated[
        str, typer.Option(help="Who plays beside them: comma-separated, as of compare.")
    ] = "fcfs,sjf-oracle",
    split: Annotated[str, typer.Option(help="Which prompts: test, train or all.")] = "test",
    seeds: Annotated[int, typer.Option(min=1, help="Episodes per agent: seeds 0, 1, ...")] = 5,
    load: Loads = None,
    arrival_rate: ArrivalRate = None,
    duration: Duration = 300.0,
    dataset: Dataset = str(SystemConfig.dataset),
    settings: Settings = None,
    baseline: Baseline = "fcfs",
    algorithm: Annotated[
        str, typer.Option(help="What trained the files that Stable-Baselines3 saved.")
    ] = "MaskablePPO",
    output: Annotated[Path, typer.Option(help="Folder of the results.")] = Path("results/evaluate"),
    workers: Workers = PROCESSORS,
) -> None:
    """Compare trained models, as they are, with other agents on the same request streams.

    The models neither explore nor learn meanwhile. Prints and writes what compare does; a second
    call with the same output folder repeats no finished run.
    """
    console = Console()
    with refusing_bad_input(console):
        data = load_dataset(dataset)
        models = [read_model_file(path) for path in files]
        specs = [*_specs(models, algorithm), *read_agents(agents)]
        check_embeddings(specs, data)
        check_agent_names([baseline])
        common: dict[str, Any] = {"dataset": dataset, "duration": duration, "split": split}
        if arrival_rate is not None:
            common["arrival_rate"] = arrival_rate
        scenarios = make_scenarios([env], load, {**common, **read_settings(settings)}, data)
        _check_fit(specs[: len(models)], scenarios[0])
    for note in [*dataset_notes(scenarios, data), *_seen(models, scenarios[0])]:
        console.print(note, style="dim")
    result = play_all(console, scenarios, specs, seeds, output, workers)
    show_results(console, result, baseline)
    if result.failures:
        raise typer.Exit(1)


def _specs(models: Sequence[ModelFile], algorithm: str) -> list[AgentSpec]:
    """Returns trained models as agents, called by their file names, or paths if these repeat."""
    names = Counter(model.path.stem for model in models)
    specs = []
    for model in models:
        stem = model.path.stem
        label = stem if names[stem] == 1 else str(model.path)
        if model.agent == "sb3":
            ours = model.training is not None  # trained by `edgecloud train`
            chosen = {"path": str(model.path), "algorithm": "PPO" if ours else algorithm}
            specs.append(AgentSpec("sb3", chosen, label=label, explore=False))
        else:
            path = str(model.path)
            specs.append(AgentSpec(model.agent, model.settings, path, label, explore=False))
    return specs


def _check_fit(specs: Sequence[AgentSpec], scenario: Scenario) -> None:
    """Lets each model decide once.

    Raises:
        ValueError: If one cannot be loaded, or was trained on other observations.
    """
    env = scenario.make()
    for spec in specs:
        agent = _loaded(spec)
        agent.reset(env, seed=0)
        agent.act(*env.reset(seed=0), explore=False)
    env.close()


def _loaded(spec: AgentSpec) -> Agent:
    """Returns an agent with its model, or raises ``ValueError``."""
    if spec.agent != "sb3":
        return spec.make()
    try:
        return spec.make()
    except _LOADING_ERRORS as error:
        algorithm = spec.settings["algorithm"]
        raise ValueError(
            f"{spec.settings['path']}: no model of {algorithm}, or damaged ({error}); "
            "--algorithm says what trained it"
        ) from error


def _seen(models: Sequence[ModelFile], scenario: Scenario) -> list[str]:
    """Returns a note for each model that has learnt from the prompts it is now to meet."""
    split = scenario.settings["split"]
    notes = []
    for model in models:
        learnt = (model.training or {}).get("settings", {})
        same = learnt.get("dataset") == describe(scenario.dataset)
        if same and (split == learnt["split"] or "all" in (split, learnt["split"])):
            notes.append(f"{model.path} has learnt from prompts that it meets here.")
    return notes
