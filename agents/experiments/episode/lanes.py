"""Episodes side by side: seeds of one agent as lanes of a vector environment."""

from __future__ import annotations

import reprlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from agents.base import Agent

if TYPE_CHECKING:
    from edgecloud_gym.envs.vector import EdgeCloudVectorEnv

# A batch has this many rows, and each seed a row of its own in it, whoever else is there: the sums
# of a matrix product depend in their last bits on the shape of a batch and on a row's place.
TILE: Final = 8


def tile_of(seed: int) -> int:
    """Returns which batch a seed belongs to: those of one batch have rows of their own."""
    return seed // TILE


def play_lanes(
    envs: EdgeCloudVectorEnv, agent: Agent, seeds: Sequence[int]
) -> Iterator[dict[int, float]]:
    """Plays an episode in each lane.

    Args:
        envs: As many lanes as there are seeds, in autoreset mode ``NEXT_STEP``.
        agent: Decides; see `Agent.in_lanes`.
        seeds: Of the episodes, all of one tile.

    Yields:
        After every step, the lanes whose episodes it has ended, with the sums of their rewards:
        what these lanes have done is there to be read until the next step.

    Raises:
        TypeError: If what the agent returns is of a wrong kind; the agent is named.
        ValueError: If its actions have a wrong shape or value; the agent is named.
    """
    assert envs.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
    assert len({tile_of(seed) for seed in seeds}) == 1
    played, choose = _prepared(agent, envs)
    rows = np.array([seed % TILE for seed in seeds])
    source = np.zeros(TILE, np.int64)  # rows of nobody repeat the first lane's
    source[rows] = np.arange(len(seeds))
    shown, infos = played.reset(seed=list(seeds))
    rewards = np.zeros(len(seeds))
    over = np.zeros(len(seeds), np.bool_)
    while not over.all():
        batch: dict[str, NDArray[Any]] = {name: part[source] for name, part in shown.items()}
        masks = infos["action_mask"][source].astype(np.bool_)
        chosen = choose(batch, masks)
        try:
            actions = _with_a_row_each(chosen)[rows]
            shown, got, terminated, truncated, infos = played.step(actions)
        except (TypeError, ValueError) as error:
            raise type(error)(f"agent {agent.name!r}: {error}") from error
        rewards += np.where(over, 0.0, got)
        ended = (terminated | truncated) & ~over
        over |= ended
        yield {lane: float(rewards[lane]) for lane in np.flatnonzero(ended).tolist()}


def _prepared(agent: Agent, envs: EdgeCloudVectorEnv) -> tuple[Any, Any]:
    made: Any = agent.in_lanes(envs)
    if not isinstance(made, tuple) or len(made) != 2 or not callable(made[1]):
        raise TypeError(
            f"agent {agent.name!r}: in_lanes returned {reprlib.repr(made)}: must be the lanes, "
            "wrapped or not, and a function"
        )
    return made


def _with_a_row_each(chosen: object) -> NDArray[Any]:
    """Returns actions as an array, if they are as many as were asked for."""
    actions = np.asarray(chosen)
    if actions.shape[:1] != (TILE,):
        raise ValueError(
            f"in_lanes: actions have shape {actions.shape}: must have {TILE} rows, one for each "
            "that was shown"
        )
    return actions
