"""The action wrappers: exact masks, progress, and the same behaviour single and vectorised."""

import warnings
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from stable_baselines3.common.env_checker import check_env as check_env_sb3

from edgecloud_gym import CLUSTER_ID, ENV_IDS, RequestDataset, wrappers
from tests.edgecloud_gym.support import ALL_IDS, CONTINUOUS, STATIC, applicable, toy_dataset

SMALL = {"candidate_pool_size": 5, "duration": 30.0, "edge_concurrency": 2, "cloud_concurrency": 2}
WRAPPERS = ("SequentialAssignment", "PriorityAction")


@pytest.fixture(scope="module")
def dataset() -> RequestDataset:
    return toy_dataset()


def make(env_id: str, dataset: RequestDataset, wrapper: str, **settings: Any) -> gym.Env:
    env = gym.make(env_id, dataset=dataset, **applicable(env_id, {**SMALL, **settings}))
    return getattr(wrappers, wrapper)(env)


def make_vec(
    env_id: str, dataset: RequestDataset, wrapper: str, lanes: int, mode: AutoresetMode, **settings
) -> gym.vector.VectorEnv:
    envs = gym.make_vec(
        env_id,
        lanes,
        autoreset_mode=mode,
        dataset=dataset,
        **applicable(env_id, {**SMALL, **settings}),
    )
    return getattr(wrappers.vector, wrapper)(envs)


@pytest.mark.parametrize("wrapper", WRAPPERS)
@pytest.mark.parametrize("env_id", ALL_IDS)
@pytest.mark.parametrize("observe", ["embedding", "id"])
def test_checkers_have_no_complaint(dataset, env_id, wrapper, observe):
    env = make(env_id, dataset, wrapper, observe=observe)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # Gymnasium notes that there is a wrapper: it is what we check.
        warnings.filterwarnings("ignore", message=".*has a wrapper applied to it")
        check_env(env, skip_render_check=True)
        # Two-dimensional keys are meant: agents.policies reads them.
        warnings.filterwarnings("ignore", message=".*neither an image, nor a 1D vector")
        check_env_sb3(env)


def play(env: gym.Env, seed: int, legal: bool = True) -> list[tuple]:
    """Plays an episode at random, checking the masks; returns what each step gave."""
    rng = np.random.default_rng(seed)
    observation, info = env.reset(seed=seed)
    steps = []
    ended = False
    while not ended:
        mask = info["action_mask"]
        assert mask.any()
        assert mask.dtype == np.int8
        np.testing.assert_array_equal(env.action_masks(), mask == 1)
        choices = np.flatnonzero(mask) if legal else np.arange(len(mask))
        step = env.step(rng.choice(choices))
        observation, _, terminated, truncated, info = step
        assert observation in env.observation_space
        steps.append(step)
        ended = terminated or truncated
    return steps


@pytest.mark.parametrize("env_id", ALL_IDS)
@pytest.mark.parametrize("allow_stop", [False, True])
@pytest.mark.parametrize("work_conserving", [False, True])
def test_legal_choices_are_never_repaired(dataset, env_id, allow_stop, work_conserving):
    settings = applicable(env_id, SMALL)
    env = gym.make(env_id, dataset=dataset, work_conserving=work_conserving, **settings)
    env = wrappers.SequentialAssignment(env, allow_stop=allow_stop)
    for seed in range(3):
        steps = play(env, seed)
        log = env.unwrapped.request_log()
        assert sum(info["invalid_assignments"] for *_, info in steps) == 0
        assert np.isclose(sum(step[1] for step in steps), -log["jct"].sum())
        np.testing.assert_array_equal(steps[-1][4]["action_mask"][:-1], 0)
        assert steps[-1][4]["action_mask"][-1] == 1


@pytest.mark.parametrize("env_id", ENV_IDS)
def test_masks_are_exact(dataset, env_id):
    """A choice is legal exactly if the environment would carry it out beside those made."""
    env = make(env_id, dataset, "SequentialAssignment", load=3.0, work_conserving=False)
    config = env.unwrapped.config
    batch = 1 if config.batching == "continuous" else config.edge_batch_capacity
    observation, info = env.reset(seed=1)
    rng = np.random.default_rng(1)
    for _ in range(300):
        picks = observation["assigned"]
        edge = batch * int((observation["edge"][:, 0] == 0).sum()) - picks[:, 0].sum()
        cloud = int((observation["cloud"][:, 0] == 0).sum()) - picks[:, 1].sum()
        waiting = (observation["candidates"][:, 0] == 1) & (picks.sum(axis=1) == 0)
        expected = np.stack([waiting & (edge > 0), waiting & (cloud > 0)], axis=1).ravel()
        np.testing.assert_array_equal(info["action_mask"][:-1], expected)
        assert info["action_mask"][-1] == (not expected.any())
        np.testing.assert_allclose(
            observation["remaining"],
            [edge / (config.edge_concurrency * batch), cloud / config.cloud_concurrency],
        )
        observation, _, terminated, _, info = env.step(rng.choice(np.flatnonzero(expected)))
        if terminated:
            observation, info = env.reset()


def test_no_time_passes_within_a_decision(dataset):
    env = make(STATIC, dataset, "SequentialAssignment", load=3.0, duration=5.0)
    _, before = env.reset(seed=0)
    terminated = False
    held = 0
    while not terminated:
        choice = np.flatnonzero(before["action_mask"])[0]
        observation, reward, terminated, _, info = env.step(choice)
        if observation["assigned"].any():
            held += 1
            assert reward == 0.0
            assert info["elapsed"] == 0.0
            assert info["time"] == before["time"]
            assert info["completed"] == 0
            assert len(env.unwrapped.completions()) == 0
        before = info
    assert held > 10


@pytest.mark.parametrize("env_id", ENV_IDS)
def test_in_arrival_order_it_is_the_plain_environment(dataset, env_id):
    """Filling the edge first and then the cloud is what a work-conserving environment does."""
    env = make(env_id, dataset, "SequentialAssignment")
    _, info = env.reset(seed=4)
    ended = False
    while not ended:
        nodes = info["action_mask"][:-1].reshape(-1, 2)
        node = 0 if nodes[:, 0].any() else 1
        candidate = np.argmax(nodes[:, node])
        *_, ended, _, info = env.step(2 * candidate + node)
    plain = gym.make(env_id, dataset=dataset, **SMALL)
    plain.reset(seed=4)
    ended = False
    while not ended:
        *_, ended, _, _ = plain.step(np.zeros(5, np.int64))
    assert env.unwrapped.request_log().equals(plain.unwrapped.request_log())


@pytest.mark.parametrize("work_conserving", [False, True])
def test_illegal_choices_are_counted_and_the_episode_ends(dataset, work_conserving):
    env = make(
        CONTINUOUS,
        dataset,
        "SequentialAssignment",
        work_conserving=work_conserving,
    )
    steps = play(env, 3, legal=False)
    assert sum(info["invalid_assignments"] for *_, info in steps) > 0
    log = env.unwrapped.request_log()
    assert log["completion_time"].notna().all()
    assert len(log) > 0


def test_an_illegal_choice_ends_the_decision(dataset):
    env = make(STATIC, dataset, "SequentialAssignment", load=3.0)
    _, info = env.reset(seed=0)
    stop = env.action_space.n - 1
    assert info["action_mask"][stop] == 0
    *_, info = env.step(stop)
    assert info["invalid_assignments"] == 1
    assert info["in_service"] > 0  # the work-conserving environment filled the idle slots


@pytest.mark.parametrize("absent", ["edge", "cloud"])
@pytest.mark.parametrize("env_id", [STATIC, CONTINUOUS])
def test_one_side_may_be_absent(dataset, env_id, absent):
    env = make(env_id, dataset, "SequentialAssignment", **{f"{absent}_concurrency": 0})
    steps = play(env, 0)
    node = 0 if absent == "edge" else 1
    for observation, _, _, _, info in steps:
        assert observation["remaining"][node] == 0.0
        assert not info["action_mask"][node:-1:2].any()
        assert info["invalid_assignments"] == 0


def test_stopping_leaves_the_rest_waiting(dataset):
    env = gym.make(STATIC, dataset=dataset, work_conserving=False, **SMALL)
    env = wrappers.SequentialAssignment(env, allow_stop=True)
    _, info = env.reset(seed=0)
    *_, info = env.step(env.action_space.n - 1)
    assert info["invalid_assignments"] == 0
    assert info["in_service"] == 0
    assert info["elapsed"] > 0.0


def test_scores_rank_the_candidates(dataset):
    env = make(STATIC, dataset, "PriorityAction", load=5.0, edge_batch_capacity=2)
    observation, _ = env.reset(seed=0)
    while observation["candidates"][:, 0].sum() < 5 or observation["edge"][:, 0].sum() < 2:
        observation, *_ = env.step(np.zeros(5, np.float32))
    # Both edge batches are busy: only cloud slots can be free.
    free = int((observation["cloud"][:, 0] == 0).sum())
    scores = np.array([0.5, -1.0, 0.0, 0.5, -0.5], np.float32)
    action = env.action(scores)
    lowest = np.argsort(scores, kind="stable")[:free]
    np.testing.assert_array_equal(np.flatnonzero(action == 2), np.sort(lowest))
    np.testing.assert_array_equal(action[action != 2], 0)


def assert_same(one: Any, other: Any) -> None:
    """Compares nested tuples, dicts and arrays, bit by bit."""
    if isinstance(one, tuple):
        for a, b in zip(one, other, strict=True):
            assert_same(a, b)
    elif isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_same(one[key], other[key])
    elif isinstance(one, np.ndarray) and one.dtype.hasobject:
        for a, b in zip(one, other, strict=True):
            assert (a is None) == (b is None)
            if a is not None:
                assert_same(a, b)
    else:
        np.testing.assert_array_equal(one, other)
        assert np.asarray(one).dtype == np.asarray(other).dtype


@pytest.mark.parametrize("wrapper", WRAPPERS)
@pytest.mark.parametrize("mode", list(AutoresetMode))
@pytest.mark.parametrize("env_id", [STATIC, CONTINUOUS, CLUSTER_ID])
@pytest.mark.parametrize("drain", [False, True])
def test_lanes_are_single_environments(dataset, env_id, wrapper, mode, drain):
    settings = {"duration": 8.0, "drain": drain, "reward": {"jct": 1.0, "makespan": 0.1}}
    lanes = 3
    native = make_vec(env_id, dataset, wrapper, lanes, mode, **settings)
    sync = SyncVectorEnv(
        [lambda: make(env_id, dataset, wrapper, **settings)] * lanes, autoreset_mode=mode
    )
    rng = np.random.default_rng(0)
    native.action_space.seed(0)
    assert_same(native.reset(seed=[5, 6, 7]), sync.reset(seed=[5, 6, 7]))
    endings = 0
    for _ in range(150):
        actions = native.action_space.sample()
        if wrapper == "SequentialAssignment":
            masks = native.action_masks()
            np.testing.assert_array_equal(masks, np.stack(sync.call("action_masks")))
            legal = [rng.choice(np.flatnonzero(mask)) for mask in masks]
            actions = np.where(rng.random(lanes) < 0.9, legal, actions)
        ours, theirs = native.step(actions), sync.step(actions)
        assert_same(ours, theirs)
        ended = ours[2] | ours[3]
        endings += ended.sum()
        if mode is AutoresetMode.DISABLED and ended.any():
            options = {"reset_mask": ended}
            assert_same(native.reset(options=dict(options)), sync.reset(options=dict(options)))
    assert endings >= 2
    native.close()
    sync.close()


def test_observations_are_in_the_space(dataset):
    for wrapper in WRAPPERS:
        envs = make_vec(ENV_IDS[0], dataset, wrapper, 4, AutoresetMode.SAME_STEP)
        observation, _ = envs.reset(seed=0)
        assert observation in envs.observation_space
        for _ in range(30):
            observation, *_ = envs.step(envs.action_space.sample())
            assert observation in envs.observation_space


@pytest.mark.parametrize("action", [2.0, -1, 11, [1], "1"])
def test_choices_outside_the_space_are_refused(dataset, action):
    env = make(ENV_IDS[0], dataset, "SequentialAssignment")
    env.reset(seed=0)
    with pytest.raises((TypeError, ValueError), match="action"):
        env.step(action)


@pytest.mark.parametrize("action", [[0.0] * 4, [np.nan] * 5, ["a"] * 5, 0.0])
def test_scores_that_cannot_be_ranked_are_refused(dataset, action):
    env = make(ENV_IDS[0], dataset, "PriorityAction")
    env.reset(seed=0)
    with pytest.raises((TypeError, ValueError), match="action"):
        env.step(action)


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_other_environments_are_refused(dataset, wrapper):
    with pytest.raises(TypeError, match=wrapper):
        getattr(wrappers, wrapper)(gym.make("CartPole-v1"))
    with pytest.raises(TypeError, match=wrapper):
        getattr(wrappers.vector, wrapper)(gym.make_vec("CartPole-v1", 2))
    env = gym.make(ENV_IDS[0], dataset=dataset, **SMALL)
    with pytest.raises(ValueError, match="outside"):
        getattr(wrappers, wrapper)(gym.wrappers.FlattenObservation(env))


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_reset_is_needed_first_and_after_the_end(dataset, wrapper):
    env = make(ENV_IDS[0], dataset, wrapper, duration=5.0)
    env.action_space.seed(0)
    with pytest.raises(gym.error.ResetNeeded):
        env.step(env.action_space.sample())
    env.reset(seed=0)
    ended = False
    while not ended:
        *_, ended, _, _ = env.step(env.action_space.sample())
    with pytest.raises(gym.error.ResetNeeded):
        env.step(env.action_space.sample())


def test_spec_rebuilds_the_wrapper(dataset):
    env = gym.make(ENV_IDS[0], dataset=dataset, **SMALL)
    env = wrappers.SequentialAssignment(env, allow_stop=True)
    again = gym.make(env.spec)
    _, info = again.reset(seed=0)
    assert info["action_mask"][-1] == 1
