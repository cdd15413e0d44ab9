"""Completions, request log and telemetry against what the actions and the clock say."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from edgecloud_gym import ENV_IDS
from edgecloud_gym.results.records import COMPLETION_DTYPE
from tests.edgecloud_gym.support import CONTINUOUS, STATIC, at_random, make, play, wait

TELEMETRY = [
    "timestamp",
    "queue_length",
    "edge_busy",
    "edge_total",
    "batch_capacity",
    "cloud_busy",
    "cloud_total",
    "reward",
]
LOG = {
    "request_id": "int64",
    "prompt_row": "int64",
    "arrival_time": "float64",
    "start_time": "float64",
    "completion_time": "float64",
    "node": "object",
    "base_latency": "float64",
    "processing_time": "float64",
    "queueing_delay": "float64",
    "jct": "float64",
}


@pytest.mark.parametrize("env_id", ENV_IDS)
def test_completions_add_up_to_the_request_log(env_id: str) -> None:
    env = make(env_id, edge_concurrency=2)
    observation, info = env.reset(seed=0)
    assert len(env.completions()) == 0
    policy, done, parts = at_random(0), False, []
    while not done:
        observation, _, terminated, truncated, info = env.step(policy(observation, info))
        done = terminated or truncated
        finished = env.completions()
        assert finished.dtype == COMPLETION_DTYPE
        assert len(finished) == info["completed"]
        assert_array_equal(np.sort(finished["finish"]), finished["finish"])
        parts.append(finished)
    log = env.request_log()
    all_finished = pd.DataFrame(np.concatenate(parts)).sort_values("request", ignore_index=True)
    assert_array_equal(all_finished.request, log.request_id)
    assert_array_equal(all_finished.row, log.prompt_row)
    assert_array_equal(all_finished.node == 1, log.node == "cloud")
    for name, column in (
        ("arrival", "arrival_time"),
        ("dispatch", "start_time"),
        ("finish", "completion_time"),
        ("processing_time", "processing_time"),
        ("base_latency", "base_latency"),
    ):
        assert_array_equal(all_finished[name], log[column])
    assert_array_equal(log.base_latency, env.dataset.base_latency[log.prompt_row])


@pytest.mark.parametrize("priority", [None, "latency"])
def test_candidates_are_requests_that_wait(priority: str | None) -> None:
    env = make(STATIC, load=1.5, candidate_pool_size=5)
    if priority:
        env.set_priority(env.dataset.base_latency)
    observation, info = env.reset(seed=0)
    policy, done = at_random(0), False
    while not done:
        log = env.request_log()
        waiting = log[log.start_time.isna()]
        if priority:
            waiting = waiting.iloc[
                np.argsort(env.dataset.base_latency[waiting.prompt_row], kind="stable")
            ]
        assert_array_equal(env.candidates()["request"], waiting.request_id[:5])
        observation, _, terminated, truncated, info = env.step(policy(observation, info))
        done = terminated or truncated
    assert len(env.candidates()) == 0


def test_each_of_a_batch_has_its_own_base_time() -> None:
    """The reference labelled all of a batch with its first one's."""
    env = make(STATIC, cloud_concurrency=0)
    play(env, wait)
    log = env.request_log()
    assert log.base_latency.nunique() > 20
    assert (log.processing_time >= log.base_latency - 1e-9).all()


@pytest.mark.parametrize("drain", [True, False])
def test_request_log_form(drain: bool) -> None:
    env = make(STATIC, load=2.0, drain=drain)
    env.reset(seed=0)
    first = env.request_log()
    assert len(first) == 1
    play(env, at_random(0))
    for log in (first, env.request_log()):
        assert {name: str(dtype) for name, dtype in log.dtypes.items()} == LOG
        assert_array_equal(log.request_id, np.arange(len(log)))
        waiting = log.start_time.isna()
        assert log.node[waiting].map(lambda node: node is None).all()
        assert log.node[~waiting].isin(["edge", "cloud"]).all()
        assert_array_equal(
            log.queueing_delay.dropna(), (log.start_time - log.arrival_time).dropna()
        )
        assert_array_equal(log.jct.dropna(), (log.completion_time - log.arrival_time).dropna())
    assert first.jct.isna().all()


def batches(log: pd.DataFrame, continuous: bool) -> pd.DataFrame:
    """One row per edge service: a batch, or a request on continuous slots."""
    edge = log[log.node == "edge"]
    return edge if continuous else edge.drop_duplicates(["start_time", "completion_time"])


def running(services: pd.DataFrame, time: float) -> int:
    finish = services.completion_time.fillna(np.inf)
    return int(((services.start_time <= time) & (finish > time)).sum())


@pytest.mark.parametrize("env_id", ENV_IDS)
@pytest.mark.parametrize("drain", [True, False])
@pytest.mark.parametrize("interval", [None, 0.7])
def test_telemetry_against_brute_force(env_id: str, drain: bool, interval: float | None) -> None:
    env = make(env_id, load=1.2, drain=drain)
    episode = play(env, at_random(2))
    log, telemetry = env.request_log(), env.telemetry(interval)
    assert list(telemetry) == TELEMETRY
    step = interval or 1.0
    end = episode.infos[-1]["time"]
    assert_allclose(telemetry.timestamp, np.arange(0, int(end / step) + 1) * step)
    longest = (
        log.dropna(subset="start_time")
        .groupby("start_time")
        .processing_time.agg(lambda times: times.max(skipna=False))
    )
    edge = batches(log, env_id == CONTINUOUS)
    for i, row in telemetry.iterrows():
        time = row.timestamp
        arrived, started = log.arrival_time <= time, log.start_time <= time
        assert row.queue_length == (arrived & ~started).sum()
        assert row.edge_busy == running(edge, time)
        assert row.cloud_busy == running(log[log.node == "cloud"], time)
        since = telemetry.timestamp[i - 1] if i > 0 else -1.0
        moments = longest[(longest.index > since) & (longest.index <= time)]
        assert_allclose(row.reward, -moments.sum(skipna=False), rtol=1e-9, atol=1e-12)
    assert (telemetry.edge_total == env.config.edge_concurrency).all()
    assert (telemetry.cloud_total == 8).all()


def test_telemetry_per_dispatch() -> None:
    env = make(STATIC, load=1.2)
    play(env, at_random(2))
    log, telemetry = env.request_log(), env.telemetry(per_dispatch=True)
    longest = log.groupby("start_time").processing_time.max()
    assert_array_equal(telemetry.timestamp, longest.index)
    assert_allclose(telemetry.reward, -longest)
    for row in telemetry.itertuples():
        waiting = (log.arrival_time <= row.timestamp) & (log.start_time > row.timestamp)
        assert row.queue_length == waiting.sum()


def test_telemetry_sums_to_the_makespan_reward() -> None:
    env = make(STATIC, load=1.2, reward="makespan")
    episode = play(env, wait)
    per_dispatch = env.telemetry(per_dispatch=True)
    assert_allclose(sum(episode.rewards), per_dispatch.reward.sum())


@pytest.mark.parametrize("interval", [0.0, -1.0, float("nan"), float("inf")])
def test_bad_interval(interval: float) -> None:
    env = make(STATIC)
    env.reset(seed=0)
    with pytest.raises(ValueError, match=r"interval=.*> 0"):
        env.telemetry(interval)


def test_utilisation_and_cloud_seconds_agree() -> None:
    env: Any = make(STATIC, load=1.2)
    episode = play(env, wait)
    log = env.request_log()
    cloud = log.processing_time[log.node == "cloud"].sum()
    assert_allclose(episode.total("cloud_seconds"), cloud)
