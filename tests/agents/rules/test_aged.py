"""Ageing: a queue ordered by score + rate · arrival, with some that come last."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from edgecloud_gym import RequestDataset
from edgecloud_gym.arrivals import Trace
from edgecloud_gym.priorities import AgedScores


def order(priority: Any) -> list[int]:
    """Returns who starts when, of four requests of which the first runs when the others come."""
    env = gym.make(
        "EdgeCloud-Static-v0",
        dataset=RequestDataset.from_arrays(base_latency=np.array([10.0, 4.0, 2.0, 1.0])),
        observe="id",
        prompt_order="sequential",
        arrivals=Trace(np.array([0.0, 1.0, 3.0, 5.0])),
        duration=6.0,
        edge_concurrency=0,
        cloud_concurrency=1,
        priority=priority,
    )
    env.reset(seed=0)
    done = False
    while not done:
        _, _, done, _, _ = env.step(np.zeros(32, np.int64))
    dispatched = env.unwrapped.simulator.state.requests[0, :4]["dispatch"]
    return dispatched.argsort().tolist()


def test_without_a_rate_the_scores_alone_count() -> None:
    assert order(AgedScores([10.0, 4.0, 2.0, 1.0], 0.0)) == [0, 3, 2, 1]


def test_with_a_large_rate_who_came_first_goes_first() -> None:
    assert order(AgedScores([10.0, 4.0, 2.0, 1.0], 5.0)) == [0, 1, 2, 3]


def test_in_between_both_count() -> None:
    # 4 + 0.9, 2 + 2.7, 1 + 4.5
    assert order(AgedScores([10.0, 4.0, 2.0, 1.0], 0.9)) == [0, 2, 1, 3]


def test_some_come_last_whenever_they_came() -> None:
    last = np.array([False, True, False, False])
    assert order(AgedScores([10.0, 4.0, 2.0, 1.0], 5.0, last)) == [0, 2, 3, 1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([1.0, np.nan], 0.1), r"scores\[1\]=nan"),
        (([1.0, 2.0], -1.0), "rate=-1"),
        (([1.0, 2.0], 0.1, [True]), "last="),
    ],
)
def test_what_is_wrong_is_named(arguments: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AgedScores(*arguments)
