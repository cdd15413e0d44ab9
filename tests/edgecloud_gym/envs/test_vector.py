"""The native vector environment against `SyncVectorEnv` over single ones, lane by lane."""

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from numpy.testing import assert_array_equal
from numpy.typing import NDArray

from edgecloud_gym import ENV_IDS
from edgecloud_gym.arrivals import Trace
from edgecloud_gym.envs.vector import EdgeCloudVectorEnv
from tests.edgecloud_gym.support import (
    ALL_IDS,
    BRIEF,
    CONTINUOUS,
    LANES,
    OBSERVE,
    STATIC,
    assert_same,
    dataset_of,
    make_vec,
)

VARIANTS: dict[str, dict[str, Any]] = {
    "default": {},
    "waiting": {"work_conserving": False},
    "priority": {"priority": np.linspace(1.0, -1.0, 60)},
    "truncated": {"drain": False, "load": 2.0},
    "terms": {"reward": {"jct": 1.0, "makespan": 0.5, "slo_violations": -3.0}, "slo": 2.0},
    "no edge": {"edge_concurrency": 0},
    "no cloud": {"cloud_concurrency": 0},
}


def synchronous(
    env_id: str = STATIC,
    lanes: int = LANES,
    autoreset_mode: AutoresetMode = AutoresetMode.NEXT_STEP,
    **settings: Any,
) -> SyncVectorEnv:
    def build() -> gym.Env[Any, Any]:
        return gym.make(env_id, **{**BRIEF, **settings}).unwrapped

    return SyncVectorEnv([build] * lanes, autoreset_mode=autoreset_mode)


def assert_equal_runs(
    env: EdgeCloudVectorEnv,
    other: SyncVectorEnv,
    steps: int,
    seed: int | list[int | None] | None = 5,
    between: Callable[[NDArray[np.bool_]], None] | None = None,
) -> int:
    """Steps both with the same random actions; returns how many episodes ended."""
    rng = np.random.default_rng(0)
    assert_same(env.reset(seed=seed), other.reset(seed=seed))
    episodes = 0
    for _ in range(steps):
        actions = rng.integers(0, 3, env.action_space.shape)
        first, second = env.step(actions), other.step(actions)
        assert_same(first, second)
        ended = first[2] | first[3]
        episodes += int(ended.sum())
        if between is not None and ended.any():
            between(ended)
    return episodes


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
@pytest.mark.parametrize("observe", OBSERVE)
@pytest.mark.parametrize("env_id", ALL_IDS)
def test_equals_single_environments(
    env_id: str, observe: str, mode: AutoresetMode, threads: int
) -> None:
    env = make_vec(env_id, observe=observe, autoreset_mode=mode, num_threads=threads)
    other = synchronous(env_id, observe=observe, autoreset_mode=mode)
    assert assert_equal_runs(env, other, steps=250) >= 2 * LANES
    env.close()


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("env_id", [STATIC, CONTINUOUS])
def test_equals_single_environments_whatever_the_settings(env_id: str, variant: str) -> None:
    env = make_vec(env_id, autoreset_mode=AutoresetMode.SAME_STEP, **VARIANTS[variant])
    other = synchronous(env_id, autoreset_mode=AutoresetMode.SAME_STEP, **VARIANTS[variant])
    assert assert_equal_runs(env, other, steps=250) >= LANES


@pytest.mark.parametrize("env_id", ALL_IDS)
def test_disabled_autoreset_with_reset_mask(env_id: str) -> None:
    env = make_vec(env_id, autoreset_mode=AutoresetMode.DISABLED)
    other = synchronous(env_id, autoreset_mode=AutoresetMode.DISABLED)
    seeds = iter(range(1000))

    def reset(ended: NDArray[np.bool_]) -> None:
        seed = [next(seeds), None, next(seeds)]
        first = env.reset(seed=seed, options={"reset_mask": ended})
        assert_same(first, other.reset(seed=seed, options={"reset_mask": ended.copy()}))

    assert assert_equal_runs(env, other, steps=250, between=reset) >= 2 * LANES


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
@pytest.mark.parametrize("drain", [True, False])
def test_episodes_without_arrivals(mode: AutoresetMode, drain: bool) -> None:
    settings = {"arrival_rate": 0.05, "drain": drain}
    env = make_vec(autoreset_mode=mode, **settings)
    other = synchronous(autoreset_mode=mode, **settings)
    assert assert_equal_runs(env, other, steps=60) > 30


def test_spaces_and_metadata_equal_the_synchronous_ones() -> None:
    for env_id in ENV_IDS:
        for observe in OBSERVE:
            env, other = make_vec(env_id, observe=observe), synchronous(env_id, observe=observe)
            for name in ("action_space", "observation_space"):
                assert getattr(env, name) == getattr(other, name)
                assert getattr(env, f"single_{name}") == getattr(other, f"single_{name}")
            observation, _ = env.reset(seed=0)
            assert observation in env.observation_space
            assert env.metadata["autoreset_mode"] == other.metadata["autoreset_mode"]


def test_seeds_may_be_a_list() -> None:
    seeds: list[int | None] = [7, 0, 7]
    env = make_vec()
    assert assert_equal_runs(env, synchronous(), steps=20, seed=seeds) == 0
    observation, _ = env.reset(seed=seeds)
    assert_array_equal(observation["candidates"][0], observation["candidates"][2])
    assert env.np_random_seed == (7, 0, 7)


def test_without_a_seed_lanes_differ_and_go_on() -> None:
    env = make_vec()
    times = [time for _ in range(2) for time in env.reset()[1]["time"]]
    assert len(set(times)) == 2 * LANES


def test_what_step_returns_is_never_written_again() -> None:
    env = make_vec(observe="embedding", num_threads=2)
    kept, copies = [], []
    observation, infos = env.reset(seed=1)
    rng = np.random.default_rng(0)
    for _ in range(60):
        result = (observation, infos)
        kept.append(result)
        copies.append(copied(result))
        observation, rewards, terminations, truncations, infos = env.step(
            rng.integers(0, 3, env.action_space.shape)
        )
        kept.append((rewards, terminations, truncations))
        copies.append(copied((rewards, terminations, truncations)))
    assert_same(kept, copies)


def copied(result: Any) -> Any:
    if isinstance(result, dict):
        return {key: copied(value) for key, value in result.items()}
    if isinstance(result, tuple):
        return tuple(copied(value) for value in result)
    return np.array(result)


def test_what_step_returns_may_be_written_to() -> None:
    env, spoiled = make_vec(autoreset_mode="SameStep"), make_vec(autoreset_mode="SameStep")
    rng = np.random.default_rng(0)
    assert_same(env.reset(seed=1), spoil(spoiled.reset(seed=1)))
    for _ in range(100):
        actions = rng.integers(0, 3, env.action_space.shape)
        assert_same(env.step(actions), spoil(spoiled.step(actions)))


def spoil(result: Any) -> Any:
    """Overwrites every array of a result, after having copied it."""
    kept = deep_copy(result)
    overwrite(result)
    return kept


def deep_copy(result: Any) -> Any:
    if isinstance(result, dict):
        return {key: deep_copy(value) for key, value in result.items()}
    if isinstance(result, tuple):
        return tuple(deep_copy(value) for value in result)
    if isinstance(result, np.ndarray) and result.dtype == object:
        copy = np.empty_like(result)
        for i, value in enumerate(result):
            copy[i] = deep_copy(value)
        return copy
    return result.copy() if isinstance(result, np.ndarray) else result


def overwrite(result: Any) -> None:
    if isinstance(result, dict):
        for value in result.values():
            overwrite(value)
    elif isinstance(result, tuple) or (isinstance(result, np.ndarray) and result.dtype == object):
        for value in result:
            overwrite(value)
    elif isinstance(result, np.ndarray):
        result[...] = 1


def test_inactive_lanes_stand_still() -> None:
    env = make_vec(work_conserving=False)
    observation, infos = env.reset(seed=2)
    actions = np.ones(env.action_space.shape, np.int64)
    active = np.array([True, False, True])
    for _ in range(5):
        after, rewards, terminations, truncations, later = env.step_active(actions, active)
        for name in ("candidates", "edge", "cloud", "embeddings"):
            assert_array_equal(after[name][1], observation[name][1])
        assert_array_equal(later["action_mask"][1], infos["action_mask"][1])
        assert later["time"][1] == infos["time"][1]
        assert later["elapsed"][1] == rewards[1] == 0.0
        assert not (terminations | truncations)[1]
        assert (later["time"][active] > 0.0).all()


def test_a_lane_that_ended_is_restarted_when_it_steps_again() -> None:
    env = make_vec(dataset=dataset_of([1.0]), observe="id", arrivals=Trace([0.0]))
    env.reset(seed=0)
    actions = np.zeros(env.action_space.shape, np.int64)
    everyone = np.ones(LANES, np.bool_)
    _, _, terminations, _, _ = env.step_active(actions, everyone)
    assert terminations.all()
    _, _, terminations, _, _ = env.step_active(actions, np.array([True, False, False]))
    assert not terminations.any()
    _, _, terminations, _, infos = env.step_active(actions, everyone)
    assert terminations.tolist() == [True, False, False]
    assert infos["queue_length"].tolist() == [0, 1, 1]


def test_the_number_of_threads_changes_nothing() -> None:
    one, three = make_vec(lanes=7, num_threads=1), make_vec(lanes=7, num_threads=3)
    rng = np.random.default_rng(0)
    assert_same(one.reset(seed=3), three.reset(seed=3))
    for _ in range(60):
        actions = rng.integers(0, 3, one.action_space.shape)
        assert_same(one.step(actions), three.step(actions))
    three.close()


def test_records_of_a_lane() -> None:
    env = make_vec(lanes=2, autoreset_mode=AutoresetMode.DISABLED)
    single = gym.make(STATIC, **BRIEF).unwrapped
    env.reset(seed=4)
    single.reset(seed=5)
    rng = np.random.default_rng(0)
    for _ in range(10):
        actions = rng.integers(0, 3, env.action_space.shape)
        env.step(actions)
        single.step(actions[1])
        assert_array_equal(env.completions(1), single.completions())
    assert env.request_log(1).equals(single.request_log())
    assert env.telemetry(1).equals(single.telemetry())
    assert_array_equal(env.action_masks()[1], single.action_masks())


def test_masks_and_actions_may_be_strided_or_read_only() -> None:
    """Compiled code takes arrays for contiguous: what users hand over is made so."""
    plain, other = make_vec(lanes=4), make_vec(lanes=4)
    for env in (plain, other):
        env.reset(seed=0)
    mask = np.array([True, False, False, True])
    strided = np.repeat(mask, 3)[::3]
    actions = np.random.default_rng(0).integers(0, 3, (4, 5))
    wide = np.repeat(actions.astype(np.int16), 2, axis=1)[:, ::2]
    wide.setflags(write=False)
    assert not strided.flags.c_contiguous
    assert_same(plain.step_active(actions, mask), other.step_active(wide, strided))
    seeds = list(range(7, 11))
    assert_same(
        plain.reset(seed=seeds, options={"reset_mask": mask}),
        other.reset(seed=seeds, options={"reset_mask": strided}),
    )
    assert_same(plain.step(np.asfortranarray(actions)), other.step(actions))
