"""What ``edgecloud train`` is asked for: reading and checking it before anything is learnt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import typer

from agents.cli.shared.reading import agent_kinds, read_name, read_settings
from agents.cli.train.index import INDEX
from agents.cli.train.predictor import PREDICTOR
from agents.cli.train.seeds import numbered, spread_file
from agents.experiments.training.training import Training
from agents.experiments.training.validation import BESIDE, BESIDE_IN_CLUSTERS
from agents.registry import LEARNERS, check_agent_names
from agents.schedulers.policy_file import POLICIES
from data_tools.cli.options import refuse_given
from edgecloud_gym import CLUSTER_ID
from edgecloud_gym.checks import did_you_mean
from edgecloud_gym.files import check_writable
from edgecloud_gym.wording import shown

TRAINABLE: Final = (*POLICIES, *LEARNERS, INDEX, PREDICTOR)
LOADS: Final = (0.8, 0.95, 1.1)  # of networks
_OF_PREDICTOR: Final = ("agent", "output", "seed", "dataset", "help")
_OF_INDEX: Final = (*_OF_PREDICTOR, "env", "nodes", "settings", "load", "episodes", "duration")
_OF_LOOKS: Final = ("evaluation_seeds", "beside", "patience")


def by_file(training: Training, output: Path, seeds: int | None) -> dict[Path, Training]:
    """Returns the trainings by the files that they go to.

    Raises:
        OSError: If a file cannot be written.
        ValueError: If a file holds something else.
    """
    trainings = {output: training}
    if seeds is not None:
        own_seeds = range(training.seed, training.seed + seeds)
        trainings = {numbered(output, own): replace(training, seed=own) for own in own_seeds}
    for path, each in trainings.items():
        each.resumable(path)
        check_writable(path)
    if seeds is not None and training.validation is not None:
        training.require_same_but_seed(output)  # the best of them is kept there
        check_writable(output)
        check_writable(spread_file(output))
    return trainings


def read_beside(beside: str | None, env_id: str) -> tuple[str, ...]:
    """Returns the agents that play beside one in training.

    Raises:
        ValueError: If one is unknown.
    """
    if beside is None:
        return BESIDE_IN_CLUSTERS if env_id == CLUSTER_ID else BESIDE
    names = [item.strip() for item in beside.split(",") if item.strip()]
    check_agent_names(names)
    return tuple(names)


def read_loads(name: str, load: Sequence[float] | None, *, of_its_own: bool) -> tuple[float, ...]:
    """Returns the loads to learn at side by side, if there are several.

    Args:
        name: The agent.
        load: The loads that are given.
        of_its_own: Whether other settings say how fast requests arrive.

    Raises:
        ValueError: If one is given twice, or several to a bandit.
    """
    if not load:
        return LOADS if name in POLICIES and not of_its_own else ()
    if name not in POLICIES and len(load) > 1:
        raise ValueError(f"--load: {name} learns at one load, not at {len(load)}")
    if len(set(load)) < len(load):
        raise ValueError(f"--load: one is given twice: {', '.join(f'{x:g}' for x in load)}")
    return tuple(load) if len(load) > 1 else ()


def read_agent(text: str) -> tuple[str, dict[str, Any]]:
    """Returns the agent that is to learn, and its settings.

    Raises:
        ValueError: If it cannot be trained, or a setting cannot be read.
    """
    name, items = read_name(text)
    if name not in TRAINABLE:
        raise ValueError(
            f"cannot train {shown(name)}: must be one of {', '.join(TRAINABLE)}"
            f"{did_you_mean(name, TRAINABLE)}"
        )
    return name, read_settings(
        items, None if name in (*POLICIES, INDEX, PREDICTOR) else agent_kinds(name)
    )


def refuse_ignored(context: typer.Context, name: str, looks: bool, seeds: int | None) -> None:
    """Checks that no option is given that the training does not use.

    Args:
        context: Of the command.
        name: Who learns.
        looks: Whether it is looked at on prompts kept aside.
        seeds: How many trainings there are, if there are to be several.

    Raises:
        ValueError: If one is.
    """
    everything = [str(parameter.name) for parameter in context.command.params]
    for short, used, what in (
        (PREDICTOR, _OF_PREDICTOR, "a predictor, which looks at prompts alone"),
        (INDEX, _OF_INDEX, "an index policy, which is tuned by --episodes at each --load"),
    ):
        if name == short:
            refuse_given(context, {*everything} - {*used}, f"on {what}")
            return
    network = name in POLICIES
    wrong, right = ("episodes", "steps") if network else ("steps", "episodes")
    refuse_given(context, [wrong], f"on {name}: how long it learns is told by --{right}")
    if not looks:
        unseen = _OF_LOOKS if network else (*_OF_LOOKS, "tensorboard")
        refuse_given(context, unseen, "without looks at prompts kept aside: give --evaluate-every")
    if seeds is None:
        refuse_given(
            context, ["workers", "scheduler"], "without --seeds: one training is not divided"
        )
    if not context.params["scenario"]:
        refuse_given(context, ["azure"], "without a --scenario that replays it")


def check_suffix(name: str, output: Path) -> None:
    """Raises ``ValueError`` if the name of a model's file says that something else is in it."""
    if name == INDEX:
        if output.suffix.casefold() in (".npz", ".zip"):
            raise ValueError(f"--output {output}: a file of {name} ends in .json, and is JSON")
        return
    if output.suffix.casefold() in (".zip", ".json"):
        raise ValueError(
            f"--output {output}: a file of {name} ends in .npz, not {output.suffix}: it holds "
            "arrays (a .zip of Stable-Baselines3's own holds pickled objects)"
        )
