"""Drift: nodes that become slower or faster, and families of prompts that come and go."""

from collections import Counter
from typing import Any

import numpy as np
import pytest
from numpy.random import default_rng
from numpy.testing import assert_allclose, assert_array_equal

from edgecloud_gym import CLUSTER_ID, RequestDataset
from edgecloud_gym.arrivals import Trace
from edgecloud_gym.drift import Speeds
from edgecloud_gym.nodes import Engine, Node, Sequences, Slots, StaticBatches
from tests.edgecloud_gym.simulator.engine_twin import run_twin
from tests.edgecloud_gym.simulator.test_engine import random_system
from tests.edgecloud_gym.simulator.test_engine_nodes import cluster, dataset_of, route
from tests.edgecloud_gym.support import (
    ALL_IDS,
    CONTINUOUS,
    STATIC,
    assert_same,
    at_random,
    make,
    make_vec,
    play,
    toy_dataset,
)

HALF = [("node", 2.0, 0.5)]


def finishes(node: Node, base: list[float], changes: Any, **settings: Any) -> list[float]:
    """When requests are done that are sent to a node at their arrivals, 0, 1, ... s."""
    data = RequestDataset.from_arrays(base_latency=base)
    env = cluster([node], data, np.arange(float(len(base))), speed_changes=changes, **settings)
    route(env, [0] * len(base))
    return list(env.request_log().completion_time)


def test_a_slot_does_the_rest_at_the_new_speed() -> None:
    """3 s of work: 1.5 s of it done by 2 s after 0.5 s on the way, 1.5 s left at half the speed."""
    node = Slots("node", slots=4, time_multiplier=1.0, network_rtt=0.5)
    done = finishes(node, [3.0, 0.5, 1.0], HALF, duration=9.0)
    assert_allclose(done, [5.0, 2.0, 2.5 + 2.0])


def test_the_way_to_a_slot_takes_as_long_as_before() -> None:
    """On its way until 2.5 s when the speed changes at 2 s; the work alone takes twice as long."""
    node = Slots("node", slots=4, time_multiplier=1.0, network_rtt=1.5)
    assert_allclose(finishes(node, [9.0, 1.0], HALF, duration=9.0)[1], 2.5 + 2.0)


def test_who_leaves_a_node_first_may_change_with_its_speed() -> None:
    """One works and would end at 3.9 s, one is on its way until 3.5 s and would end at 4 s."""
    node = Slots("node", slots=4, time_multiplier=1.0, network_rtt=1.5)
    data = RequestDataset.from_arrays(base_latency=[2.4, 0.5])
    changes = [("node", 2.0, 0.5)]
    env = cluster([node], data, [0.0, 2.0], speed_changes=changes, duration=9.0)
    route(env, [0, 0])
    assert_allclose(env.request_log().completion_time, [2.0 + 2 * 1.9, 3.5 + 1.0])


def test_a_batch_does_the_rest_at_the_new_speed() -> None:
    node = StaticBatches("node", batches=1, capacity=2, slowdown=(1.0, 1.5))
    data = RequestDataset.from_arrays(base_latency=[2.0, 4.0])
    changes = [("node", 2.0, 0.5), ("node", 3.0, 4.0)]
    env = cluster([node], data, [0.0, 0.0], speed_changes=changes, duration=9.0)
    route(env, [0, 0])
    # 6 s of work: 2 s at 1, 0.5 s at 0.5, 3.5 s at 4.
    assert_allclose(env.request_log().completion_time, 3.0 + 3.5 / 4)


def test_sequences_share_what_speed_there_is() -> None:
    node = Sequences("node", sequences=4, slowdown=(1.0, 2.0, 3.0, 4.0))
    data = RequestDataset.from_arrays(base_latency=[2.0, 2.0])
    env = cluster([node], data, [0.0, 0.0], speed_changes=HALF, duration=9.0)
    route(env, [0, 0])
    # Together 4 s of work: 2 s of it done by 2 s, the rest at half the speed.
    assert_allclose(env.request_log().completion_time, 6.0)


def test_changes_alone_keep_no_episode_going() -> None:
    env = make(STATIC, load=0.01, duration=500.0, speed_changes=[("edge", 499.0, 0.5)])
    episode = play(env, at_random(0), seed=3)
    assert episode.terminated
    assert env.request_log().completion_time.max() == episode.infos[-1]["time"] < 499.0


NODES = [
    Slots("slots", slots=3, network_rtt=0.0, backlog=2),
    StaticBatches("batches", capacity=3, slowdown=(1.0, 1.2, 1.4)),
    Sequences("sequences", sequences=3, slowdown=(1.0, 1.2, 1.4), network_rtt=0.2),
]


@pytest.mark.parametrize("node", NODES, ids=lambda node: node.name)
def test_a_speed_from_the_start_is_a_multiplier(node: Any) -> None:
    settings: dict[str, Any] = {"arrival_rate": 1.0, "duration": 60.0, "observe": "id"}
    slow = type(node)(**{**vars(node), "time_multiplier": 2.5 * node.time_multiplier})
    changes = [(node.name, 0.0, 0.4)]
    logs = []
    for nodes, extra in (([node], {"speed_changes": changes}), ([slow], {})):
        env = make(CLUSTER_ID, nodes=nodes, **settings, **extra)
        play(env, at_random(1, (1.0, 3.0)), seed=2)
        logs.append(env.request_log())
    assert_allclose(logs[0].completion_time, logs[1].completion_time, rtol=1e-12)
    assert logs[0].completion_time.notna().sum() > 5


@pytest.mark.parametrize("block", range(4))
def test_engines_take_the_speed_at_which_a_step_begins(block: int) -> None:
    """The twin composes every step and knows no spans."""
    for seed in range(20 * block, 20 * block + 20):
        assert_engine_drifts_as_its_twin(default_rng([seed, 15]))


def assert_engine_drifts_as_its_twin(rng: np.random.Generator) -> None:
    m, requests = random_system(rng)
    end = max(r.arrival for r in requests) + 1.0
    times = np.sort(rng.uniform(0.0, end, 3))
    speeds = rng.uniform(0.3, 3.0, 3)

    def pace(now: float) -> float:
        passed = np.flatnonzero(times <= now)
        return 1.0 / speeds[passed[-1]] if len(passed) else 1.0

    changes = [("engine", t, v) for t, v in zip(times.tolist(), speeds.tolist(), strict=True)]
    node = Engine("engine", model=m, backlog=len(requests))
    arrivals = [r.arrival for r in requests]
    data = dataset_of(requests)
    env = cluster([node], data, arrivals, speed_changes=changes, duration=end)
    route(env, [0] * len(requests))
    run_twin(m, requests, pace)
    log = env.request_log()
    assert_allclose(log.completion_time, [r.finish for r in requests], rtol=0, atol=1e-9)
    assert_allclose(log.first_token_time, [r.first_token for r in requests], rtol=0, atol=1e-9)
    assert_array_equal(log.preemptions, [r.preemptions for r in requests])


@pytest.mark.parametrize("env_id", ALL_IDS)
def test_vector_lanes_drift_as_single_environments_do(env_id: str) -> None:
    node = "edge" if env_id != CLUSTER_ID else "batches"
    settings: dict[str, Any] = {
        "speed_changes": [(node, 2.0, 0.5), (node, 4.0, 2.0)],
        "prompt_mix": [(3.0, {"odd": 1.0})],
    }
    if env_id == CLUSTER_ID:
        settings["nodes"] = NODES
    vector = make_vec(env_id, **settings)
    count = len(vector.config.nodes)
    rng = default_rng(0)
    vector.reset(seed=7)
    single = [make(env_id, duration=8.0, candidate_pool_size=5, **settings) for _ in range(3)]
    for lane, env in enumerate(single):
        env.reset(seed=7 + lane)
    running = [True] * 3
    for _ in range(60):
        actions = rng.integers(0, 1 + count, (3, 5))
        observations, rewards, *_ = vector.step(actions)
        for lane, env in enumerate(single):
            if running[lane]:
                observation, reward, terminated, _, _ = env.step(actions[lane])
                assert_same(observation, {k: v[lane] for k, v in observations.items()})
                assert reward == rewards[lane]
                running[lane] = not terminated


def test_attained_service_is_work_done() -> None:
    """A batch of 4 s that has run for 2 s and for 1 s at half the speed has 2.5 s behind it."""
    data = RequestDataset.from_arrays(base_latency=[4.0] * 2, slowdown=[1.0])
    for env_id in (STATIC, CONTINUOUS):
        env = make(
            env_id,
            dataset=data,
            observe="id",
            arrivals=Trace([0.0, 3.0]),
            speed_changes=[("edge", 2.0, 0.5)],
            edge_slowdown=[1.0] * 4,
            duration=10.0,
        )
        env.reset(seed=0)
        action = np.zeros(32, np.int64)
        action[0] = 1
        observation, *_ = env.step(action)
        assert observation["edge"][0, 3] == pytest.approx(2.5 / (2.5 + 4.0))


def test_first_tokens_wait_for_the_speed() -> None:
    """Read in 1 s of work: on the way until 1.5 s, half done by 2 s, the rest at half the speed."""
    data = RequestDataset.from_arrays(base_latency=[3.0, 3.0], time_to_first_token=[1.0, 1.0])
    node = Slots("node", slots=2, time_multiplier=1.0, network_rtt=0.5)
    env = cluster([node], data, [0.0, 1.0], speed_changes=HALF, duration=9.0)
    route(env, [0, 0])
    assert_allclose(env.request_log().first_token_time, [1.5, 3.0])


def test_work_is_the_integral_of_speed() -> None:
    speeds = Speeds("a", [("b", 0.5, 9.0), ("a", 1.0, 0.5), ("a", 3.0, 2.0)])
    start = np.array([0.0, 0.0, 0.0, 2.0, 4.0])
    work = np.array([0.5, 1.5, 3.0, 0.5, 2.0])
    assert_allclose(speeds.finish(start, work), [0.5, 2.0, 3.5, 3.0, 5.0])
    assert Speeds("c", []).are_constant


def arrivals_of(seed: int = 0, **settings: Any) -> Any:
    env = make(STATIC, **{"arrival_rate": 20.0, "duration": 100.0, "load": None, **settings})
    play(env, at_random(0), seed=seed)
    log = env.request_log()
    log["family"] = np.array(env.dataset.families)[log.prompt_row]
    return log


def test_families_arrive_as_the_mix_says() -> None:
    mix = [(60.0, {"odd": 1.0}), (30.0, {"odd": 1.0, "even": 3.0})]
    log = arrivals_of(prompt_mix=mix)
    parts = [log[log.arrival_time.between(a, b)] for a, b in ((0, 30), (30, 60), (60, 100))]
    shares = [(part.family == "odd").mean() for part in parts]
    for share, true, part in zip(shares, (0.5, 0.25, 1.0), parts, strict=True):
        assert abs(share - true) <= 4 * np.sqrt(true * (1 - true) / len(part))


def test_within_a_family_each_prompt_comes_before_any_comes_again() -> None:
    log = arrivals_of(prompt_mix=[(50.0, {"odd": 1.0, "even": 0.5})])
    for _, rows in log.groupby("family")["prompt_row"]:
        counts = Counter(rows[: 30 * (len(rows) // 30)])
        assert len(counts) == 30
        assert len(set(counts.values())) == 1
    log = arrivals_of(prompt_mix=[(50.0, {"odd": 1.0})], prompt_order="sequential")
    odd = log[log.family == "odd"].prompt_row.to_numpy()
    assert_array_equal(odd, (2 * np.arange(len(odd)) + 1) % 60)


def test_a_mix_leaves_arrival_times_as_they_are() -> None:
    plain, mixed = arrivals_of(), arrivals_of(prompt_mix=[(50.0, {"odd": 1.0})])
    assert_array_equal(plain.arrival_time, mixed.arrival_time)


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"speed_changes": [("egde", 1.0, 0.5)]}, "no node 'egde' (did you mean 'edge'?)"),
    ({"speed_changes": [("edge", 1.0, 0.0)]}, "speed of 'edge'=0.0"),
    ({"speed_changes": [("edge", 30.0, 0.5)]}, "must be before arrivals end, duration=30 s"),
    ({"speed_changes": [("edge", 1.0, 0.5), ("edge", 1.0, 2.0)]}, "'edge' at 1 s is given twice"),
    ({"speed_changes": ("edge", 1.0, 0.5)}, "must be a list of"),
    ({"speed_changes": "edge"}, "must be a list of"),
    ({"prompt_mix": [(1.0, {"od": 1.0})]}, "no family 'od' (did you mean 'odd'?)"),
    ({"prompt_mix": [(1.0, {"odd": 0.0})]}, "a weight must be above 0"),
    ({"prompt_mix": [(1.0, {"odd": -1.0})]}, "weight of 'odd'=-1.0"),
    ({"prompt_mix": [(-1.0, {"odd": 1.0})]}, "time=-1.0"),
    ({"prompt_mix": [(1.0, ["odd"])]}, "must be a list of"),
    ({"prompt_mix": [(1.0, {"odd": 1.0}), (1.0, {"even": 1.0})]}, "1 s is given twice"),
    ({"prompt_mix": [(1.0, {"odd": 1.0})], "dataset": RequestDataset.from_arrays([1.0]),
      "observe": "id"}, "has no families"),
]  # fmt: skip


@pytest.mark.parametrize(("settings", "message"), WRONG, ids=lambda value: str(value)[:40])
def test_what_cannot_be_is_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError)) as error:
        make(STATIC, **settings)
    assert message in str(error.value)


def test_the_bundled_dataset_knows_its_families() -> None:
    env = make(STATIC, dataset="smollm2-135m", prompt_mix=[(10.0, {"essay": 1, "yes_no": 1})])
    assert len(set(env.dataset.families or ())) == 21
    assert toy_dataset().families is not None
