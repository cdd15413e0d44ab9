"""The default cluster is worth deciding about: where a request goes matters."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from numpy.typing import NDArray

from edgecloud_gym import CLUSTER_ID, load_dataset
from edgecloud_gym.envs.base import EdgeCloudEnv
from tests.edgecloud_gym.support import at_random, make

Rule = Callable[[NDArray[np.float64], NDArray[np.int64]], int]


def mean_jct(rule: Rule, seed: int) -> float:
    """Mean JCT of a router that sends each candidate to the node that the rule names."""
    env = make(
        CLUSTER_ID,
        dataset=load_dataset("smollm2-135m"),
        observe="id",
        duration=200.0,
        work_conserving=False,
    )
    env.reset(seed=seed)
    done = False
    while not done:
        _, _, done, _, _ = env.step(action_of(env, rule))
    return float(env.request_log().jct.mean())


def action_of(env: EdgeCloudEnv, rule: Rule) -> NDArray[np.int64]:
    speeds = np.array(env.simulator.workload.capacities)
    room = np.array(env.room())
    present = env.simulator.total_room - room
    action = np.zeros(32, np.int64)
    for j in range(len(env.candidates())):
        node = rule(speeds, np.where(room > 0, present, np.iinfo(np.int64).max))
        if room[node] == 0:
            break
        action[j] = 1 + node
        room[node] -= 1
        present[node] += 1
    return action


def shortest_queue(speeds: NDArray[np.float64], present: NDArray[np.int64]) -> int:
    """The node whose requests, this one among them, are the fewest for its speed."""
    return int(np.argmin((present + 1.0) / speeds))


def fastest(speeds: NDArray[np.float64], _present: NDArray[np.int64]) -> int:
    return int(np.argmax(speeds))


@pytest.mark.parametrize("seed", [0, 1])
def test_all_to_the_fastest_node_is_clearly_worse_than_a_good_rule(seed: int) -> None:
    good = mean_jct(shortest_queue, seed)
    assert mean_jct(fastest, seed) > 5.0 * good
    for node in range(3):
        assert mean_jct(lambda *_, node=node: node, seed) > 5.0 * good


@pytest.mark.parametrize("age", [0.0, 0.7, 1e9])
def test_signals_are_as_old_as_they_may_be(age: float) -> None:
    """What is shown is what an agent with exact signals saw when they were read."""
    exact = make(CLUSTER_ID, duration=20.0)
    stale = make(CLUSTER_ID, duration=20.0, signal_age=age)
    policy = at_random(0, (1.0,) * 4)
    (now, info), (shown, _) = exact.reset(seed=0), stale.reset(seed=0)
    read, since, repeats, done = now["nodes"], info["time"], 0, False
    while not done:
        if info["time"] - since >= age:
            read, since = now["nodes"], info["time"]
        assert_array_equal(shown["nodes"], read)
        assert_array_equal(shown["system"], now["system"])
        repeats += not np.array_equal(read, now["nodes"])
        action = policy(now, info)
        now, _, done, _, info = exact.step(action)
        shown = stale.step(action)[0]
    assert (repeats > 10) == (age > 0.0)
