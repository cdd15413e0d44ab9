"""Index policies: what they decide can be worked out by hand, and their scores say the same."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from agents import make_agent
from agents.rules.index import CONTINUOUS_THUMB, STATIC_THUMB, Index
from agents.rules.scores import cluster_scores, pair_scores
from edgecloud_gym import RequestDataset
from edgecloud_gym.arrivals import Trace
from edgecloud_gym.nodes import Slots

TIMES = np.array([8.0, 1.0, 2.0, 2.4, 2.6, 0.5])


def at_once(name: str, env: str = "Static", times: Any = TIMES, **settings: Any) -> Any:
    """Resets an environment in which requests of given times arrive together."""
    chosen = {
        "dataset": RequestDataset.from_arrays(base_latency=times),
        "observe": "id",
        "prompt_order": "sequential",
        "arrivals": Trace(np.zeros(len(times))),
        "duration": 100.0,
        "work_conserving": False,
        **settings,
    }
    made = gym.make(f"EdgeCloud-{env}-v0", **chosen)
    agent = make_agent(name)
    agent.reset(made, 0)
    observation, info = made.reset(seed=0)
    action = agent.act(observation, info)
    rows = made.unwrapped.candidates()["row"]
    return dict(zip(rows.tolist(), action.tolist(), strict=False))


def test_the_cloud_takes_the_shortest_and_the_edge_a_batch_of_like_ones() -> None:
    sent = at_once("oracle-placement", cloud_concurrency=1, edge_slowdown=None)
    assert sent == {5: 2, 1: 1, 2: 1, 3: 1, 4: 0, 0: 0}  # 2.6 s is more than 2.5 times 1 s


def test_the_edge_takes_nothing_while_the_cloud_has_room() -> None:
    sent = at_once("oracle-placement", cloud_concurrency=6, edge_slowdown=None)
    assert set(sent.values()) == {2}


def test_a_continuous_edge_takes_what_is_short_for_the_number_that_wait() -> None:
    times = np.array([0.1, 0.9, 5.0])
    sent = at_once("oracle-placement", "Continuous", times, cloud_concurrency=1, edge_slowdown=None)
    assert sent == {0: 2, 1: 1, 2: 0}  # 0.9 <= 0.7 (1 + 2), 5 > 0.7 (1 + 1)


def test_in_a_cluster_requests_wait_rather_than_queue_at_a_node() -> None:
    nodes = [
        Slots("fast", slots=1, time_multiplier=1.0, network_rtt=0.0, backlog=5),
        Slots("slow", slots=1, time_multiplier=3.0, network_rtt=0.0, backlog=5),
    ]
    sent = at_once("oracle-placement", "Cluster", np.array([1.0, 2.0, 3.0]), nodes=nodes)
    assert sent == {0: 1, 1: 2, 2: 0}


@pytest.mark.parametrize("index", [STATIC_THUMB, CONTINUOUS_THUMB, Index(0.5, -2.0, 0.4, 1.0)])
def test_pair_scores_say_what_the_rule_decides(index: Index) -> None:
    log_times, shares = np.log(TIMES)[:, np.newaxis], np.array([0.0, 0.25, 1.0])
    choice = pair_scores(index, log_times, 4, shares, True).argmax(axis=-1)
    for i, log_time in enumerate(log_times[:, 0]):
        for k, share in enumerate(shares):
            level = index.edge_level + index.edge_free * share + index.edge_queue * np.log(5.0)
            edge = log_time <= level + index.edge_full * (share == 0)
            assert choice[i, k] == (1 if edge else 2 if share else 0)


def test_cluster_scores_have_no_largest_but_waiting_where_all_are_full_enough() -> None:
    index = Index(fill_limit=1.0, own_time=0.0)
    rate, fitting = np.array([2.0, 1.0]), np.array([4.0, 4.0])
    there = np.array([[1.0, 1.0], [3.0, 1.0], [5.0, 5.0]])
    scores = cluster_scores(index, there, rate, fitting, np.ones(2), np.array([True, True]))
    assert scores.argmax(axis=-1).tolist() == [1, 2, 0]
