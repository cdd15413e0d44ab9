"""What the tests of the agents share."""

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from agents import make_agent
from agents.episode import run_episode
from edgecloud_gym import RequestDataset
from edgecloud_gym.arrivals import Trace

HORIZON = 600.0
TOLERANCE = 1e-9  # s


@pytest.fixture(scope="session")
def play_static() -> Callable[..., pd.DataFrame]:
    """Plays an agent on given requests through the public environment; returns the log."""
    return request_log


@pytest.fixture(scope="session")
def assert_same_log() -> Callable[[pd.DataFrame, pd.DataFrame], None]:
    """Compares two logs for every request that is done within the horizon."""
    return assert_same


def request_log(
    agent: str,
    arrival: NDArray[np.float64],
    base: NDArray[np.float64],
    *,
    edge: int,
    batch: int,
    cloud: int,
    multiplier: float = 1.0,
    **settings: Any,
) -> pd.DataFrame:
    """Plays an agent on given requests through the public environment."""
    env = gym.make(
        "EdgeCloud-Static-v0",
        dataset=RequestDataset.from_arrays(latency=base),
        observe="id",
        prompt_order="sequential",
        arrivals=Trace(arrival),
        duration=HORIZON,
        edge_concurrency=edge,
        edge_batch_capacity=batch,
        cloud_concurrency=cloud,
        cloud_time_multiplier=multiplier,
        network_rtt=0.05,
        candidate_pool_size=batch + cloud,
        work_conserving=False,
        **settings,
    )
    run_episode(env, make_agent(agent), seed=0, agent_seed=0)
    return env.unwrapped.request_log()


def assert_same(log: pd.DataFrame, expected: pd.DataFrame) -> None:
    done = (expected["completion_time"] <= HORIZON).to_numpy()
    assert done.sum() > 100
    assert log["node"][done].tolist() == expected["node"][done].tolist()
    for column in ("arrival_time", "start_time", "completion_time"):
        difference = np.abs(log[column] - expected[column])[done]
        assert difference.max() <= TOLERANCE, column
