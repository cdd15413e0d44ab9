"""Gymnasium itself, at whatever version is installed."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from edgecloud_gym.wrappers import SequentialAssignment
from tests.ecosystem.cells import BRIEF, EXTRA, IDS, UNMODIFIED, cells_of, fill, names

CELLS, cell = cells_of("Gymnasium")


@cell("single", UNMODIFIED)
def check(env_id: str) -> None:
    check_env(gym.make(f"edgecloud_gym:{env_id}", **BRIEF).unwrapped, skip_render_check=True)


@cell("vector", UNMODIFIED)
def play_lanes(env_id: str) -> None:
    for mode in ("sync", "vector_entry_point"):
        envs = gym.make_vec(f"edgecloud_gym:{env_id}", 2, vectorization_mode=mode, **BRIEF)
        wrapped = gym.wrappers.vector.RecordEpisodeStatistics(envs)
        wrapped.reset(seed=0)
        ended = 0
        for _ in range(300):
            _, _, terminations, truncations, _ = wrapped.step(wrapped.action_space.sample())
            ended += int((terminations | truncations).sum())
        assert ended > 0
        wrapped.close()


@cell("masked", EXTRA)
def sample_what_is_legal(env_id: str) -> None:
    env = SequentialAssignment(gym.make(f"edgecloud_gym:{env_id}", **BRIEF))
    env.action_space.seed(0)
    _, info = env.reset(seed=0)
    done = False
    while not done:
        action = env.action_space.sample(mask=info["action_mask"])
        _, _, terminated, truncated, info = env.step(np.int64(action))
        assert info["invalid_assignments"] == 0
        done = terminated or truncated


@pytest.mark.parametrize("env_id", IDS)
@pytest.mark.parametrize("cell", CELLS, ids=names(CELLS))
def test_gymnasium(cell, env_id):
    fill(cell, env_id)
