"""``edgecloud record``: what an agent sees and does, as a dataset for offline learning."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import gymnasium as gym
import typer

from agents.cli.shared.models import bundled_models, find_model, read_model
from agents.cli.shared.options import (
    DATASET,
    DURATION,
    ArrivalRate,
    Dataset,
    Duration,
    Environment,
    Nodes,
    RateScale,
    Settings,
    TraceFile,
    Trust,
)
from agents.cli.shared.playing import say
from agents.cli.shared.reading import (
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
from agents.experiments.design.scenario import Scenario
from agents.experiments.design.spec import AgentSpec
from agents.recording.collect import collect, default_id, place_of
from agents.recording.unfinished import Unfinished, partial_folder
from agents.registry import AGENT_NAMES
from agents.report.words import counted
from data_tools.cli.console import reading_input, reporting
from data_tools.cli.options import path_option
from edgecloud_gym.dataset import load_dataset
from edgecloud_gym.files import is_bundled_name
from edgecloud_gym.wording import shown


def record(
    context: typer.Context,
    agent: Annotated[
        str,
        typer.Argument(
            metavar="AGENT",
            help="An agent, as of compare, or a trained model: its file, or the name of one that "
            "comes with the package, such as ppo-static.",
            show_default=False,
        ),
    ],
    env: Environment = None,
    episodes: Annotated[
        int, typer.Option(min=1, metavar="N", help="Episodes: seeds SEED, SEED + 1, ...")
    ] = 10,
    seed: Annotated[
        int, typer.Option(min=0, metavar="N", help="Random seed of the first episode.")
    ] = 0,
    explore: Annotated[
        bool | None,
        typer.Option(
            "--explore/--no-explore",
            help="Let the agent try things out and learn; by default an agent does and a trained "
            "model does not.",
            show_default=False,
        ),
    ] = None,
    load: Annotated[float | None, typer.Option(help="Arrival rate as a share of capacity.")] = None,
    arrival_rate: ArrivalRate = None,
    duration: Duration = DURATION,
    dataset: Dataset = DATASET,
    trace: TraceFile = None,
    rate_scale: RateScale = 1.0,
    settings: Settings = None,
    nodes: Nodes = None,
    output: Annotated[
        Path | None,
        path_option(
            help="Folder of the dataset; by default where Minari looks for its id.",
            show_default=False,
        ),
    ] = None,
    dataset_id: Annotated[
        str | None,
        typer.Option(
            "--id",
            help="Minari's id; by default of environment and agent, as edgecloud/static/sac-v0.",
        ),
    ] = None,
    author: Annotated[str | None, typer.Option(help="For the metadata.")] = None,
    trust: Trust = False,
) -> None:
    """Record an agent as a dataset of Minari, for offline learning and evaluation.

    Each observation is the one that the agent acted on, and the environment that Minari recovers
    replays the recording exactly. If it is interrupted, finished episodes are kept, in the folder's
    name with .partial, and the same command goes on after them.

    For example:

    edgecloud record cn-ducb --env continuous --episodes 20 --load 0.95

    edgecloud record ppo.npz --env static --output recordings/ppo
    """
    kept = "Finished episodes are kept; the same command goes on after them."
    with reporting(kept, extra="minari"):
        with reading_input(gym.error.Error):
            given = read_settings(settings, setting_kinds())
            options = {
                "arrival_rate": arrival_rate,
                "load": load,
                "duration": duration,
                "dataset": dataset,
            }
            common = join_settings(context, options, given)
            data = load_dataset(common["dataset"])
            env_id = read_environment(env, nodes, common)
            spec = _spec(agent, trust)
            check_embeddings([spec], data)
            notes = dataset_notes([env_id], common, data)
            named_dataset = common["dataset"]
            data, more = replay_trace(context, trace, rate_scale, common, data)
            (scenario,) = make_scenarios([env_id], None, common, data)
            named = dataset_id or default_id(env_id, spec.name)
            place = output or place_of(named)
            if place.exists():
                raise FileExistsError(f"{place}: exists already; name another --output or --id")
            made = _made(scenario, named_dataset if trace is None else data)
            spec.make().reset(made, seed)  # so that what does not fit is refused now
        say(notes + more)
        there = Unfinished(partial_folder(place)).count
        if there:
            typer.echo(f"{there} of {episodes} episodes are there already", err=True)
        recorded = collect(
            made,
            spec.make(),
            episodes,
            place,
            seed=seed,
            explore=spec.explore if explore is None else explore,
            dataset_id=named,
            author=author,
            progress=_tell,
        )
        steps = counted(int(recorded.total_steps), "step")
        typer.echo(f"{named}: {counted(episodes, 'episode')}, {steps} in {place}")
        if output is None:
            typer.echo(f'It is read by minari.load_dataset("{named}")')
        else:
            typer.echo(f'It is read by agents.load_recording("{place}")')


def _spec(text: str, trust: bool) -> AgentSpec:
    """Returns the agent that a text names, or the trained model of that path or name."""
    named = text.partition(":")[0] in AGENT_NAMES
    if not named and Path(text).suffix in (".npz", ".zip") and not Path(text).exists():
        raise FileNotFoundError(f"AGENT {text}: no such file")
    path = find_model(text) if is_bundled_name(text, bundled_models()) else Path(text)
    if not path.is_file():
        (spec, *others) = read_agents(text, trust)
        if others:
            raise ValueError(f"AGENT {shown(text)}: one agent is recorded at a time")
        return spec
    model = read_model(text)
    check_trust([model], trust)
    if model.agent == "sb3":
        return AgentSpec("sb3", {"path": str(path)}, label=path.stem, explore=False)
    return AgentSpec(model.agent, model.settings, path, path.stem, explore=False)


def _made(scenario: Scenario, dataset: Any) -> gym.Env[Any, Any]:
    """Returns an environment whose specification names the dataset rather than holds it."""
    return gym.make(scenario.env_id, **{**scenario.settings, "dataset": dataset})


def _tell(done: int, summary: Mapping[str, float]) -> None:
    typer.echo(f"episode {done}: mean JCT {summary['jct_mean']:.2f} s", err=True)
