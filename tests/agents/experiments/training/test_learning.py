"""Whether agents may learn while they are evaluated: `run_experiment(learn=)`."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agents import Agent, AgentSpec, make_agent, run_experiment
from agents.experiments.design.scenario import Scenario
from agents.experiments.episode import run_episode
from agents.experiments.experiment import ignorant
from agents.experiments.runs.definition import define_runs
from edgecloud_gym import RequestDataset

RNG = np.random.default_rng(0)
DATA = RequestDataset.from_arrays(
    base_latency=RNG.lognormal(0.0, 0.7, 50), embeddings=RNG.normal(size=(50, 4))
)
STATIC = "EdgeCloud-Static-v0"
SETTINGS: dict[str, Any] = {"dataset": DATA, "duration": 20.0, "load": 1.1}


def explores(agents: Any, learn: bool | None) -> dict[str, bool]:
    runs = define_runs(STATIC, agents, 1, SETTINGS, learn)
    return {run.spec.label: run.spec.explore for run in runs}


def test_one_setting_for_all_or_each_as_it_is() -> None:
    agents = ["c2ucb", AgentSpec("c2ucb", label="fixed", explore=False), "fcfs"]
    as_they_are = {"c2ucb": True, "fixed": False, "fcfs": True}
    assert explores(agents, None) == as_they_are
    for learn in (True, False):
        assert explores(agents, learn) == dict.fromkeys(as_they_are, learn)
    with pytest.raises(TypeError, match="learn='no': must be True or False"):
        run_experiment(STATIC, agents, 1, SETTINGS, None, learn="no")  # type: ignore[arg-type]


def test_it_is_part_of_what_defines_a_run() -> None:
    digests = [
        define_runs(STATIC, "c2ucb", 1, SETTINGS, learn)[0].digest for learn in (1 > 0, False)
    ]
    assert len(set(digests)) == 2


@pytest.fixture
def trained(tmp_path: Path) -> AgentSpec:
    agent = make_agent("c2ucb")
    env = Scenario(STATIC, SETTINGS).make(agent.work_conserving)
    run_episode(env, agent, seed=7, agent_seed=7)
    agent.save(tmp_path / "c2ucb.npz")
    return AgentSpec("c2ucb", checkpoint=tmp_path / "c2ucb.npz")


def test_who_may_not_learn_plays_as_it_was_saved(trained: AgentSpec) -> None:
    agent = trained.make()
    before = {name: array.copy() for name, array in agent.state().items()}
    env = Scenario(STATIC, SETTINGS).make(agent.work_conserving)
    run_episode(env, agent, seed=0, agent_seed=0, explore=False)
    for name, array in agent.state().items():
        np.testing.assert_array_equal(array, before[name], err_msg=name)


def test_who_knows_nothing_and_may_not_learn_is_named(trained: AgentSpec) -> None:
    with pytest.warns(UserWarning, match="agent 'c2ucb' starts from zero and may not learn"):
        result = run_experiment(STATIC, ["c2ucb", "fcfs"], 2, SETTINGS, None, learn=False)
    jct = result.summary.set_index(["agent", "seed"])["jct_mean"]
    np.testing.assert_array_equal(jct["c2ucb"], jct["fcfs"])  # nothing to go by: as they come
    assert [item["learns"] for item in result.record["agents"]] == [False, False]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run_experiment(STATIC, trained, 1, SETTINGS, None, learn=False)
        run_experiment(STATIC, "c2ucb", 1, SETTINGS, None)


def test_agents_of_ones_own_say_whether_they_learn() -> None:
    class Eager(Agent):
        learns = True
        from_zero = True

        def act(self, observation: Any, info: Any, explore: bool = True) -> Any:
            raise NotImplementedError

    spec = AgentSpec(Eager)
    assert spec.learns
    assert not AgentSpec("fcfs").learns
    assert ignorant(define_runs(STATIC, Eager, 1, SETTINGS, False))
