"""Agents before a live system: rows of its dataset stand for one request after the other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from agents.gateway.decisions import DecisionProcess, Player, Round
from agents.prediction import predictor_for
from agents.registry import make_agent
from agents.rules.walk.packing import TIME
from edgecloud_gym.dataset import RequestDataset, load_dataset
from edgecloud_gym.simulator.compiled.follow import FINISHED
from edgecloud_gym.simulator.live import LiveEvent, LiveRequest
from tests.agents.gateway.support import engine

NODES = [engine("a", sequences=2), engine("b", backlog=1, sequences=2)]


@pytest.fixture(scope="module")
def data() -> RequestDataset:
    return load_dataset("smollm2-135m")


def player(name: str, **more: Any) -> Player:
    return Player(make_agent(name), NODES, dataset="smollm2-135m", waiting=8, **more)


def live_through(process: DecisionProcess, data: RequestDataset, requests: int) -> None:
    """Lets requests come and go; every second one is long, which its embedding tells."""
    assert data.embeddings is not None
    assert data.prompt_tokens is not None
    there: list[int] = []
    stuck = False
    for key in range(requests):
        now = float(key)
        done = [there.pop(0) for _ in range(max(0, len(there) - 2))]
        events = [LiveEvent(now, FINISHED, k, 10 + 90 * (k % 2)) for k in done]
        row = 2 * (key % 400) + key % 2
        comer = LiveRequest(key, now, int(data.prompt_tokens[row]), data.embeddings[row])
        outcome = process.decide(Round(now, [comer], events, (0, 0), stuck))
        stuck = outcome.stuck
        there += [k for k, _ in outcome.sent]


@pytest.mark.parametrize("name", ["clinucb", "c2ucb", "cn-ducb", "neural-linear"])
def test_bandits_know_who_a_row_stands_for(name: str, data: RequestDataset) -> None:
    process = DecisionProcess(player(name))
    live = process.player.env.live
    assert process.needs_embeddings
    live_through(process, data, len(live.rows) + 100)  # rows are taken again
    agent: Any = process.player.agent
    rows = live.rows.present
    np.testing.assert_array_equal(agent._table[rows], live.embeddings[rows])
    now = agent.assess(rows, False)[0]
    np.testing.assert_allclose(now, agent.evaluate(live.embeddings[rows], False)[0], rtol=1e-4)
    assert len(agent._predictions) < 1001


@pytest.mark.parametrize("name", ["predicted-sjf", "index", "index-aged"])
def test_predictors_know_who_a_row_stands_for(name: str, data: RequestDataset) -> None:
    process = DecisionProcess(player(name))
    live = process.player.env.live
    assert process.needs_embeddings
    live_through(process, data, len(live.rows) + 100)
    agent: Any = process.player.agent
    rows = live.rows.present
    dataset: Any = live.rows
    found = predictor_for(data).predict_dataset(dataset, rows)
    assert np.ptp(found.log_time_mean) > 0.3
    np.testing.assert_allclose(agent._prediction.log_time_mean[rows], found.log_time_mean)
    np.testing.assert_allclose(agent._facts[rows, 0], found.median_time)
    if name == "predicted-sjf":
        np.testing.assert_allclose(live._table["score"][rows], found.log_time_mean)


def test_a_network_knows_who_a_row_stands_for(data: RequestDataset) -> None:
    process = DecisionProcess(player("ppo"))
    live = process.player.env.live
    live_through(process, data, len(live.rows) + 100)
    agent: Any = process.player.agent
    rows = live.rows.present
    dataset: Any = live.rows
    times = agent.file.predictor().predict_dataset(dataset, rows).expected_time
    assert np.ptp(times) > 0.3
    np.testing.assert_allclose(agent._facts[rows, TIME], times)
    np.testing.assert_allclose(live._table["score"][rows], times)


def test_who_asks_for_no_embeddings_costs_none() -> None:
    assert not DecisionProcess(player("join-shortest-queue")).needs_embeddings
    shadowed = DecisionProcess(player("fcfs"), player("c2ucb"))
    assert shadowed.needs_embeddings


def test_a_shadow_is_asked_and_not_obeyed(data: RequestDataset) -> None:
    process = DecisionProcess(player("fcfs"), player("join-shortest-queue"))
    assert process.shadow is not None
    first = process.decide(Round(1.0, [LiveRequest(0, 1.0, 8)], [], (0, 0)))
    assert (first.sent, first.shadow) == ([(0, 0)], {0: 0})
    second = process.decide(Round(2.0, [LiveRequest(1, 2.0, 8)], [], (0, 0)))
    assert (second.sent, second.shadow) == ([(1, 0)], {1: 1})
    both = [p.env.live.at_nodes() for p in (process.player, process.shadow)]
    assert both[0] == both[1] == [(0, 0), (1, 0)]
    live_through(DecisionProcess(player("fcfs"), player("c2ucb")), data, 30)


def test_agents_that_cannot_play_live_are_refused() -> None:
    with pytest.raises(ValueError, match="'sjf-oracle' does not play live"):
        player("sjf-oracle")
    with pytest.raises(ValueError, match="'warm-linear' does not play live"):
        player("warm-linear")
    with pytest.raises(TypeError, match="unknown setting"):
        player("fcfs", settings={"nonsense": 1})
