"""What the tests of the agents share."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from agents import make_agent
from agents.experiments.episode import run_episode
from edgecloud_gym import RequestDataset
from edgecloud_gym.arrivals import Trace

HORIZON = 600.0
TOLERANCE = 1e-9  # s


def write_requests(path: Path, rng: np.random.Generator, count: int) -> None:
    """Writes a file of the reference's seven keys."""
    lines = [
        {
            "request_text": f"prompt {i}",
            "model_name": "toy",
            "response_text": "answer",
            "device": "cpu",
            "inference_time": float(time),
            "input_token_count": 10,
            "output_token_count": 20,
        }
        for i, time in enumerate(rng.lognormal(0.0, 0.6, count))
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


@pytest.fixture(scope="session")
def learnable(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset's file, of the reference's keys, with embeddings beside it."""
    path = tmp_path_factory.mktemp("data") / "toy.jsonl"
    rng = np.random.default_rng(0)
    write_requests(path, rng, 60)
    np.savez(path.with_suffix(".npz"), embeddings=rng.normal(size=(60, 6)))
    return path


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
    duration: float = HORIZON,
    **settings: Any,
) -> pd.DataFrame:
    """Plays an agent on given requests through the public environment."""
    env = gym.make(
        "EdgeCloud-Static-v0",
        dataset=RequestDataset.from_arrays(base_latency=base),
        observe="id",
        prompt_order="sequential",
        arrivals=Trace(arrival),
        duration=duration,
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
