"""Queueing theory: systems whose mean times in system are known in closed form.

Every test simulates independent lanes and asks that the known mean lies within four standard errors
of the lanes' means. Seeds are fixed, so that a test always gives the same answer.
"""

import math
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from numpy.testing import assert_allclose
from numpy.typing import NDArray
from scipy import stats

from edgecloud_gym.envs.vector import EdgeCloudVectorEnv
from tests.edgecloud_gym.support import CONTINUOUS, STATIC, dataset_of

LANES = 32
REQUESTS = 4000  # per lane
WARM_UP = 400  # of which these are not counted: a lane starts empty
ROWS = 20_000
QUANTILES = (np.arange(ROWS) + 0.5) / ROWS

# Service times of mean 1 s.
EXPONENTIAL = -np.log1p(-QUANTILES)
DETERMINISTIC = np.ones(ROWS)
UNIFORM = 2.0 * QUANTILES
LOGNORMAL = np.exp(stats.norm.ppf(QUANTILES) - 0.5)


def simulate(env_id: str, latency: NDArray[np.float64], rate: float, **settings: Any) -> Any:
    """Serves each lane first come first served; returns (sojourn, queueing) times, (lanes, n)."""
    env = gym.make_vec(
        env_id,
        num_envs=LANES,
        dataset=dataset_of(latency),
        observe="id",
        arrival_rate=rate,
        duration=REQUESTS / rate,
        candidate_pool_size=4,
        network_rtt=0.0,
        cloud_time_multiplier=1.0,
        autoreset_mode="Disabled",
        **settings,
    )
    assert isinstance(env, EdgeCloudVectorEnv)
    env.reset(seed=12)
    actions = np.zeros((LANES, 4), np.int64)
    running = np.ones(LANES, np.bool_)
    while running.any():
        _, _, terminated, _, _ = env.step_active(actions, running)
        running &= ~terminated
    logs = [env.request_log(lane).iloc[WARM_UP:] for lane in range(LANES)]
    return [log.jct.mean() for log in logs], [log.queueing_delay.mean() for log in logs]


def assert_mean(lanes: list[float], expected: float) -> None:
    """Asserts that the known mean is within four standard errors, and that these are small."""
    error = float(np.std(lanes, ddof=1)) / math.sqrt(len(lanes))
    assert error < 0.05 * expected
    assert abs(np.mean(lanes) - expected) < 4.0 * error


def erlang_c(servers: int, load: float) -> float:
    """Probability that a request must wait; `load` is that of each server."""
    offered = servers * load
    waiting = offered**servers / math.factorial(servers) / (1.0 - load)
    return waiting / (sum(offered**k / math.factorial(k) for k in range(servers)) + waiting)


@pytest.mark.parametrize("servers", [1, 4])
@pytest.mark.parametrize("node", ["cloud", "edge"])
def test_mmc_waiting_time(node: str, servers: int) -> None:
    load = 0.7
    cloud = {"edge_concurrency": 0, "cloud_concurrency": servers}
    edge = {"edge_concurrency": servers, "edge_batch_capacity": 1, "cloud_concurrency": 0}
    _, queueing = simulate(
        STATIC, EXPONENTIAL, servers * load, **(cloud if node == "cloud" else edge)
    )
    assert_mean(queueing, erlang_c(servers, load) / (servers * (1.0 - load)))


@pytest.mark.parametrize("latency", [EXPONENTIAL, DETERMINISTIC, UNIFORM], ids="MDU")
def test_mg1_waiting_time(latency: NDArray[np.float64]) -> None:
    """Pollaczek-Khinchine: W = λ E[S²] / 2(1 - ρ)."""
    rate = 0.7
    _, queueing = simulate(CONTINUOUS, latency, rate, edge_concurrency=0, cloud_concurrency=1)
    load = rate * float(np.mean(latency))
    assert_mean(queueing, rate * float(np.mean(latency**2)) / (2.0 * (1.0 - load)))


@pytest.mark.parametrize("latency", [EXPONENTIAL, DETERMINISTIC, LOGNORMAL], ids="MDL")
def test_processor_sharing_is_insensitive(latency: NDArray[np.float64]) -> None:
    """E[T] = E[S] / (1 - ρ), whatever the distribution."""
    rate, slots = 0.7, 100  # more than 100 at once: once in 10^15
    curve = np.arange(1.0, slots + 1.0)
    sojourn, queueing = simulate(
        CONTINUOUS,
        latency,
        rate,
        edge_concurrency=slots,
        edge_slowdown=curve,
        cloud_concurrency=0,
    )
    assert max(queueing) == 0.0
    assert_mean(sojourn, float(np.mean(latency)) / (1.0 - rate * float(np.mean(latency))))


def test_shared_capacity_of_limited_processor_sharing() -> None:
    """At most c share the server: with exponential times the M/M/1 of the same rate, any c."""
    rate, slots = 0.7, 3
    sojourn, _ = simulate(
        CONTINUOUS,
        EXPONENTIAL,
        rate,
        edge_concurrency=slots,
        edge_slowdown=np.arange(1.0, slots + 1.0),
        cloud_concurrency=0,
    )
    assert_mean(sojourn, 1.0 / (1.0 - rate))


@pytest.mark.parametrize("env_id", [STATIC, CONTINUOUS])
def test_enough_independent_slots_never_make_a_request_wait(env_id: str) -> None:
    env = gym.make(
        env_id,
        dataset=dataset_of(LOGNORMAL),
        observe="id",
        arrival_rate=5.0,
        duration=200.0,
        edge_concurrency=200,
        edge_slowdown=None,
        cloud_concurrency=0,
        **({"edge_batch_capacity": 1} if env_id == STATIC else {}),
    )
    env.reset(seed=0)
    while not env.step(np.ones(32, np.int64))[2]:
        pass
    log = env.get_wrapper_attr("request_log")()
    assert len(log) > 800
    assert_allclose(log.jct, log.base_latency, rtol=1e-9)
