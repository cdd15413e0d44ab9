"""The terminal info tells the episode's summary, whatever resets the lanes."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

from tests.edgecloud_gym.support import ALL_IDS, STATIC, toy_dataset

SETTINGS = {"duration": 6.0, "load": 0.8}
LANES = 3


def settings() -> dict[str, Any]:
    return {"dataset": toy_dataset(), **SETTINGS}


def play(env: Any, seed: int) -> dict[str, Any]:
    """Plays an episode to its end; returns the last info."""
    env.reset(seed=seed)
    done = False
    while not done:
        _, _, terminated, truncated, info = env.step(np.zeros(32, np.int64))
        done = terminated or truncated
        assert ("summary" in info) == done
    return dict(info)


@pytest.mark.parametrize("drain", [True, False])
@pytest.mark.parametrize("env_id", ALL_IDS)
def test_single(env_id: str, drain: bool) -> None:
    env = gym.make(env_id, drain=drain, **settings())
    info = play(env, 0)
    np.testing.assert_equal(info["summary"], env.unwrapped.summary())
    assert info["summary"]["arrived"] > 0


@pytest.mark.parametrize("mode", list(AutoresetMode))
@pytest.mark.parametrize("env_id", ALL_IDS)
def test_vector_environments_tell_what_single_ones_do(env_id: str, mode: AutoresetMode) -> None:
    vectors = [
        gym.make_vec(env_id, LANES, autoreset_mode=mode, **settings()),
        gym.make_vec(
            env_id,
            LANES,
            vectorization_mode="sync",
            vector_kwargs={"autoreset_mode": mode},
            **settings(),
        ),
    ]
    results: list[list[Any]] = [[], []]
    for vector, collected in zip(vectors, results, strict=True):
        vector.reset(seed=7)
        for _ in range(200):
            _, _, terminations, truncations, infos = vector.step(np.zeros((LANES, 32), np.int64))
            told = infos.get("final_info", infos) if mode is AutoresetMode.SAME_STEP else infos
            ended = terminations | truncations
            assert ended.any() == ("summary" in told)
            collected.append((terminations, truncations, told.get("summary"), told.get("_summary")))
            if mode is AutoresetMode.DISABLED and ended.any():
                vector.reset(options={"reset_mask": ended})
    np.testing.assert_equal(results[0], results[1])
    assert any(summary is not None for _, _, summary, _ in results[0])


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_step_limits_are_those_of_the_single_environment(mode: AutoresetMode) -> None:
    vectors = [
        gym.make_vec(STATIC, LANES, max_episode_steps=5, autoreset_mode=mode, **settings()),
        gym.make_vec(
            STATIC,
            LANES,
            vectorization_mode="sync",
            vector_kwargs={"autoreset_mode": mode},
            max_episode_steps=5,
            **settings(),
        ),
    ]
    ends: list[list[Any]] = [[], []]
    for vector, found in zip(vectors, ends, strict=True):
        vector.reset(seed=7)
        for _ in range(17):
            _, _, terminations, truncations, _ = vector.step(np.zeros((LANES, 32), np.int64))
            found.append((terminations.tolist(), truncations.tolist()))
            ended = terminations | truncations
            if mode is AutoresetMode.DISABLED and ended.any():
                vector.reset(options={"reset_mask": ended})
    assert ends[0] == ends[1]
    assert ends[0][4] == ([False] * LANES, [True] * LANES)
