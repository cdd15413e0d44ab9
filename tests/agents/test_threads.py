"""Results that do not depend on how many cores a machine has."""

import os
import subprocess
import sys
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_info, threadpool_limits

from agents import make_agent
from agents.experiments.episode import run_episode
from agents.prediction.predictor import Predictor
from agents.threads import one_thread
from edgecloud_gym.dataset import load_dataset


def blas_threads() -> set[int]:
    return {info["num_threads"] for info in threadpool_info() if info["user_api"] == "blas"}


def test_one_thread_is_for_a_while() -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        with threadpool_limits(2, user_api="blas"):
            with one_thread():
                assert blas_threads() == {1}
                assert torch.get_num_threads() == 1
            assert blas_threads() == {2}
            assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_threads_return_after_an_error() -> None:
    with threadpool_limits(2, user_api="blas"):
        with pytest.raises(KeyError), one_thread():
            raise KeyError
        assert blas_threads() == {2}


def test_libraries_that_come_later_are_kept_to_one_thread() -> None:
    code = """
import sys
from threadpoolctl import threadpool_info
from agents.threads import one_thread
count = lambda: [i["num_threads"] for i in threadpool_info() if i["user_api"] == "blas"]
with one_thread():
    before = count()
assert "scipy.linalg" not in sys.modules
import scipy.linalg  # which brings a BLAS of its own
with one_thread():
    after = count()
print(len(after) > len(before), set(after))
"""
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "2"},
    )  # fmt: skip
    assert found.stdout.strip() == "True {1}"


def test_episodes_are_the_same_on_any_number_of_cores() -> None:
    env: Any = gym.make(
        "EdgeCloud-Static-v0",
        dataset="smollm2-135m",
        duration=200.0,
        arrival_rate=5.0,
        embedding_dim=None,
    )
    scores = []
    for number in (1, 2):
        agent: Any = make_agent("c2ucb")
        with threadpool_limits(number, user_api="blas"):
            run_episode(env, agent, seed=0, agent_seed=0)
        scores.append(agent.state())
    assert scores[0].keys() == scores[1].keys()
    for name, value in scores[0].items():
        np.testing.assert_array_equal(value, scores[1][name], err_msg=name)


def test_predictors_are_the_same_on_any_number_of_cores() -> None:
    dataset = load_dataset("smollm2-135m")
    found = []
    for number in (1, 2):
        with threadpool_limits(number, user_api="blas"):
            predictor = Predictor.fit(dataset, np.arange(400))
            found.append(predictor.predict_dataset(dataset, np.arange(400, 800)).log_time_mean)
    np.testing.assert_array_equal(*found)
