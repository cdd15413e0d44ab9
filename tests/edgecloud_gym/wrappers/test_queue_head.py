"""The walk along the queue: single and vector alike, legality, and what it shows."""

import warnings
from dataclasses import replace

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode
from stable_baselines3.common.env_checker import check_env as check_env_of_sb3

from edgecloud_gym.nodes import Sequences, Slots
from edgecloud_gym.wrappers import Forecast, QueueHead, vector
from edgecloud_gym.wrappers.walk_features import CANDIDATE, WALK_NODES, WALK_SYSTEM
from tests.edgecloud_gym.support import CONTINUOUS, STATIC, toy_dataset

CLUSTER = "EdgeCloud-Cluster-v0"
DATA = toy_dataset()
KNOWN = Forecast(DATA.base_latency)
BRIEF = {"dataset": DATA, "duration": 20.0, "load": 1.2, "work_conserving": False}
NODES = [
    Sequences("a", sequences=2, slowdown=None, backlog=3),
    Slots("b", slots=1, backlog=2),
    Slots("c", slots=2, time_multiplier=2.0),
]
SYSTEMS = [(STATIC, {}), (CONTINUOUS, {}), (CLUSTER, {"nodes": NODES})]


def single(env_id=CONTINUOUS, forecast=KNOWN, skips=0, **settings):
    return QueueHead(gymnasium.make(env_id, **{**BRIEF, **settings}), forecast, skips)


def random_choice(rng: np.random.Generator, mask: np.ndarray) -> int:
    return int(rng.choice(np.flatnonzero(mask)))


@pytest.mark.parametrize(("env_id", "more"), SYSTEMS)
def test_lanes_are_the_single_environment(env_id, more):
    skips, seeds = 2, (3, 4)
    envs = vector.QueueHead(
        gymnasium.make_vec(env_id, 2, autoreset_mode=AutoresetMode.NEXT_STEP, **{**BRIEF, **more}),
        KNOWN,
        skips,
    )
    alone = [single(env_id, skips=skips, **more) for _ in seeds]
    shown, infos = envs.reset(seed=list(seeds))
    firsts = [env.reset(seed=seed) for env, seed in zip(alone, seeds, strict=True)]
    over = np.zeros(2, bool)
    rng = np.random.default_rng(0)
    for lane, (first, _) in enumerate(firsts):
        for name, part in first.items():
            np.testing.assert_array_equal(part, shown[name][lane])
    while not over.all():
        choices = np.array([random_choice(rng, mask) for mask in envs.action_masks()])
        shown, rewards, terminated, truncated, infos = envs.step(choices)
        assert shown in envs.observation_space
        for lane in np.flatnonzero(~over):
            mine = alone[lane].step(int(choices[lane]))
            for name, part in mine[0].items():
                np.testing.assert_array_equal(part, shown[name][lane], name)
            assert mine[1] == rewards[lane]
            assert (mine[2], mine[3]) == (terminated[lane], truncated[lane])
            np.testing.assert_array_equal(mine[4]["action_mask"], infos["action_mask"][lane])
            over[lane] = mine[2] or mine[3]


@pytest.mark.parametrize(("env_id", "more"), SYSTEMS)
def test_checkers_find_nothing(env_id, more):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # Gymnasium notes that there is a wrapper: it is what we check.
        warnings.filterwarnings("ignore", message=".*has a wrapper applied to it")
        check_env(single(env_id, **more), skip_render_check=True)
        # Two-dimensional keys are meant: agents.policies reads them.
        warnings.filterwarnings("ignore", message=".*neither an image, nor a 1D vector")
        check_env_of_sb3(single(env_id, **more))


def test_the_shortest_come_first_and_all_are_done():
    env = single(STATIC)
    shown, info = env.reset(seed=0)
    done, invalid = False, 0
    while not done:
        times = []
        while not done and shown["legal"][1:].any():
            times.append(shown["candidate"][CANDIDATE.positions.time])
            taken = len(times)
            shown, _, done, _, info = env.step(int(np.argmax(shown["legal"][1:])) + 1)
            invalid += info["invalid_assignments"]
            if info["elapsed"] > 0.0 or taken > 50:
                break
        assert times == sorted(times)
    assert invalid == 0
    assert info["summary"]["unfinished"] == 0


def test_to_wait_ends_the_decision_after_so_many_skips():
    for skips in (0, 2):
        env = single(CLUSTER, skips=skips, nodes=[Slots("one", slots=1, backlog=50)], load=20.0)
        shown, _ = env.reset(seed=0)
        while np.expm1(shown["system"][WALK_SYSTEM.positions.queue]) < 5:
            shown, *_ = env.step(0)
        positions = []
        for _ in range(skips + 1):
            positions.append(round(float(shown["candidate"][CANDIDATE.positions.position]) * 32))
            shown, _, _, _, info = env.step(0)
        assert positions == list(range(skips + 1))
        assert info["elapsed"] > 0.0


def test_an_illegal_choice_waits_and_is_counted():
    env = single(STATIC, cloud_concurrency=0)
    env.reset(seed=0)
    assert not env.action_masks()[2]
    assert env.step(2)[4]["invalid_assignments"] == 1


def test_a_work_conserving_walk_must_not_idle():
    env = single(CONTINUOUS, work_conserving=True)
    env.reset(seed=0)
    np.testing.assert_array_equal(env.action_masks(), [False, True, True])


def test_nodes_that_become_slow_are_noticed():
    nodes = [Slots("a", slots=4), Slots("b", slots=4)]
    env = single(CLUSTER, nodes=nodes, duration=200.0, speed_changes=[("b", 0.0, 0.5)], load=0.5)
    env.reset(seed=0)
    rng = np.random.default_rng(0)
    for _ in range(400):
        _, _, done, _, _ = env.step(random_choice(rng, env.action_masks()))
        if done:
            break
    lag = env.walk.lag[0]
    assert lag[0] == pytest.approx(0.0, abs=1e-6)
    assert np.log(1.5) < lag[1] <= np.log(2.0)  # the round trip is as it was


def test_nothing_reveals_how_long_requests_take():
    """Of two datasets with other times, the first observations are the same."""
    times = np.random.default_rng(5).permutation(DATA.base_latency)
    other = replace(DATA, base_latency=times)
    first, again = (single(STATIC, dataset=data).reset(seed=0)[0] for data in (DATA, other))
    for name in first:
        np.testing.assert_array_equal(first[name], again[name])


@pytest.mark.parametrize("forecast", [None, DATA.base_latency])
def test_what_is_no_forecast_is_refused(forecast):
    with pytest.raises(TypeError, match=r"forecast=.*: must be a Forecast"):
        single(forecast=forecast)
    with pytest.raises(TypeError, match=r"forecast=.*: must be a Forecast"):
        vector.QueueHead(gymnasium.make_vec(STATIC, 2, **BRIEF), forecast)


def test_a_forecast_of_another_dataset_is_refused():
    with pytest.raises(ValueError, match="forecast has 3 rows"):
        single(forecast=Forecast(np.ones(3)))
    with pytest.raises(ValueError, match="above 0"):
        Forecast(np.array([1.0, 0.0]))
    with pytest.raises(ValueError, match=r"features\['x'\] has shape \(3,\)"):
        Forecast(np.ones(2), features={"x": np.ones(3)})


def test_scores_take_the_highest_legal_choice():
    plain, scored = single(STATIC), QueueHead(gymnasium.make(STATIC, **BRIEF), KNOWN, scores=True)
    rng = np.random.default_rng(1)
    for env in (plain, scored):
        env.reset(seed=2)
    for _ in range(20):
        scores = rng.uniform(-1.0, 1.0, 3)
        mask = plain.action_masks()
        choice = int(np.where(mask, scores, -2.0).argmax())
        mine, other = plain.step(choice), scored.step(scores.astype(np.float32))
        assert mine[1] == other[1]


def test_every_column_is_named_once():
    for block in (CANDIDATE, WALK_NODES, WALK_SYSTEM):
        names = [column.name for column in block.columns]
        assert len(names) == len(set(names))
