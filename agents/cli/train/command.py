"""``edgecloud train``: an agent learns on the train prompts and is kept in a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final

import gymnasium as gym
import typer

from agents.cli.shared.belonging import predictor_notes
from agents.cli.shared.options import (
    DATASET,
    PROCESSORS,
    ArrivalRate,
    Azure,
    Dataset,
    Environment,
    Nodes,
    RateScale,
    Scheduler,
    Settings,
    TraceFile,
    Workers,
    suite_traces,
)
from agents.cli.shared.playing import check_workers, say
from agents.cli.shared.reading import needs_embeddings, read_settings, setting_kinds
from agents.cli.shared.scenarios import (
    dataset_notes,
    join_settings,
    make_scenarios,
    read_environment,
    replay_trace,
)
from agents.cli.train import index
from agents.cli.train.elsewhere import check_learns_elsewhere, read_elsewhere
from agents.cli.train.index import INDEX, train_index
from agents.cli.train.one import train_one
from agents.cli.train.predictor import PREDICTOR, train_predictor
from agents.cli.train.reading import (
    LOADS,
    TRAINABLE,
    by_file,
    check_suffix,
    read_agent,
    read_beside,
    read_loads,
    refuse_ignored,
)
from agents.cli.train.seeds import train_all
from agents.experiments.design.scenario import Scenario
from agents.experiments.training.training import Training, at_loads
from agents.experiments.training.validation import BESIDE, BESIDE_IN_CLUSTERS, Validation
from agents.schedulers.policy_file import POLICIES
from data_tools.cli.console import reading_input, reporting
from data_tools.cli.options import is_given, path_option
from edgecloud_gym.dataset import RequestDataset, load_dataset

# Bandits learn in overload, where the order of requests matters most; networks at several loads.
LOAD: Final = 1.2
DURATION: Final = 100.0
LONGER: Final = 150.0  # s, of networks: queues have to build up at all loads
STEPS: Final = 1_000_000
EPISODES: Final = 10
LOOKS: Final = 10
_AGENT_HELP: Final = (
    f"Agent: {', '.join(TRAINABLE)}. Settings follow after colons: "
    "cn-greedy:epsilon=0.2, ppo:learning_rate=3e-4."
)


def train(
    context: typer.Context,
    agent: Annotated[
        str,
        typer.Argument(metavar="AGENT", help=_AGENT_HELP, show_default=False),
    ],
    output: Annotated[
        Path,
        path_option(help="File of the model, .npz; of an index policy, .json.", show_default=False),
    ],
    env: Environment = None,
    steps: Annotated[
        int, typer.Option(min=1, help="Choices that a network learns from, in whole rollouts.")
    ] = STEPS,
    episodes: Annotated[
        int, typer.Option(min=1, help="Episodes that a bandit learns from.")
    ] = EPISODES,
    seed: Annotated[int, typer.Option(min=0, help="Random seed.")] = 0,
    seeds: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Trainings of their own, with seeds SEED, SEED + 1, ...; the files are numbered: "
            "ppo-0.npz, ppo-1.npz, ... Where they are looked at on prompts kept aside, the best is "
            "kept as ppo.npz too, and how far they differ in ppo-seeds.json.",
        ),
    ] = None,
    evaluate_every: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Look after so many steps or episodes how good it is on prompts kept aside, and "
            "keep the best; 0 for never. By default ten times for networks, never for bandits.",
            show_default=False,
        ),
    ] = None,
    evaluation_seeds: Annotated[int, typer.Option(min=1, help="Episodes per look and load.")] = 4,
    beside: Annotated[
        str | None,
        typer.Option(
            help="Agents that play these episodes too, separated by commas. By default "
            f"{', '.join(BESIDE)}; in clusters {', '.join(BESIDE_IN_CLUSTERS)}.",
            show_default=False,
        ),
    ] = None,
    patience: Annotated[
        int | None,
        typer.Option(min=1, help="Stop when nothing was better in so many looks."),
    ] = None,
    tensorboard: Annotated[Path | None, path_option(help="Folder for TensorBoard.")] = None,
    workers: Workers = PROCESSORS,
    scheduler: Scheduler = None,
    load: Annotated[
        list[float] | None,
        typer.Option(
            help="Arrival rate as a fraction of capacity; repeat it, and a network learns at all "
            f"of them. By default {LOAD:g} for bandits, {', '.join(f'{x:g}' for x in LOADS)} for "
            "networks.",
            show_default=False,
        ),
    ] = None,
    arrival_rate: ArrivalRate = None,
    duration: Annotated[
        float | None,
        typer.Option(
            help=f"How long requests arrive (s). By default {DURATION:g} for bandits, "
            f"{LONGER:g} for networks.",
            show_default=False,
        ),
    ] = None,
    dataset: Dataset = DATASET,
    trace: TraceFile = None,
    rate_scale: RateScale = 1.0,
    settings: Settings = None,
    nodes: Nodes = None,
    scenario: Annotated[
        list[str] | None,
        typer.Option(
            help="Scenario of the benchmark suite, or group of them, that a network learns in "
            "besides, on the train prompts; repeat for several. See bench-suite --list.",
            show_default=False,
        ),
    ] = None,
    azure: Azure = None,
) -> None:
    """Train an agent on the train prompts.

    Networks of Stable-Baselines3 start from a rule and learn, at several loads, where to send the
    request at the head of the queue. Some prompts are kept aside: every now and then these show how
    good the agent is, and the file holds the best so far. Beside it lie the last (-last.npz), from
    which training goes on, and the learning curve (.csv and .png).

    The files are complete at any time. The same command goes on where an interrupted one stopped,
    or, given more steps or episodes, where a finished one did.

    For example:

    edgecloud train ppo --env continuous --output ppo.npz

    edgecloud train 'cn-ducb:hidden=[64,64]' --env static --output cn-ducb.npz

    edgecloud train index --env static --output index.json

    edgecloud train predictor --dataset mine.jsonl --output mine.npz
    """
    with reporting(extra="agents"):
        with reading_input(gym.error.Error, ModuleNotFoundError):
            name, options = read_agent(agent)
            check_suffix(name, output)
            check_learns_elsewhere(name, scenario or ())
            network = name in POLICIES
            amount = steps if network else episodes
            if evaluate_every is None:
                evaluate_every = max(1, amount // LOOKS) if network else 0
            refuse_ignored(context, name, bool(evaluate_every), seeds)
            if name == PREDICTOR:
                train_predictor(dataset, options, seed, output)
                return
            if name == INDEX:
                _train_index(
                    env_id=env,
                    nodes=nodes,
                    settings=join_settings(
                        context,
                        {
                            "duration": index.DURATION if duration is None else duration,
                            "dataset": dataset,
                        },
                        read_settings(settings, setting_kinds()),
                    ),
                    options=options,
                    loads=load or LOADS,
                    episodes=episodes if is_given(context, "episodes") else index.EPISODES,
                    seed=seed,
                    output=output,
                )
                return
            given = read_settings(settings, setting_kinds())
            chosen = {
                "arrival_rate": arrival_rate,
                "load": (LOADS if network else [LOAD])[0] if load is None else load[0],
                "duration": (LONGER if network else DURATION) if duration is None else duration,
                "dataset": dataset,
            }
            side = "fit" if evaluate_every else "train"
            common = {"split": side, **join_settings(context, chosen, given)}
            rated = arrival_rate is not None or "arrival_rate" in given or trace is not None
            loads = read_loads(name, load, of_its_own=rated or "load" in given)
            if rated and load is None and "load" not in given:
                del common["load"]  # only the default
            data = load_dataset(common["dataset"])
            if data.embeddings is None:
                raise ValueError(needs_embeddings(name, data))
            env_id = read_environment(env, nodes, common)
            notes = dataset_notes([env_id], common, data)
            notes += predictor_notes(name, options.get("predictor"), data)
            prompts = {"dataset": data, "split": common["split"]}
            traces = suite_traces(azure)
            on_prompts_of = partial(_scenario, context, trace, rate_scale, env_id, common, data)
            place, more = on_prompts_of(common["split"])
            elsewhere = read_elsewhere(scenario or (), name, place, common["split"], traces)
            validation = None
            if evaluate_every:
                held, _ = on_prompts_of("validation")
                others = read_beside(beside, env_id)
                there = read_elsewhere(scenario or (), name, place, "validation", traces)
                places = (*at_loads(held, loads), *there)
                validation = Validation(places, evaluation_seeds, others)
            training = Training(
                name=name,
                options=options,
                scenario=place,
                seed=seed,
                prompts=prompts,
                amount=amount,
                loads=loads,
                validation=validation,
                every=evaluate_every,
                patience=patience,
                tensorboard=None if tensorboard is None else str(tensorboard),
                elsewhere=elsewhere,
            )
            trainings = by_file(training, output, seeds)
            if scheduler is not None:
                check_workers(context, workers, scheduler)
            if seeds is None:
                learner = training.learner(output)
        say(notes + more)
        if seeds is None:
            train_one(learner, training, output)
        else:
            train_all(trainings, workers, scheduler, output)


def _train_index(
    *,
    env_id: str | None,
    nodes: Path | None,
    settings: dict[str, Any],
    options: Mapping[str, Any],
    loads: Sequence[float],
    episodes: int,
    seed: int,
    output: Path,
) -> None:
    """Tunes an index policy; see `train_index`."""
    common = {"split": "train", **settings}
    chosen = read_environment(env_id, nodes, common)
    train_index(chosen, common, options, loads=loads, episodes=episodes, seed=seed, output=output)


def _scenario(
    context: typer.Context,
    trace: Path | None,
    rate_scale: float,
    env_id: str,
    settings: Mapping[str, Any],
    data: RequestDataset,
    split: str,
) -> tuple[Scenario, list[str]]:
    """Returns a scenario on one side's prompts, after trying it, and notes on what it replays."""
    mine = {**settings, "split": split}
    data, notes = replay_trace(context, trace, rate_scale, mine, data)
    (scenario,) = make_scenarios([env_id], None, mine, data)
    scenario.check()
    return scenario, notes
