"""No observation, info or record tells how long an unfinished request will take.

Two datasets differ only in the latencies of what has not finished at some moment. Up to that moment
an agent must not be able to tell them apart, not by a single bit.
"""

from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np
import pytest

from edgecloud_gym import CLUSTER_ID, RequestDataset
from edgecloud_gym.arrivals import Trace
from edgecloud_gym.nodes import Sequences, StaticBatches
from tests.edgecloud_gym.support import (
    CONTINUOUS,
    STATIC,
    TIME_SERIES,
    assert_same,
    at_random,
    make,
)

REQUESTS = 60
SPARE = 200  # rows that never arrive: they keep the mean latency, a feature's scale, the same
ROWS = REQUESTS + SPARE
SCORES = np.random.default_rng(7).normal(size=ROWS)
VARIANTS: dict[str, dict[str, Any]] = {
    "embedding": {"observe": "embedding"},
    "id": {},
    "array": {"priority": SCORES},
    "callable": {"priority": lambda embeddings: embeddings[:, 0], "observe": "embedding"},
    "waiting": {"work_conserving": False},
    "all terms": {
        "reward": {"jct": 1.0, "completed": 1.0, "cloud_seconds": 1.0, "slo_violations": 1.0},
        "slo": 1.0,
    },
}


def dataset(latency: np.ndarray[Any, Any]) -> RequestDataset:
    rng = np.random.default_rng(1)
    return RequestDataset.from_arrays(
        base_latency=latency,
        embeddings=rng.normal(size=(ROWS, 3)),
        prompt_tokens=rng.integers(1, 99, ROWS),
    )


def latencies() -> np.ndarray[Any, Any]:
    """Multiples of 1/64 s: their sums and means are exact."""
    rng = np.random.default_rng(0)
    latency = np.ceil(rng.lognormal(0.0, 0.8, ROWS) * 64.0) / 64.0
    latency[REQUESTS:] = 64.0
    return latency


def lengthened(latency: np.ndarray[Any, Any], who: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The latencies with those of `who` tripled, at the expense of rows that never arrive."""
    longer = latency.copy()
    longer[who] *= 3.0
    longer[REQUESTS:] -= (longer.sum() - latency.sum()) / SPARE
    longer[-1] -= longer.sum() - latency.sum()
    assert longer.sum() == latency.sum()
    assert longer.min() > 0.0
    return longer


def run(env: Any, seed: int) -> Iterator[tuple[Any, ...]]:
    """Yields all that an agent sees, after reset and every step."""
    observation, info = env.reset(seed=seed)
    yield observation, info, 0.0, False, False, env.completions().tolist(), env.action_masks()
    policy, done = at_random(seed, (2.0, 1.0, 1.0)), False
    while not done:
        result = env.step(policy(observation, info))
        observation, info, done = result[0], result[-1], result[2] or result[3]
        yield *result, env.completions().tolist(), env.action_masks()


def records(env: Any) -> tuple[Any, ...]:
    """All else that an agent may ask for."""
    frames = (env.request_log(), env.telemetry(), env.telemetry(per_dispatch=True))
    return env.summary(), *({name: frame[name].tolist() for name in frame} for frame in frames)


# A node's speed is its capacity, which here is told by the mean of all rows alone.
NODES = [
    StaticBatches("batches", batches=2, capacity=1, slowdown=None, backlog=2),
    Sequences("sequences", sequences=2, slowdown=(1.0, 1.5), network_rtt=0.25),
]
CASES = [(env_id, variant) for variant in VARIANTS for env_id in (STATIC, CONTINUOUS)]


@pytest.mark.parametrize(("env_id", "variant"), [*CASES, (TIME_SERIES, "id"), (CLUSTER_ID, "id")])
def test_unfinished_requests_do_not_tell_their_time(env_id: str, variant: str) -> None:
    settings: dict[str, Any] = {
        "arrivals": Trace(np.cumsum(np.random.default_rng(2).exponential(0.1, REQUESTS))),
        "prompt_order": "sequential",
        "edge_slowdown": 1.0 + 0.5 * np.arange(4),
        "cloud_concurrency": 2,
        "candidate_pool_size": 5,
        "observe": "id",
        **VARIANTS[variant],
    }
    if env_id == CLUSTER_ID:
        settings["nodes"] = NODES
    latency = latencies()
    for moment in (0, 5, 20, 35):
        env = make(env_id, dataset=dataset(latency), **settings)
        list(islice(run(env, seed=3), moment + 1))
        finished = np.flatnonzero(env.request_log().jct.notna())
        longer = lengthened(latency, np.setdiff1d(np.arange(REQUESTS), finished))
        other = make(env_id, dataset=dataset(longer), **settings)
        first, second = run(env, seed=3), run(other, seed=3)
        for _ in range(moment + 1):
            assert_same(next(first), next(second))
        assert_same(records(env), records(other))
        assert repr(list(first)) != repr(list(second))  # later on they do differ


@pytest.mark.parametrize("env_id", [STATIC, CONTINUOUS])
def test_a_base_time_is_told_on_completion_and_not_before(env_id: str) -> None:
    env = make(env_id, load=1.5)
    observation, info = env.reset(seed=0)
    policy, told = at_random(0), set()
    for _ in range(60):
        observation, _, _, _, info = env.step(policy(observation, info))
        told |= set(env.completions()["request"].tolist())
        log = env.request_log()
        assert set(log.request_id[log.base_latency.notna()]) == told
        assert set(log.request_id[log.processing_time.notna()]) == told
