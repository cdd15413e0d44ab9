"""Index policies as agents: what comes with the package, and what they take."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from agents import make_agent
from agents.experiments.episode import run_episode
from agents.prediction import Prediction
from agents.rules.index import Index
from agents.schedulers.index import boosted
from agents.schedulers.index_settings import BUNDLED, Ageing, IndexSettings, Order, load_index
from edgecloud_gym import ENV_IDS, RequestDataset
from edgecloud_gym.priorities import AgedScores


def mean_jct(name: str, env_id: str = "EdgeCloud-Static-v0", **settings: Any) -> float:
    """Returns the mean over three episodes on test prompts."""
    chosen = {"duration": 300.0, "split": "test", "observe": "id", "work_conserving": False}
    env = gym.make(env_id, **{**chosen, **settings})
    means = []
    for seed in range(3):
        run_episode(env, make_agent(name), seed, 0)
        means.append(env.unwrapped.summary()["jct_mean"])
    return float(np.mean(means))


@pytest.mark.parametrize("env_id", sorted(ENV_IDS))
def test_a_policy_comes_with_each_environment_and_says_what_made_it(env_id: str) -> None:
    found = load_index(BUNDLED / f"{env_id}.json")
    assert found.training["definition"]["env"] == env_id
    assert found.training["definition"]["settings"]["split"] == "train"
    assert {"seconds", "command", "machine", "versions", "curve"} <= found.training.keys()


def test_predictions_are_worth_something_and_truth_more() -> None:
    fcfs, predicted, true = (
        mean_jct(name, load=1.1) for name in ("fcfs", "predicted-sjf", "oracle-placement")
    )
    assert true < predicted < 0.5 * fcfs


def test_in_a_cluster_placement_matters_more_than_order() -> None:
    cluster = {"env_id": "EdgeCloud-Cluster-v0", "load": 0.95}
    assert mean_jct("index", **cluster) < mean_jct("join-shortest-queue", **cluster)
    assert mean_jct("index", **cluster) < mean_jct("sjf-oracle", **cluster)


def test_ageing_leaves_out_the_longest() -> None:
    prediction = Prediction(np.arange(10.0), np.ones(10), np.full(10, np.nan))
    settings = IndexSettings(Index(), Order(), Ageing(0.5, 0.2))
    order = settings.order(prediction, np.arange(10, dtype=np.int32), aged=True)
    assert isinstance(order, AgedScores)
    assert order.last.nonzero()[0].tolist() == [8, 9]
    assert order.rate == 0.5
    plain = settings.order(prediction, np.arange(10, dtype=np.int32), aged=False)
    np.testing.assert_array_equal(plain, np.arange(10.0))


def test_a_boost_lies_between_shortest_first_and_order_of_arrival() -> None:
    times = np.array([10.0, 4.0, 2.0, 1.0])
    shortest = boosted(times, 1e-6)
    assert shortest.rate == 1.0  # one second of waiting is worth one second of boost
    assert not shortest.last.any()
    # Nearly the order of log t + γ · arrival: what ageing does.
    np.testing.assert_allclose(1e-6 * np.diff(shortest.scores), np.diff(np.log(times)), rtol=1e-4)
    assert np.ptp(boosted(times, 100.0).scores) < 1e-9  # nobody is boosted
    assert boosted(times, 0.5).scores[2] == pytest.approx(2 * np.log(1 - np.exp(-1)))
    with pytest.raises(ValueError, match="boost=0"):
        make_agent("predicted-sjf", boost=0)


def test_a_dataset_without_embeddings_cannot_be_predicted() -> None:
    data = RequestDataset.from_arrays(base_latency=np.ones(20))
    env = gym.make("EdgeCloud-Static-v0", dataset=data, observe="id", edge_slowdown=None)
    with pytest.raises(ValueError, match="no embeddings"):
        run_episode(env, make_agent("predicted-sjf"), 0, 0)
