"""A team of threads: the same steps as one thread, whoever is late, and threads that end."""

import gc
import os
import threading
import time

import gymnasium as gym
import numpy as np
import pytest

from edgecloud_gym.envs.vector import EdgeCloudVectorEnv
from edgecloud_gym.simulator.team import rounds

LANES = 150


def make(threads: int) -> EdgeCloudVectorEnv:
    env = gym.make_vec("EdgeCloud-Static-v0", LANES, num_threads=threads, duration=60.0)
    env.reset(seed=0)
    assert isinstance(env, EdgeCloudVectorEnv)
    return env


def play(env: EdgeCloudVectorEnv, steps: int, pause: float = 0.0) -> list[bytes]:
    rng = np.random.default_rng(0)
    played = []
    for _ in range(steps):
        time.sleep(pause)
        actions = rng.integers(0, 3, (LANES, env.config.candidate_pool_size))
        observation, rewards, *_ = env.step(actions)
        played += [rewards.tobytes(), *(part.tobytes() for part in observation.values())]
    return played


def followers() -> set[threading.Thread]:
    return {t for t in threading.enumerate() if t.name.startswith("edgecloud-lanes")}


@pytest.mark.parametrize("pause", [0.0, 0.003], ids=["awake", "asleep"])
def test_steps_are_those_of_one_thread(pause: float) -> None:
    """More threads than cores as well, of which some always come late."""
    alone = play(make(1), 20)
    for threads in (2, 5):
        env = make(threads)
        assert play(env, 20, pause) == alone
        env.close()


def test_a_team_at_rest_burns_nothing() -> None:
    env = make(2)
    play(env, 1)
    time.sleep(0.05)
    before = time.process_time()
    time.sleep(0.3)
    assert time.process_time() - before < 0.05
    env.close()


@pytest.mark.parametrize("closed", [True, False], ids=["closed", "forgotten"])
def test_threads_end_with_their_environment(closed: bool) -> None:
    before = followers()
    env = make(3)
    play(env, 2)
    assert len(followers() - before) == 2
    if closed:
        env.close()
    del env
    gc.collect()
    assert followers() <= before


def test_a_team_that_is_dismissed_in_a_round_keeps_its_locks_until_the_round_is_over() -> None:
    """As when the interpreter ends while a daemon thread steps."""
    env = make(2)
    play(env, 1)
    team = env._team
    assert team is not None
    team._team[rounds.GATE] += rounds.OPEN  # a leader is in a round
    ending = threading.Thread(target=team.close)
    ending.start()
    ending.join(0.05)
    assert ending.is_alive()
    team._team[rounds.GATE] -= rounds.OPEN
    ending.join(60)
    assert not ending.is_alive()
    play(env, 1)  # nobody follows any more


@pytest.mark.skipif(not hasattr(os, "fork"), reason="fork() is Unix's")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_process_has_threads_of_its_own() -> None:
    alone = play(make(1), 10)
    env = make(2)
    assert play(env, 5) == alone[: len(alone) // 2]
    rng = np.random.default_rng(0)
    rng.integers(0, 3, (5, LANES, env.config.candidate_pool_size))
    actions = rng.integers(0, 3, (LANES, env.config.candidate_pool_size))
    child = os.fork()
    if child == 0:
        _, rewards, *_ = env.step(actions)
        os._exit(0 if rewards.tobytes() in alone else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    env.close()
