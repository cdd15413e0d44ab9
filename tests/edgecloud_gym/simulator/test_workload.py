"""Capacity against its formulas and against Monte Carlo, and what a load means."""

import warnings
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray

from edgecloud_gym import CLUSTER_ID, RequestDataset, load_engine
from edgecloud_gym.arrivals import ArrivalProcess, Trace
from edgecloud_gym.config import SystemConfig
from edgecloud_gym.nodes import Engine, Sequences, Slots, StaticBatches
from edgecloud_gym.simulator.workload import Workload, expected_maximum
from tests.edgecloud_gym.support import CONTINUOUS, STATIC, make, play, toy_dataset, wait

DATASET = toy_dataset()
LATENCY = DATASET.base_latency


def workload(**settings: Any) -> Workload:
    return Workload.resolve(SystemConfig(**settings), DATASET)


@pytest.mark.parametrize("draws", [1, 2, 5, 64])
def test_expected_maximum_against_monte_carlo(draws: int) -> None:
    samples = np.random.default_rng(0).choice(LATENCY, (40_000, draws)).max(axis=1)
    error = samples.std() / np.sqrt(len(samples)) + 1e-12
    assert abs(expected_maximum(LATENCY, draws) - samples.mean()) < 4.0 * error


def test_expected_maximum_of_two_values() -> None:
    assert expected_maximum(np.array([3.0, 1.0]), 3) == pytest.approx(3.0 * 7 / 8 + 1.0 / 8)


def test_static_edge() -> None:
    curve = np.array([1.0, 1.5, 2.0])
    capacity = workload(
        edge_concurrency=2, edge_batch_capacity=3, edge_slowdown=curve, cloud_concurrency=0
    ).capacity
    assert_allclose(capacity, 2 * 3 / (expected_maximum(LATENCY, 3) * 2.0))


def test_continuous_edge() -> None:
    capacity = workload(
        batching="continuous",
        edge_concurrency=3,
        edge_slowdown=np.array([1.0, 1.5, 2.0]),
        cloud_concurrency=0,
    ).capacity
    assert_allclose(capacity, 3 / (2.0 * LATENCY.mean()))


def test_cloud() -> None:
    capacity = workload(
        edge_concurrency=0, cloud_concurrency=5, cloud_time_multiplier=0.5, network_rtt=0.25
    ).capacity
    assert_allclose(capacity, 5 / (0.5 * LATENCY.mean() + 0.25))


def test_edge_and_cloud_add_up() -> None:
    total = workload().capacity
    assert_allclose(
        total, workload(edge_concurrency=0).capacity + workload(cloud_concurrency=0).capacity
    )


@pytest.mark.parametrize(("env_id", "tolerance"), [(STATIC, 0.05), (CONTINUOUS, 0.05)])
def test_throughput_in_overload_is_the_capacity(env_id: str, tolerance: float) -> None:
    env = make(env_id, load=3.0, duration=400.0, drain=False)
    play(env, wait)
    served = env.request_log().completion_time.notna().sum() / 400.0
    assert served == pytest.approx(env.simulator.workload.capacity, rel=tolerance)


def test_load_sets_the_arrival_rate() -> None:
    assert_allclose(workload(load=0.5).arrival_rate, 0.5 * workload().capacity)
    assert_allclose(workload().arrival_rate, 0.9 * workload().capacity)
    assert workload(arrival_rate=2.5).arrival_rate == 2.5


def test_observed_arrival_rate_is_that_asked_for() -> None:
    env = make(arrival_rate=4.0, duration=300.0)
    counts = [len(arrivals_of(env, seed)) for seed in range(20)]
    assert np.mean(counts) == pytest.approx(1200.0, abs=4.0 * np.sqrt(1200.0 / 20))


def arrivals_of(env: Any, seed: int) -> Any:
    """All arrival times of an episode."""
    play(env, wait, seed)
    return env.request_log().arrival_time.to_numpy()


def test_a_trace_keeps_its_own_times_unless_asked() -> None:
    times = np.array([0.0, 1.0, 2.0, 4.0])
    assert_array_equal(arrivals_of(make(arrivals=Trace(times)), 0), times)
    faster = arrivals_of(make(arrivals=Trace(times), arrival_rate=1.5), 0)
    assert_allclose(faster, times / 2.0)
    loaded = make(arrivals=Trace(times), load=0.5)
    gap = np.diff(arrivals_of(loaded, 0)).mean()
    assert_allclose(1.0 / gap, 0.5 * loaded.simulator.workload.capacity)


def test_a_trace_of_one_arrival() -> None:
    env = make(arrivals=Trace([3.0]))
    assert play(env).infos[-1]["completed_total"] == 1


def test_split_restricts_what_arrives_and_what_capacity_means() -> None:
    train, test = (make(split=split, duration=100.0) for split in ("train", "test"))
    rows = {split.config.split: set(arrived_rows(split)) for split in (train, test)}
    assert rows["train"].isdisjoint(rows["test"])
    assert rows["test"] == set(DATASET.rows("test").tolist())
    mean = LATENCY[DATASET.rows("test")].mean()
    assert test.simulator.workload.mean_latency == pytest.approx(mean)


def arrived_rows(env: Any) -> list[int]:
    play(env)
    rows: list[int] = env.request_log().prompt_row.tolist()
    return rows


def test_prompt_order() -> None:
    sequential = arrived_rows(make(prompt_order="sequential", arrival_rate=10.0))
    assert sequential == [i % 60 for i in range(len(sequential))]
    shuffled = arrived_rows(make(prompt_order="shuffle", arrival_rate=10.0))
    assert shuffled != sequential
    for lap in range(len(shuffled) // 60):
        assert sorted(shuffled[60 * lap : 60 * lap + 60]) == list(range(60))
    assert shuffled[:60] != shuffled[60:120]


class Burst(ArrivalProcess):
    """One request more than were to be expected."""

    def sample(
        self, rng: np.random.Generator, rate: float | None, duration: float
    ) -> NDArray[np.float64]:
        del rng
        assert rate is not None
        return np.zeros(int(rate * duration) + 1)


def test_prompts_that_come_once() -> None:
    settings = {"arrival_rate": 10.0, "duration": 5.0}
    once = arrived_rows(make(prompt_order="once", **settings))
    assert len(set(once)) == len(once) > 20
    assert once == arrived_rows(make(prompt_order="shuffle", **settings))  # the deck's first cards


def test_more_requests_than_prompts_that_come_once_are_refused() -> None:
    with pytest.raises(ValueError, match=r"(?s)prompt_order='once'.*'all'.*60 prompts.*about 100 "):
        make(prompt_order="once", arrival_rate=10.0, duration=10.0)
    at_its_limit = make(prompt_order="once", arrivals=Burst(), arrival_rate=10.0, duration=6.0)
    with pytest.raises(ValueError, match=r"'once': 61 requests .* 60 prompts .* shorter duration"):
        at_its_limit.reset(seed=0)


def test_measured_slowdown_is_extended_with_its_last_slope() -> None:
    dataset = RequestDataset.from_arrays(base_latency=[1.0], slowdown=[1.0, 1.5, 1.75])
    config = SystemConfig(batching="continuous", edge_concurrency=5, edge_slowdown="measured")
    assert_allclose(Workload.resolve(config, dataset).slowdown, [1.0, 1.5, 1.75, 2.0, 2.25])


def test_a_missing_measured_slowdown_is_said() -> None:
    dataset = RequestDataset.from_arrays(base_latency=[1.0, 2.0])
    config = SystemConfig(batching="continuous", edge_concurrency=2, edge_slowdown="measured")
    with pytest.warns(UserWarning, match="no measured slowdown"):
        assert_allclose(Workload.resolve(config, dataset).slowdown, [1.0, 1.0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Workload.resolve(SystemConfig(edge_slowdown=None), dataset)


@pytest.mark.parametrize(
    ("times", "settings"),
    [
        ([1.7e9, 1.7e9 + 1.0, 1.7e9 + 2.0], {}),
        ([600.0, 601.0], {"duration": 600.0}),
        ([30.0, 31.0], {"duration": 20.0, "arrival_rate": 1.0}),
    ],
    ids=["absolute", "at the end", "stretched"],
)
def test_a_trace_that_begins_after_the_episode_is_refused(
    times: list[float], settings: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match=r"first request arrives at .* not before duration="):
        make(arrivals=Trace(times), **settings)


def test_a_cluster_is_the_sum_of_its_nodes() -> None:
    model = load_engine("smollm2-135m-cpu")
    nodes = [
        Engine("e", model=model),
        StaticBatches("s", capacity=2, slowdown=(1.0, 1.5), time_multiplier=2.0, network_rtt=0.1),
        Sequences("p", sequences=2, slowdown=(1.0, 1.5), time_multiplier=3.0),
        Slots("c", slots=3, time_multiplier=0.5, network_rtt=0.2),
    ]
    found = workload(batching="cluster", nodes=nodes)
    prompts, answers = DATASET.prompt_tokens, DATASET.response_tokens
    assert prompts is not None
    assert answers is not None
    expected = [
        model.capacity(
            prompts.mean(),
            answers.mean(),
            context=np.average(prompts + answers / 2, weights=answers),
        ),
        2 / (expected_maximum(LATENCY, 2) * 1.5 * 2.0 + 0.1),
        2 / (LATENCY.mean() * 3.0 * 1.5),
        3 / (LATENCY.mean() * 0.5 + 0.2),
    ]
    assert_allclose(found.capacities, expected)
    assert_allclose(found.capacity, sum(expected))


def test_an_overloaded_engine_finishes_at_its_capacity() -> None:
    nodes = [Engine("e", model=load_engine("smollm2-135m-cpu"), backlog=10**6)]
    env = make(CLUSTER_ID, nodes=nodes, load=2.0, duration=300.0, drain=False)
    play(env, lambda observation, _: np.ones(len(observation["candidates"]), np.int64))
    served = env.request_log().completion_time.notna().sum() / 300.0
    assert served == pytest.approx(env.simulator.workload.capacity, rel=0.1)


@pytest.mark.parametrize("backlog", [0, 4, 10**5])
@pytest.mark.parametrize("kind", ["sequences", "engine"])
def test_requests_on_their_way_hold_a_place(kind: str, backlog: int) -> None:
    """With a long round trip and few places a node cannot be full: its capacity says so."""
    fixed: dict[str, Any] = {"network_rtt": 5.0, "backlog": backlog}
    node = (
        Sequences("n", sequences=4, slowdown=(1.0, 1.2, 1.4, 1.6), **fixed)
        if kind == "sequences"
        else Engine("n", model=load_engine("smollm2-135m-cpu"), **fixed)
    )
    settings: dict[str, Any] = {"duration": 1000.0, "drain": False, "observe": "id"}
    env = make(CLUSTER_ID, nodes=[node], load=3.0, **settings)
    play(env, lambda observation, _: np.ones(len(observation["candidates"]), np.int64))
    served = env.request_log().completion_time.notna().sum() / 1000.0
    assert served == pytest.approx(env.simulator.workload.capacity, rel=0.1)
