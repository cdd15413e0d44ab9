"""Metrics against numbers worked out by hand and against the simulator's own integrals."""

import io
from typing import Any

import gymnasium as gym
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from edgecloud_gym import RequestDataset
from edgecloud_gym.results.metrics import (
    RequestTimes,
    prediction_errors,
    summarize_requests,
)
from edgecloud_gym.results.summary import summarize

NAN = float("nan")


def hand_made() -> RequestTimes:
    """A batch of two on the edge, one done in the cloud, one running there, one waiting; T = 10."""
    return RequestTimes(
        arrival=np.array([0.0, 1.0, 2.0, 4.0, 6.0]),
        start=np.array([2.0, 2.0, 2.0, 5.0, NAN]),
        finish=np.array([6.0, 6.0, 3.0, NAN, NAN]),
        base_latency=np.array([4.0, 2.5, 0.5, 7.0, 9.0]),
        cloud=np.array([False, False, True, True, False]),
        group=np.array([0, 0, 1, 1, -1]),
    )


def summary(times: RequestTimes, slo: float | None = None) -> dict[str, float]:
    return summarize_requests(times, end=10.0, edge_slots=1, cloud_slots=2, batches=True, slo=slo)


def test_hand_made_episode() -> None:
    metrics = summary(hand_made())
    expected = {
        "arrived": 5,
        "completed": 3,
        "completed_edge": 2,
        "completed_cloud": 1,
        "unfinished": 2,
        "jct_mean": (6 + 5 + 1) / 3,
        "jct_p50": 5,
        "queueing_delay_mean": (2 + 1 + 0) / 3,
        "slowdown_mean": (1.5 + 2 + 2) / 3,
        "jct_mean_censored": (6 + 5 + 1 + 6 + 4) / 5,
        "queueing_delay_mean_censored": (2 + 1 + 0 + 1 + 4) / 5,
        "throughput": 0.3,
        "throughput_edge": 0.2,
        "offload_rate": 1 / 3,
        "edge_utilization": 0.4,  # the batch is one busy slot
        "cloud_utilization": (1 + 5) / 20,
        "cloud_seconds": 6,
        "mean_in_system": 22 / 10,
    }
    for name, value in expected.items():
        assert metrics[name] == pytest.approx(value), name
    assert np.isnan(metrics["slo_attainment"])
    assert np.isnan(metrics["goodput"])


def test_prediction_errors_count_what_is_known_and_predicted() -> None:
    errors = prediction_errors([1.0, NAN, 3.0, 4.0], [2.0, 5.0, 0.0, NAN])
    assert errors["prediction_error_mean"] == 2.0
    assert errors["prediction_error_p95"] == pytest.approx(1.0 + 0.95 * 2.0)
    assert errors["predictions"] == 2.0
    nothing = prediction_errors([NAN], [1.0])
    assert nothing["predictions"] == 0.0
    assert np.isnan(nothing["prediction_error_mean"])


def test_an_infinite_prediction_is_infinitely_wrong() -> None:
    errors = prediction_errors([1.0, np.inf], [1.0, 1.0])
    assert errors["prediction_error_mean"] == np.inf
    assert errors["predictions"] == 2.0


@given(arrays(np.float64, st.integers(1, 60), elements=st.floats(-1e9, 1e9)))
def test_percentiles_are_those_of_numpy_to_the_bit(errors: Any) -> None:
    found = prediction_errors(errors, np.zeros(len(errors)))
    expected = np.percentile(np.abs(errors), (95, 99))
    assert [found["prediction_error_p95"], found["prediction_error_p99"]] == expected.tolist()


def test_slo_judges_only_what_is_known() -> None:
    metrics = summary(hand_made(), slo=5.0)
    # Two in time; one late; one unfinished at age 6, so late; one at age 4, not known.
    assert metrics["slo_attainment"] == pytest.approx(2 / 4)
    assert metrics["goodput"] == pytest.approx(0.2)


def test_no_requests() -> None:
    empty = np.zeros(0)
    times = RequestTimes(empty, empty, empty, empty, empty.astype(bool), empty)
    metrics = summary(times, slo=1.0)
    assert metrics.keys() == summary(hand_made()).keys()
    assert metrics["arrived"] == 0
    assert np.isnan(metrics["jct_mean"])
    assert metrics["mean_in_system"] == 0.0


def play(env_id: str, **settings: Any) -> tuple[gym.Env[Any, Any], float]:
    """An episode of random decisions; returns the environment and the integral of N."""
    data = RequestDataset.from_arrays(
        base_latency=np.random.default_rng(1).lognormal(0.0, 0.7, 100),
        slowdown=1 + 0.2 * np.arange(8),
    )
    env = gym.make(env_id, dataset=data, observe="id", load=1.1, duration=200.0, **settings)
    env.action_space.seed(0)
    _, info = env.reset(seed=0)
    area, done = 0.0, False
    while not done:
        _, _, terminated, truncated, info = env.step(env.action_space.sample())
        area -= info["jct"]
        done = terminated or truncated
    return env, area


@pytest.mark.parametrize("drain", [True, False])
@pytest.mark.parametrize("env_id", ["EdgeCloud-Static-v0", "EdgeCloud-Continuous-v0"])
def test_against_the_simulator(env_id: str, drain: bool) -> None:
    env, area = play(env_id, drain=drain, slo=10.0)
    config = env.unwrapped.config
    metrics = summarize(env.unwrapped.simulator)
    telemetry = env.unwrapped.telemetry(0.01)
    # Before the first step, until the first arrival, N is 0: the reward misses nothing.
    assert metrics["mean_in_system"] * metrics["end_time"] == pytest.approx(area)
    edge_share = telemetry["edge_busy"].mean() / config.edge_concurrency
    assert metrics["edge_utilization"] == pytest.approx(edge_share, rel=0.01)
    cloud_share = telemetry["cloud_busy"].mean() / config.cloud_concurrency
    assert metrics["cloud_utilization"] == pytest.approx(cloud_share, rel=0.01)
    assert (metrics["unfinished"] > 0) == (not drain)
    assert metrics["arrived"] == metrics["completed"] + metrics["unfinished"]
    if drain:
        assert metrics["jct_mean"] == metrics["jct_mean_censored"]
    assert env.unwrapped.summary() == metrics


@pytest.mark.parametrize("drain", [True, False])
def test_from_csv(drain: bool) -> None:
    env, _ = play("EdgeCloud-Static-v0", drain=drain, edge_concurrency=2)
    config = env.unwrapped.config
    buffer = io.StringIO()
    env.unwrapped.request_log().to_csv(buffer, index=False)
    buffer.seek(0)
    direct = summarize(env.unwrapped.simulator)
    read = summarize_requests(
        RequestTimes.from_log(pd.read_csv(buffer)),
        end=direct["end_time"],
        edge_slots=config.edge_concurrency,
        cloud_slots=config.cloud_concurrency,
        batches=True,
    )
    assert read == pytest.approx(direct, nan_ok=True)
