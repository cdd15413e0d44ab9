"""Episodes side by side: seeds of one agent as lanes of a vector environment."""

from __future__ import annotations

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
    """
    assert envs.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
    assert len({tile_of(seed) for seed in seeds}) == 1
    played: Any
    played, choose = agent.in_lanes(envs)
    rows = np.array([seed % TILE for seed in seeds])
    source = np.zeros(TILE, np.int64)  # rows of nobody repeat the first lane's
    source[rows] = np.arange(len(seeds))
    shown, infos = played.reset(seed=list(seeds))
    rewards = np.zeros(len(seeds))
    over = np.zeros(len(seeds), np.bool_)
    while not over.all():
        batch: dict[str, NDArray[Any]] = {name: part[source] for name, part in shown.items()}
        masks = infos["action_mask"][source].astype(np.bool_)
        shown, got, terminated, truncated, infos = played.step(choose(batch, masks)[rows])
        rewards += np.where(over, 0.0, got)
        ended = (terminated | truncated) & ~over
        over |= ended
        yield {lane: float(rewards[lane]) for lane in np.flatnonzero(ended).tolist()}
