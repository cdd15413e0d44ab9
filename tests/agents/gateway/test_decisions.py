"""Agents before a live system: rows of its dataset stand for one request after the other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from agents.base import Agent, Info, Observation
from agents.gateway.decisions import DecisionProcess, Player, Round
from agents.prediction import predictor_for
from agents.prediction.belief import Belief
from agents.prediction.forecasts import as_forecast
from agents.registry import make_agent
from agents.rules.walk.packing import walk_facts
from edgecloud_gym.dataset import RequestDataset, load_dataset
from edgecloud_gym.simulator.compiled.follow import FINISHED
from edgecloud_gym.simulator.live import LiveEvent, LiveRequest
from tests.agents.gateway.support import engine

NODES = [engine("a", sequences=2), engine("b", backlog=1, sequences=2)]


@pytest.fixture(autouse=True)
def few_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets rows be taken again, and requests be renumbered, after a few dozen requests."""
    monkeypatch.setattr("edgecloud_gym.simulator.live._SPARE", 24)


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
    live_through(process, data, len(live.rows) + 60)  # rows are taken again
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
    live_through(process, data, len(live.rows) + 60)
    agent: Any = process.player.agent
    rows = live.rows.present
    dataset: Any = live.rows
    found = predictor_for(data).predict_dataset(dataset, rows)
    assert np.ptp(found.log_time_mean) > 0.3
    np.testing.assert_allclose(agent._prediction.log_time_mean[rows], found.log_time_mean)
    np.testing.assert_allclose(agent._facts[rows, 0], found.median_time)
    if name == "predicted-sjf":
        np.testing.assert_allclose(live._table["score"][rows], found.log_time_mean)


def test_beliefs_know_who_a_row_stands_for(data: RequestDataset) -> None:
    process = DecisionProcess(player("warm-linear"))
    live = process.player.env.live
    live_through(process, data, len(live.rows) + 60)
    agent: Any = process.player.agent
    rows = live.rows.present
    anew = Belief(predictor_for(data), agent.features, agent.noise)
    anew.restore(agent.state())
    dataset: Any = live.rows
    anew.look_at_changing(dataset)
    found = anew.log_times()[rows]
    prior = predictor_for(data).predict_dataset(dataset, rows).log_time_mean
    assert np.abs(found - prior).max() > 0.01  # it has learnt
    np.testing.assert_allclose(agent.belief.log_times()[rows], found)
    np.testing.assert_allclose(live._table["score"][rows], found)
    np.testing.assert_allclose(agent._facts[rows, 0], np.exp(found))


def test_a_network_knows_who_a_row_stands_for(data: RequestDataset) -> None:
    process = DecisionProcess(player("ppo"))
    live = process.player.env.live
    live_through(process, data, len(live.rows) + 60)
    agent: Any = process.player.agent
    rows = live.rows.present
    dataset: Any = live.rows
    found = as_forecast(agent.file.predictor().predict_dataset(dataset, rows))
    assert np.ptp(found.time) > 0.3
    np.testing.assert_allclose(live._table["score"][rows], found.time)
    facts = walk_facts(found, live.rows.prompt_tokens[rows], live.workload.mean_output)
    np.testing.assert_allclose(agent._facts[rows], facts)


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


class AllToTheLast(Agent):
    """Sends everybody to the last node, whether it has room for them or not."""

    def act(self, observation: Observation, info: Info, explore: bool = True) -> NDArray[np.int64]:
        del observation, info, explore
        return np.full(self.env.config.candidate_pool_size, len(NODES))


@pytest.mark.parametrize("fills", [False, True])
def test_what_a_shadow_picks_is_repaired_before_it_is_told(fills: bool) -> None:
    settings = {"work_conserving": fills, "candidate_pool_size": 8}
    shadow = Player(AllToTheLast(), NODES, dataset="smollm2-135m", waiting=8, settings=settings)
    process = DecisionProcess(player("join-shortest-queue"), shadow)
    comers = [LiveRequest(key, 1.0, 8) for key in range(5)]
    outcome = process.decide(Round(1.0, comers, [], (0, 0)))
    # Three places there are; the others wait, or take those that would else be idle.
    assert outcome.shadow == {0: 1, 1: 1, 2: 1} | ({3: 0, 4: 0} if fills else {})
    # It is as if it had not been asked: what it would do next, the router's picks decide.
    assert shadow.env.live.at_nodes() == process.player.env.live.at_nodes()
    assert len(outcome.sent) == 5
    done = [LiveEvent(2.0, FINISHED, key, 10) for key, node in outcome.sent if node == 1]
    again = process.decide(Round(2.0, [LiveRequest(5, 2.0, 8)], done, (0, 0)))
    assert again.shadow == {5: 1}


def test_agents_that_cannot_play_live_are_refused() -> None:
    with pytest.raises(ValueError, match="'sjf-oracle' does not play live"):
        player("sjf-oracle")
    with pytest.raises(TypeError, match="unknown setting"):
        player("fcfs", settings={"nonsense": 1})
