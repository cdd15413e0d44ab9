"""Stable-Baselines3 and sb3-contrib, as their users write them."""

import gymnasium as gym
import pytest
from sb3_contrib import MaskablePPO
from stable_baselines3 import PPO
from stable_baselines3.common.env_checker import check_env
from stable_baselines3.common.env_util import make_vec_env as make_sb3_env

from agents.policies import MaskableCandidatePolicy
from edgecloud_gym.sb3 import make_vec_env
from edgecloud_gym.wrappers import SequentialAssignment
from tests.ecosystem.cells import BRIEF, EXTRA, IDS, UNMODIFIED, cells_of, fill, names

CELLS, cell = cells_of("Stable-Baselines3")
LEARNING = {"n_steps": 16, "batch_size": 16, "n_epochs": 1, "device": "cpu"}


@cell("single", UNMODIFIED)
def learn(env_id: str) -> None:
    env = gym.make(f"edgecloud_gym:{env_id}", **BRIEF)
    check_env(env, warn=False)
    PPO("MultiInputPolicy", env, **LEARNING).learn(32)


@cell("vector", UNMODIFIED)
def learn_side_by_side(env_id: str) -> None:
    envs = make_sb3_env(f"edgecloud_gym:{env_id}", 2, env_kwargs=BRIEF)
    PPO("MultiInputPolicy", envs, **LEARNING).learn(64)


@cell("masked", EXTRA)
def learn_legally(env_id: str) -> None:
    single = SequentialAssignment(gym.make(f"edgecloud_gym:{env_id}", **BRIEF))
    MaskablePPO("MultiInputPolicy", single, **LEARNING).learn(32)
    illegal = []

    def count(step, _):
        illegal.extend(info["invalid_assignments"] for info in step["infos"])
        return True

    envs = make_vec_env(env_id, 2, **BRIEF)
    MaskablePPO(MaskableCandidatePolicy, envs, **LEARNING).learn(200, callback=count)
    assert len(illegal) >= 200
    assert sum(illegal) == 0


@pytest.mark.parametrize("env_id", IDS)
@pytest.mark.parametrize("cell", CELLS, ids=names(CELLS))
def test_stable_baselines3(cell, env_id):
    fill(cell, env_id)
