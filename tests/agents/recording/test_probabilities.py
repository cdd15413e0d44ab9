"""What stochastic agents say of their choices is how often they make them."""

import copy
from typing import Any

import numpy as np
import pytest

from agents import make_agent
from agents.experiments.episode import play_steps
from agents.schedulers.likelihood import batch_by_lot, one_by_one
from edgecloud_gym import CLUSTER_ID
from edgecloud_gym.arrivals import Trace
from edgecloud_gym.nodes import Slots, StaticBatches
from tests.edgecloud_gym.support import CONTINUOUS, STATIC, make

REPEATS = 800
SETTINGS: dict[str, dict[str, Any]] = {
    "random": {},
    "cn-greedy": {"epsilon": 0.5, "hidden": [8], "train_every": 1},
    "cn-ts": {"nu": 0.5, "hidden": [8], "train_every": 1},
    "cn-ducb": {"hidden": [8], "train_every": 1},
    "c2ucb": {},
}
CERTAIN = ("cn-ducb", "c2ucb")
# Nodes of different speeds, some of which fill up while a decision is made.
CLUSTER = [
    StaticBatches("a", capacity=2, backlog=1),
    Slots("b", slots=1),
    Slots("c", slots=2, time_multiplier=1.5, backlog=1),
]
BURSTS = Trace(np.repeat(np.arange(0.0, 30.0, 3.0), 6))  # so that several wait for several places
STATE = ("_calls", "_left", "_precision", "_inverse")


def at_decision(name: str, env_id: str) -> tuple[Any, Any, Any]:
    """Plays an agent that has learnt up to a decision that is open."""
    settings: dict[str, Any] = {"candidate_pool_size": 9, "work_conserving": False}
    if env_id == CLUSTER_ID:
        settings |= {"nodes": CLUSTER, "arrivals": BURSTS}
    else:
        settings |= {"cloud_concurrency": 2, "load": 1.5}
    env = make(env_id, **settings)
    agent = make_agent(name, **SETTINGS.get(name, {}))
    for _ in play_steps(env, agent, seed=0, agent_seed=1):  # it learns
        pass
    agent.reset(env, 2)
    observation, info = env.reset(seed=3)
    for step in range(400):
        likely = agent.probabilities(observation, info)
        assert likely is not None
        assert likely.sum(axis=1) == pytest.approx(1.0)
        assert likely.min() >= 0.0
        is_open = np.any((likely > 0.05) & (likely < 0.95)) and step > 20
        several = np.sum(likely[:, 0] < 1.0) > 1
        if (name in CERTAIN or is_open) and (several or env_id != CLUSTER_ID):
            return agent, observation, info
        observation, *_, info = env.step(agent.act(observation, info))
        agent.observe(env.completions())
    raise AssertionError("no decision is open")


CASES = [(name, env_id) for name in SETTINGS for env_id in (STATIC, CONTINUOUS)]
IN_CLUSTERS = [(name, CLUSTER_ID) for name in ("random", "power-of-two", "cn-ts", "cn-ducb")]


@pytest.mark.parametrize(("name", "env_id"), [*CASES, *IN_CLUSTERS])
def test_they_are_the_frequencies_of_choices(name: str, env_id: str) -> None:
    agent, observation, info = at_decision(name, env_id)
    likely = agent.probabilities(observation, info)
    kept = {n: copy.deepcopy(vars(agent)[n]) for n in STATE if n in vars(agent)}
    drawn = np.zeros_like(likely)
    for _ in range(REPEATS):
        action = agent.act(observation, info)
        drawn[np.arange(len(action)), action] += 1.0 / REPEATS
        for part, value in kept.items():  # it counts its calls, and updates what it explores by
            if isinstance(value, np.ndarray):
                vars(agent)[part][:] = value
            else:
                setattr(agent, part, copy.deepcopy(value))
    assert np.abs(drawn - likely).max() < (1e-9 if name in CERTAIN else 0.07)


def test_a_batch_by_lot_in_closed_form() -> None:
    rng = np.random.default_rng(0)
    second = rng.normal(size=7)
    table = batch_by_lot(second, batch=3, cloud=2)
    counts = np.zeros((7, 3))
    for _ in range(5_000):
        lot = rng.choice(7, 3, replace=False)
        rest = [j for j in np.argsort(second) if j not in lot][:2]
        choice = np.zeros(7, int)
        choice[lot], choice[rest] = 1, 2
        counts[np.arange(7), choice] += 1
    assert table == pytest.approx(counts / 5_000, abs=0.03)
    assert batch_by_lot(np.zeros(1), batch=1, cloud=0).tolist() == [[0.0, 1.0, 0.0]]


def _any_of(room: tuple[int, ...]) -> Any:
    is_open = np.array(room) > 0
    return is_open / is_open.sum()


def test_one_by_one_in_closed_form(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two nodes with a place each and one without end: the fourth finds either full or not."""
    table = one_by_one([1, 1], 3, _any_of)
    assert table.tolist() == [[0, 0.5, 0.5], [0, 0.5, 0.5], [1, 0, 0]]
    # The first node takes one: it is still free before candidate j with probability 2^-j.
    table = one_by_one([1, 9], 4, _any_of)
    assert table[:, 1] == pytest.approx([0.5, 0.25, 0.125, 0.0625])
    exact = one_by_one([2, 1, 3], 5, _any_of)
    assert exact.sum(axis=1) == pytest.approx(1.0)
    monkeypatch.setattr("agents.schedulers.likelihood.STATES", 3)  # now it draws
    drawn = one_by_one([2, 1, 3], 5, _any_of)
    assert drawn.sum(axis=1) == pytest.approx(1.0)
    assert not np.array_equal(drawn, exact)
