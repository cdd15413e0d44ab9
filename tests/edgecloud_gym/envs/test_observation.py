"""Every feature against its definition, worked out from the request log."""

from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray

from edgecloud_gym.envs.base import EdgeCloudEnv
from tests.edgecloud_gym.support import (
    CONTINUOUS,
    STATIC,
    TIME_SERIES,
    at_random,
    make,
    play,
    toy_dataset,
)

M = 6
CURVE = 1.0 + 0.4 * np.arange(5)
DATASET = toy_dataset()


def squash(value: Any, scale: float) -> Any:
    return value / (value + scale)


def epochs(env: EdgeCloudEnv, seed: int = 0) -> Any:
    """Yields observation, info and the request log at every decision epoch."""
    observation, info = env.reset(seed=seed)
    policy, done = at_random(seed, (3.0, 1.0, 1.0)), False
    while not done:
        yield observation, info, env.request_log()
        observation, _, terminated, truncated, info = env.step(policy(observation, info))
        done = terminated or truncated


def crowded(env_id: str = STATIC, **settings: Any) -> EdgeCloudEnv:
    defaults = {"candidate_pool_size": M, "load": 1.5, "edge_slowdown": CURVE, "duration": 10.0}
    return make(env_id, dataset=DATASET, **{**defaults, **settings})


def on(log: pd.DataFrame, node: str) -> pd.DataFrame:
    return log[(log.node == node) & log.completion_time.isna()]


@pytest.mark.parametrize("env_id", [STATIC, CONTINUOUS])
def test_candidates_are_the_oldest_waiting(env_id: str) -> None:
    env = crowded(env_id)
    scale = DATASET.base_latency.mean()
    table = DATASET.embedding_table(6)
    for observation, info, log in epochs(env):
        shown = log[log.start_time.isna()].iloc[:M]
        size = len(shown)
        expected = np.zeros((M, 4))
        expected[:size, 0] = 1.0
        expected[:size, 1] = squash(info["time"] - shown.arrival_time, scale)
        tokens = DATASET.prompt_tokens[shown.prompt_row]  # type: ignore[index]
        expected[:size, 2] = np.log1p(tokens) / np.log1p(4096.0)
        assert_allclose(observation["candidates"], expected, atol=1e-6)
        assert_array_equal(observation["embeddings"][:size], table[shown.prompt_row])
        assert not observation["embeddings"][size:].any()


def test_prompt_ids_are_dataset_rows() -> None:
    for observation, _, log in epochs(crowded(observe="id")):
        rows = log.prompt_row[log.start_time.isna()].iloc[:M].tolist()
        assert observation["prompt_ids"].tolist() == rows + [-1] * (M - len(rows))


def test_prompt_tokens_beyond_the_scale() -> None:
    dataset = toy_dataset()
    object.__setattr__(dataset, "prompt_tokens", np.full(60, 100_000, np.int32))
    observation, _ = make(STATIC, dataset=dataset).reset(seed=0)
    assert observation["candidates"][0, 2] == 1.0


def test_static_edge_slots() -> None:
    scale = DATASET.base_latency.mean()
    for observation, info, log in epochs(crowded(STATIC)):
        batch = on(log, "edge")
        expected = np.zeros(4)
        if len(batch) > 0:
            elapsed = info["time"] - batch.start_time.iloc[0]
            size = len(batch)
            attained = elapsed / CURVE[size - 1]
            expected[:] = 1.0, size / 4, squash(elapsed, scale), squash(attained, scale)
        assert_allclose(observation["edge"][0], expected, atol=1e-6)


def attained_service(log: pd.DataFrame, start: float, now: float) -> float:
    """∫ dt / s(n(t)) from start to now, n being the requests on the edge."""
    edge = log[log.node == "edge"]
    finish = edge.completion_time.fillna(np.inf)
    marks = np.unique(np.concatenate([edge.start_time, finish[finish < now], [start, now]]))
    marks = marks[(marks >= start) & (marks <= now)]
    total = 0.0
    for left, right in pairwise(marks):
        n = int(((edge.start_time <= left) & (finish > left)).sum())
        total += (right - left) / CURVE[n - 1]
    return total


def test_continuous_edge_slots() -> None:
    scale = DATASET.base_latency.mean()
    for observation, info, log in epochs(crowded(CONTINUOUS, duration=6.0)):
        now = info["time"]
        rows = [
            (
                1.0,
                1.0,
                squash(now - start, scale),
                squash(attained_service(log, start, now), scale),
            )
            for start in on(log, "edge").start_time
        ]
        rows += [(0.0,) * 4] * (4 - len(rows))
        assert_allclose(by_rows(observation["edge"]), sorted(rows), atol=1e-6)


def by_rows(array: NDArray[Any]) -> list[list[float]]:
    return sorted(array.tolist())


@pytest.mark.parametrize("env_id", [STATIC, CONTINUOUS])
def test_cloud_slots(env_id: str) -> None:
    scale = DATASET.base_latency.mean()
    for observation, info, log in epochs(crowded(env_id, cloud_concurrency=3)):
        rows = [(1.0, squash(info["time"] - t, scale)) for t in on(log, "cloud").start_time]
        rows += [(0.0, 0.0)] * (3 - len(rows))
        assert_allclose(by_rows(observation["cloud"]), sorted(rows), atol=1e-6)


@pytest.mark.parametrize("env_id", [STATIC, CONTINUOUS])
def test_system(env_id: str) -> None:
    scale = DATASET.base_latency.mean()
    env = crowded(env_id)
    for observation, info, log in epochs(env):
        waiting = log[log.start_time.isna()]
        edge = on(log, "edge")
        busy = len(edge) if env_id == CONTINUOUS else edge.start_time.nunique()
        now = info["time"]
        expected = [
            squash(len(waiting), M),
            busy / env.config.edge_concurrency,
            len(on(log, "cloud")) / 8,
            min(1.0, now / 10.0),
            now >= 10.0,
            squash(now - waiting.arrival_time.iloc[0], scale) if len(waiting) else 0.0,
            squash(info["elapsed"], scale),
        ]
        assert_allclose(observation["system"], expected, atol=1e-6)


def test_history_against_brute_force() -> None:
    length, interval = 5, 0.4
    env = crowded(
        TIME_SERIES, history_length=length, telemetry_interval=interval, arrivals="poisson"
    )
    scale = max(1.0, env.simulator.workload.mean_rate * interval)
    seen = list(epochs(env))
    log = env.request_log()
    edge = log[log.node == "edge"].drop_duplicates(["start_time", "completion_time"])
    cloud = log[log.node == "cloud"]
    for observation, info, _ in seen:
        last = int(np.floor(info["time"] / interval))
        expected = np.zeros((length, 5))
        for row, k in enumerate(range(last - length + 1, last + 1)):
            if k >= 1:
                expected[row] = sample(log, edge, cloud, k * interval, interval, scale)
        assert_allclose(observation["history"], expected, atol=1e-6)


def sample(
    log: pd.DataFrame,
    edge: pd.DataFrame,
    cloud: pd.DataFrame,
    time: float,
    interval: float,
    scale: float,
) -> list[float]:
    def running(services: pd.DataFrame) -> int:
        return int(((services.start_time < time) & (services.completion_time >= time)).sum())

    def within(times: pd.Series) -> int:
        return int(((times >= time - interval) & (times < time)).sum())

    return [
        squash(((log.arrival_time < time) & (log.start_time >= time)).sum(), M),
        running(edge) / 1,
        running(cloud) / 8,
        squash(within(log.arrival_time), scale),
        squash(within(log.completion_time), scale),
    ]


@pytest.mark.parametrize("dim", [None, 1, 3, 64])
def test_embedding_dimension(dim: int | None) -> None:
    env = make(STATIC, dataset=DATASET, embedding_dim=dim)
    observation, _ = env.reset(seed=0)
    width = 6 if dim is None else min(dim, 6)
    assert observation["embeddings"].shape == (32, width)
    row = env.request_log().prompt_row[0]
    table = DATASET.embedding_table(None if dim is None else width)
    assert_array_equal(observation["embeddings"][0], table[row])


@pytest.mark.parametrize("env_id", [STATIC, CONTINUOUS])
def test_observations_stay_in_bounds_in_extreme_systems(env_id: str) -> None:
    env = make(
        env_id,
        duration=3.0,
        arrival_rate=2000.0,
        candidate_pool_size=3,
        cloud_concurrency=50,
        network_rtt=1000.0,
        priority=np.r_[np.zeros(59), 1e9],
    )
    for observation in play(env, at_random(0)).observations:
        assert observation in env.observation_space
