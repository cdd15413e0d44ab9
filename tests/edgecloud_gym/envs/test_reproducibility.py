"""Same seed, same bits; and the same requests whatever the agent does."""

import subprocess
import sys
import textwrap
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from tests.edgecloud_gym.support import (
    ALL_IDS,
    STATIC,
    assert_same,
    at_random,
    make,
    play,
    toy_dataset,
    wait,
)


@pytest.mark.parametrize("env_id", ALL_IDS)
def test_same_seed_same_bits(env_id: str) -> None:
    first, second = (play(make(env_id), at_random(3), seed=11) for _ in range(2))
    assert_same(first.observations, second.observations)
    assert_same(first.infos, second.infos)
    assert_same(first.rewards, second.rewards)


@pytest.mark.parametrize("env_id", ALL_IDS)
def test_a_seed_starts_over_in_the_middle_of_anything(env_id: str) -> None:
    env = make(env_id)
    expected = play(env, at_random(0), seed=5)
    env.reset(seed=77)
    env.step(np.ones(32, np.int64))
    assert_same(play(env, at_random(0), seed=5).observations, expected.observations)


def test_seed_zero_is_a_seed() -> None:
    env = make(STATIC)
    times = {env.reset(seed=0)[1]["time"] for _ in range(3)}
    assert len(times) == 1


def test_seeds_and_episodes_differ() -> None:
    env = make(STATIC)
    times = [env.reset(seed=seed)[1]["time"] for seed in range(10)]
    times += [env.reset()[1]["time"] for _ in range(10)]
    assert len(set(times)) == 20


@pytest.mark.parametrize("env_id", ALL_IDS)
def test_every_agent_meets_the_same_requests(env_id: str) -> None:
    env = make(env_id, work_conserving=False)
    columns = ["arrival_time", "prompt_row"]
    logs = []
    for policy in (wait, at_random(0), at_random(1, (0.0, 1.0, 0.0))):
        for episode in range(2):
            play(env, policy, seed=4 if episode == 0 else None)
        logs.append(env.request_log()[columns])
    assert logs[0].equals(logs[1])
    assert logs[0].equals(logs[2])


def test_observing_differently_changes_no_request() -> None:
    expected = play(make(STATIC), wait).infos
    for settings in ({"observe": "id"}, {"embedding_dim": None}, {"embedding_dim": 2}):
        assert_same(play(make(STATIC, **settings), wait).infos, expected)


def test_in_a_subprocess_by_its_full_name() -> None:
    settings = {"dataset": toy_dataset(), "duration": 10.0, "candidate_pool_size": 4}
    env_id = f"edgecloud_gym:{STATIC}"
    sync = gym.make_vec(env_id, num_envs=2, vectorization_mode="sync", **settings)
    parallel = gym.make_vec(env_id, 2, "async", {"context": "spawn"}, **settings)
    try:
        assert_same(parallel.reset(seed=0), sync.reset(seed=0))
        for _ in range(5):
            actions = np.ones(sync.action_space.shape, np.int64)
            assert_same(as_dict(parallel.step(actions)), as_dict(sync.step(actions)))
    finally:
        parallel.close()


def as_dict(result: Any) -> dict[str, Any]:
    observations, rewards, terminations, truncations, infos = result
    return {
        "observations": observations,
        "rewards": rewards.tolist(),
        "ends": [np.asarray(flags).tolist() for flags in (terminations, truncations)],
        "infos": infos,
    }


def test_another_process_draws_the_same() -> None:
    script = """
        import gymnasium
        from tests.edgecloud_gym.support import *
        episode = play(make(STATIC), at_random(0), seed=9)
        print(repr(sum(episode.rewards)))
    """
    output = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=True
    ).stdout
    assert output.strip() == repr(sum(play(make(STATIC), at_random(0), seed=9).rewards))
