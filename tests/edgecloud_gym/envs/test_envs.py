"""The environments as Gymnasium and Stable-Baselines3 want them."""

import copy
import pickle
import warnings
from typing import Any

import gymnasium as gym
import numba
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env
from numpy.testing import assert_allclose
from numpy.typing import NDArray

from edgecloud_gym import ENV_IDS
from edgecloud_gym.envs.base import EdgeCloudEnv
from tests.edgecloud_gym.support import (
    ALL_IDS,
    CONTINUOUS,
    OBSERVE,
    STATIC,
    TIME_SERIES,
    assert_same,
    at_random,
    make,
    play,
    wait,
)

VARIANTS: dict[str, dict[str, Any]] = {
    "embedding": {},
    "full width": {"embedding_dim": None},
    "id": {"observe": "id"},
    "no edge": {"edge_concurrency": 0},
    "no cloud": {"cloud_concurrency": 0},
    "array": {"priority": np.linspace(1.0, 0.0, 60)},
    "callable": {"priority": lambda embeddings: embeddings[:, 0], "observe": "id"},
    "makespan": {"reward": {"jct": 1.0, "makespan": 1.0}},
    "all terms": {
        "reward": {"completed": 1.0, "cloud_seconds": -0.1, "slo_violations": -1.0},
        "slo": 2.0,
    },
    "waiting": {"work_conserving": False, "drain": False},
}
INFO_TYPES = {
    "time": float,
    "elapsed": float,
    "queue_length": int,
    "in_service": int,
    "completed_total": int,
    "arrivals": int,
    "services_ended": int,
    "invalid_assignments": int,
    "forced_dispatches": int,
    "jct": float,
    "completed": int,
    "cloud_seconds": float,
    "slo_violations": int,
    "action_mask": np.ndarray,
}


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("env_id", ALL_IDS)
def test_gymnasium_check_env(env_id: str, variant: str) -> None:
    check_env(make(env_id, **VARIANTS[variant]), skip_render_check=True)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("env_id", ALL_IDS)
def test_stable_baselines3_check_env(env_id: str, variant: str) -> None:
    checker = pytest.importorskip("stable_baselines3.common.env_checker")
    with warnings.catch_warnings():
        # Two-dimensional keys stay: our policies read them.
        note = "Your observation .* has an unconventional shape"
        warnings.filterwarnings("ignore", note, UserWarning)
        checker.check_env(make(env_id, **VARIANTS[variant]), skip_render_check=True)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("env_id", ALL_IDS)
def test_results_have_the_same_form_at_every_step(env_id: str, variant: str) -> None:
    env = make(env_id, **VARIANTS[variant])
    types = dict(INFO_TYPES)
    if variant == "makespan":
        types["makespan"] = float
    observation, info = env.reset(seed=0)
    policy, done = at_random(0), False
    while not done:
        assert observation in env.observation_space
        assert {key: type(value) for key, value in info.items()} == types
        assert info["action_mask"].dtype == np.int8
        assert info["action_mask"].shape == (32, 1 + len(env.config.nodes))
        observation, reward, terminated, truncated, info = env.step(policy(observation, info))
        assert type(reward) is float
        assert type(terminated) is type(truncated) is bool
        done = terminated or truncated


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("env_id", ALL_IDS)
def test_what_step_returns_is_never_written_again(env_id: str, variant: str) -> None:
    env = make(env_id, **VARIANTS[variant])
    kept, copies = [], []
    observation, info = env.reset(seed=0)
    policy, done = at_random(0), False
    while not done:
        kept.append((observation, info))
        copies.append(copy.deepcopy((observation, info)))
        observation, _, terminated, truncated, info = env.step(policy(observation, info))
        done = terminated or truncated
    assert_same(kept, copies)


@pytest.mark.parametrize("env_id", ALL_IDS)
def test_what_step_returns_may_be_written_to(env_id: str) -> None:
    clean, spoiled = (make(env_id, priority=np.linspace(1.0, 0.0, 60)) for _ in range(2))
    expected, actual = clean.reset(seed=0), spoiled.reset(seed=0)
    policy, done = at_random(0), False
    while not done:
        action = policy(*expected[:2])
        assert_same(expected, actual)
        overwrite(actual[0])
        overwrite(actual[-1])
        spoiled.completions()[...] = 0
        spoiled.action_masks()[...] = True
        log = spoiled.request_log()
        log.iloc[:, 1:5] = 7
        expected, actual = clean.step(action), spoiled.step(action)
        done = expected[2] or expected[3]
    assert clean.request_log().equals(spoiled.request_log())


def overwrite(arrays: dict[str, Any]) -> None:
    for value in arrays.values():
        if isinstance(value, np.ndarray):
            value[...] = 1


def test_makespan_is_shown_only_where_it_is_rewarded() -> None:
    """It tells how long what was just dispatched will run."""
    assert "makespan" not in make(STATIC).reset(seed=0)[1]
    assert "makespan" in make(STATIC, reward="makespan").reset(seed=0)[1]


def test_reward_is_the_weighted_sum_of_the_terms() -> None:
    weights = {"jct": 0.5, "makespan": 2.0, "completed": 3.0, "cloud_seconds": -1.0}
    env = make(CONTINUOUS, reward={**weights, "slo_violations": -7.0}, slo=1.0)
    weights["slo_violations"] = -7.0
    episode = play(env, at_random(1))
    assert episode.total("slo_violations") > 0
    for reward, info in zip(episode.rewards, episode.infos[1:], strict=True):
        assert_allclose(reward, sum(weights[term] * info[term] for term in weights), atol=1e-12)


def test_makespan_of_static_batches_is_exact() -> None:
    env = make(STATIC, reward="makespan", edge_concurrency=2)
    episode = play(env, at_random(0))
    longest = env.request_log().groupby("start_time").processing_time.max().to_numpy()
    moments: dict[float, float] = {}
    for before, info in zip(episode.infos[:-1], episode.infos[1:], strict=True):
        moments[before["time"]] = max(moments.get(before["time"], 0.0), -info["makespan"])
    assert_allclose([value for value in moments.values() if value > 0.0], longest, rtol=1e-9)


@pytest.mark.parametrize("env_id", ALL_IDS)
def test_step_needs_a_reset(env_id: str) -> None:
    for env in (gym.make(env_id, **make(env_id).spec.kwargs), make(env_id)):
        action = np.zeros(32, np.int64)
        with pytest.raises(ResetNeeded):
            env.step(action)
        play(env, wait)
        with pytest.raises(ResetNeeded, match="ended"):
            env.step(action)
        env.reset()
        env.step(action)


@pytest.mark.parametrize(
    ("action", "error", "message"),
    [
        (np.zeros(31, np.int64), ValueError, r"shape \(31,\).*\(32,\)"),
        (np.zeros((1, 32), np.int64), ValueError, r"shape \(1, 32\).*\(32,\)"),
        (1, ValueError, r"shape \(\).*\(32,\)"),
        (np.zeros(32), TypeError, "float64.*integers"),
        (np.zeros(32, np.bool_), TypeError, "bool.*integers"),
        (["edge"] * 32, TypeError, "integers"),
        (np.full(32, 3), ValueError, "0 .wait., 1 .edge. or 2 .cloud."),
        (np.full(32, -1), ValueError, "0 .wait., 1 .edge. or 2 .cloud."),
        (np.full(32, 2**64 - 1, np.uint64), ValueError, "0 .wait., 1 .edge. or 2 .cloud."),
    ],
)
def test_bad_actions(action: Any, error: type[Exception], message: str) -> None:
    env = make(STATIC)
    before = env.reset(seed=0)
    with pytest.raises(error, match=message):
        env.step(action)
    assert_same(env.step(np.zeros(32, np.int64)), step_after_reset(before))


def step_after_reset(before: Any) -> Any:
    env = make(STATIC)
    assert_same(env.reset(seed=0), before)
    return env.step(np.zeros(32, np.int64))


@pytest.mark.parametrize("dtype", [np.int8, np.int32, np.uint8, np.int64, ">i4"])
def test_any_integer_dtype_is_an_action(dtype: Any) -> None:
    expected = play(make(STATIC), at_random(0))
    policy = at_random(0)
    actual = play(make(STATIC), lambda *seen: policy(*seen).astype(dtype))
    assert_same(expected.infos, actual.infos)


def test_actions_may_be_read_only_or_strided() -> None:
    def act(*_: Any) -> NDArray[np.int64]:
        return np.broadcast_to(np.int64(1), (32,))

    def strided(*_: Any) -> NDArray[np.int64]:
        return np.ones(64, np.int64)[::2]

    assert_same(play(make(STATIC), act).infos, play(make(STATIC), strided).infos)


def test_everything_runs_the_same_machine_code() -> None:
    """A second compilation would cost a user half a minute in the middle of something."""
    from edgecloud_gym.simulator.compiled.events import step_lanes

    for env_id in ENV_IDS:
        for variant in VARIANTS.values():
            play(make(env_id, edge_slowdown=np.ones(8), duration=3.0, **variant))
            play(make(env_id, edge_slowdown="measured", duration=3.0, **variant))
    env = gym.make_vec(TIME_SERIES, num_envs=2, dataset=make().dataset, num_threads=2)
    env.reset(seed=0)
    env.step(np.broadcast_to(np.int64(1), (2, 32)))
    env.close()
    # Neither engines nor queues at nodes, which clusters may have.
    pairs = [types for types in step_lanes.signatures if types.count(numba.types.none) == 2]
    assert len(pairs) == 1


@pytest.mark.parametrize("env_id", ALL_IDS)
@pytest.mark.parametrize("clone", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))])
def test_an_environment_can_be_copied_in_mid_episode(env_id: str, clone: Any) -> None:
    """As tree search does."""
    env = make(env_id)
    observation, info = env.reset(seed=0)
    policy = at_random(0)
    for _ in range(10):
        observation, _, _, _, info = env.step(policy(observation, info))
    twin: EdgeCloudEnv = clone(env)
    actions = [policy(observation, info) for _ in range(15)]
    assert_same([env.step(action) for action in actions], [twin.step(action) for action in actions])
    assert env.request_log().equals(twin.request_log())
    assert_same(env.reset(), twin.reset())


def test_history_is_for_time_series() -> None:
    assert "history" not in make(STATIC).observation_space.spaces  # type: ignore[attr-defined]
    assert make(TIME_SERIES).observation_space["history"].shape == (60, 5)  # type: ignore[index]
    space = make(TIME_SERIES, history_length=7).observation_space
    assert space["history"].shape == (7, 5)  # type: ignore[index]


@pytest.mark.parametrize("observe", OBSERVE)
def test_an_absent_side_has_no_key(observe: str) -> None:
    for side in ("edge", "cloud"):
        env = make(STATIC, observe=observe, **{f"{side}_concurrency": 0})
        observation, info = env.reset(seed=0)
        assert side not in observation
        column = 1 if side == "edge" else 2
        assert not info["action_mask"][:, column].any()
        _, _, _, _, info = env.step(np.full(32, column))
        assert info["invalid_assignments"] == 32


def test_set_priority_takes_effect_at_the_next_reset() -> None:
    env = make(STATIC)
    env.reset(seed=0)
    env.set_priority(np.linspace(1.0, 0.0, 60))
    with pytest.raises(ResetNeeded):
        env.step(np.zeros(32, np.int64))
    expected = play(make(STATIC, priority=np.linspace(1.0, 0.0, 60)), wait)
    assert_same(play(env, wait).infos, expected.infos)
