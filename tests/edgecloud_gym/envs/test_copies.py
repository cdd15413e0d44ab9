"""Copies, forks and words: what a user does to an environment beside stepping it."""

import copy
import multiprocessing
import pickle
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from tests.edgecloud_gym.support import ALL_IDS, STATIC, toy_dataset

LANES = 130


def make(env_id: str = STATIC, **settings: Any) -> gym.Env[Any, Any]:
    return gym.make(env_id, dataset=toy_dataset(), duration=30.0, **settings)


def make_vec(**settings: Any) -> gym.vector.VectorEnv[Any, Any, Any]:
    settings = {"dataset": toy_dataset(), "duration": 30.0, "num_threads": 2, **settings}
    return gym.make_vec(STATIC, LANES, **settings)


def rewards(env: Any, steps: int = 20) -> list[Any]:
    action = np.zeros(env.action_space.shape, np.int64)
    return [np.asarray(env.step(action)[1]).tolist() for _ in range(steps)]


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))])
@pytest.mark.parametrize("env_id", ALL_IDS)
def test_a_copy_goes_on_alike_and_apart_after_a_frame_was_drawn(
    env_id: str, duplicate: Any
) -> None:
    env = make(env_id, render_mode="rgb_array")
    env.reset(seed=0)
    rewards(env, 5)
    frame = env.render()
    twin = duplicate(env)
    assert np.array_equal(twin.render(), frame)
    ahead = rewards(twin)
    assert rewards(env) == ahead


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))])
def test_a_copy_of_a_vector_environment_has_threads_of_its_own(duplicate: Any) -> None:
    env = make_vec(render_mode="ansi")
    env.reset(seed=0)
    rewards(env, 3)
    twin = duplicate(env)
    ahead = rewards(twin)
    twin.close()
    assert rewards(env) == ahead
    env.close()


def in_a_fork(env: Any, results: Any) -> None:
    results.put(rewards(env, 3))


@pytest.mark.skipif(
    "fork" not in multiprocessing.get_all_start_methods(), reason="this system has no fork"
)
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_forked_process_steps_what_its_parent_has_stepped() -> None:
    env = make_vec()
    env.reset(seed=0)
    rewards(env, 2)
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    process = context.Process(target=in_a_fork, args=(env, results), daemon=True)
    process.start()
    forked = results.get(timeout=60)
    process.join(timeout=60)
    assert process.exitcode == 0
    assert rewards(env, 3) == forked
    env.close()


def test_reprs_tell_what_was_set() -> None:
    env = gym.make(STATIC, load=0.8, duration=60.0)
    assert repr(env.unwrapped) == "StaticBatchingEnv(load=0.8, duration=60.0)"
    envs = gym.make_vec(STATIC, 3, load=0.8, priority=np.zeros(1024))
    assert repr(envs).startswith("StaticBatchingVectorEnv(num_envs=3, load=0.8, priority=array([0.")
    assert len(repr(envs)) < 150


@pytest.mark.parametrize("options", [{"reset_mask": np.ones(1, bool)}, {"load": 0.5}])
def test_a_single_environment_has_no_reset_options(options: dict[str, Any]) -> None:
    env = make()
    env.reset(seed=0, options={})
    with pytest.raises(ValueError, match="there are none"):
        env.unwrapped.reset(options=options)
