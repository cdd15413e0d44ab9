"""``edgecloud card``: a trained model as a folder for the Hugging Face hub."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import gymnasium as gym
import typer

from agents.cli.shared.models import read_model
from agents.cli.shared.options import (
    DATASET,
    DURATION,
    ArrivalRate,
    Dataset,
    Duration,
    Environment,
    Nodes,
    Seeds,
    Settings,
    Trust,
)
from agents.cli.shared.reading import check_trust, read_settings, setting_kinds
from agents.cli.shared.scenarios import join_settings, make_scenarios, read_environment
from agents.export.repository import write_repository
from data_tools.cli.console import reading_input, reporting
from data_tools.cli.options import path_option
from edgecloud_gym.dataset import load_dataset


def card(
    context: typer.Context,
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="File of a trained model, or the name of one that comes with the package, such as "
            "ppo-static.",
            show_default=False,
        ),
    ],
    env: Environment = None,
    seeds: Seeds = 20,
    load: Annotated[float | None, typer.Option(help="Arrival rate as a share of capacity.")] = None,
    arrival_rate: ArrivalRate = None,
    duration: Duration = DURATION,
    dataset: Dataset = DATASET,
    split: Annotated[str, typer.Option(help="Prompts: test, train or all.")] = "test",
    settings: Settings = None,
    nodes: Nodes = None,
    trust: Trust = False,
    output: Annotated[
        Path | None,
        path_option(help="Folder to write; by default cards/MODEL.", show_default=False),
    ] = None,
) -> None:
    """Write a folder for the Hugging Face hub: the model, its card and its evaluation.

    The model plays, beside FCFS, in the environment that it was trained in, or in that of --env;
    the card (README.md) has what the hub reads: library, tags and the mean return. Push the folder
    with `huggingface-cli upload`.

    For example:

    edgecloud card ppo-static --output cards/ppo-static
    """
    with reporting(extra="agents"):
        with reading_input(gym.error.Error):
            given = read_settings(settings, setting_kinds())
            options = {
                "arrival_rate": arrival_rate,
                "load": load,
                "duration": duration,
                "dataset": dataset,
                "split": split,
            }
            common = join_settings(context, options, given)
            found = read_model(model)
            file = found.path
            check_trust([found], trust)
            trained = None if nodes is not None else (found.training or {}).get("env")
            env_id = read_environment(env or trained, nodes, common)
            data = load_dataset(common["dataset"])
            (scenario,) = make_scenarios([env_id], None, common, data)
            folder = output or Path("cards") / file.stem
            results = write_repository(file, folder, scenario, range(seeds))
        value = f"{results['mean_reward']:.2f} +/- {results['std_reward']:.2f}"
        typer.echo(f"Saved to {folder}: {file.name}, its card and results.json; return {value}")
