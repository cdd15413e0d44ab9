"""Index policies: what they decide can be worked out by hand."""

from typing import Any

import gymnasium as gym
import numpy as np

from agents import make_agent
from agents.rules.index import Index
from edgecloud_gym import RequestDataset
from edgecloud_gym.arrivals import Trace
from edgecloud_gym.nodes import Slots

TIMES = np.array([8.0, 1.0, 2.0, 2.4, 2.6, 0.5])


def at_once(
    name: str,
    env: str = "Static",
    times: Any = TIMES,
    index: Index | None = None,
    **settings: Any,
) -> Any:
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
    agent: Any = make_agent(name)
    if index is not None:
        agent.index = lambda: index
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


def test_a_request_waits_for_a_node_that_costs_much_less() -> None:
    nodes = [
        Slots("fast", slots=1, time_multiplier=1.0, network_rtt=0.0),
        Slots("slow", slots=1, time_multiplier=8.0, network_rtt=0.0),
    ]

    def sent(times: list[float], **numbers: float) -> Any:
        index = Index(own_time=1.0, **numbers)
        return at_once("oracle-placement", "Cluster", np.array(times), index, nodes=nodes)

    # The fast node is taken by the first: for the second it would cost its time and the
    # mean of all, 1 / rate, which are 2 s each; the slow one costs 16 s: 4 times, log 4 = 1.39.
    assert sent([2.0, 2.0], hold_level=1.3) == {0: 1, 1: 0}
    assert sent([2.0, 2.0], hold_level=1.5) == {0: 1, 1: 2}
    # With others behind it, it holds the less.
    assert sent([2.0, 2.0, 2.0], hold_level=1.3) == {0: 1, 1: 0, 2: 0}
    assert sent([2.0, 2.0, 2.0], hold_level=1.3, hold_queue=1.0) == {0: 1, 1: 2, 2: 0}
