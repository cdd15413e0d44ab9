"""The compiled walk shows, scores and chooses what the one of `QueueHead` does with torch."""

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

from agents.experiments.episode import play_steps
from agents.policies.algorithms import ALGORITHMS
from agents.policies.rules import rule_for
from agents.policies.state import network_state
from agents.prediction import Predictor
from agents.prediction.forecasts import forecast
from agents.registry import agent_class
from agents.rules.walk.packing import walk_parameters
from agents.schedulers.policy_agent import PolicyAgent, TorchPolicyAgent
from agents.schedulers.policy_file import WalkSettings, read_policy, write_policy
from edgecloud_gym.wrappers.walk import QueueWalk
from tests.agents.rules.test_equal import DATA, SYSTEMS, make

PREDICTOR = Predictor.fit(DATA)
WIDTH = 8


def written(path: Path, name: str, env: Any, skips: int = 0, rule: bool = True) -> Path:
    """A file of a network of random weights for an environment."""
    walk = QueueWalk(env.unwrapped.simulator, forecast(PREDICTOR, DATA))
    network: dict[str, Any] = {"width": WIDTH, "rule": rule_for("static") if rule else None}
    policy = ALGORITHMS[name].build(walk.space(), walk.action_space(False), **network)
    rng = np.random.default_rng(1)
    arrays = {
        key: value if "rule" in key else rng.normal(0.0, 0.5, value.shape).astype(np.float32)
        for key, value in network_state(policy).items()
    }
    write_policy(path, name, WalkSettings("", skips, network=network), PREDICTOR, arrays, {})
    return path


def twin_of(agent: PolicyAgent, shown: list[Any]) -> TorchPolicyAgent:
    """The same agent played by torch, which notes what it is shown."""
    twin = type("Twin", (TorchPolicyAgent,), {"name": agent.name})(agent.model)
    plain = twin.reset

    def reset(*args: Any) -> None:
        plain(*args)
        choose = twin._player.choose
        twin._player.choose = lambda seen: (shown.append(seen), choose(seen))[1]

    twin.reset = reset
    return twin


@pytest.mark.parametrize("system", SYSTEMS)
def test_it_decides_as_torch_does_on_what_it_is_shown(system: str, tmp_path: Path) -> None:
    env, shown = make(system), []
    agent = PolicyAgent.__subclasses__()[0](written(tmp_path / "m.npz", "ppo", env, skips=1))
    twin = twin_of(agent, shown)
    for player in (agent, twin):
        player.reset(env, 0)
    observation, info = env.reset(seed=3)
    nodes, done = len(env.unwrapped.config.nodes), False
    while not done:
        shown.clear()
        action = agent.act(observation, info)
        np.testing.assert_array_equal(action, twin.act(observation, info))
        last = [shown[-1][key].ravel() for key in ("candidate", "system", "nodes")]
        lag, mine = agent._memory[:nodes], agent._memory[4 * nodes :]
        np.testing.assert_allclose(
            mine[: sum(map(len, last))], np.concatenate(last), rtol=1e-5, atol=1e-6
        )
        np.testing.assert_allclose(lag, twin._walk.lag[0], atol=1e-9)
        observation, _, terminated, truncated, info = env.step(action)
        done = terminated or truncated
    assert env.unwrapped.summary()["completed"] > 20


@pytest.mark.parametrize("name", ["maskable-ppo", "a2c", "dqn"])
def test_networks_of_other_algorithms_lie_elsewhere_and_score_the_same(
    name: str, tmp_path: Path
) -> None:
    env = make("continuous")
    path = written(tmp_path / "m.npz", name, env, rule=name != "dqn")
    agent = agent_class(name)(path)
    alone = sum(play_steps(env, agent, 3, 0))
    assert alone == sum(play_steps(env, twin_of(agent, []), 3, 0))


def test_weights_that_do_not_fit_are_named(tmp_path: Path) -> None:
    env = make("static")
    file = read_policy(written(tmp_path / "m.npz", "ppo", env))
    simulator = env.unwrapped.simulator

    def parameters(features: int = 2, **changed: Any) -> Any:
        arrays = {**file.arrays, **changed}
        return walk_parameters(arrays, "network/action_net.", 1.0, 0, simulator, features)

    assert len(parameters()) > 0
    with pytest.raises(
        ValueError, match=r"of_mean.weight have shape \(8, 23\), the network's \(8, 26\)"
    ):
        parameters(features=5)
    with pytest.raises(ValueError, match=r"weights other have shape \(1,\), the network's None"):
        parameters(**{"network/action_net.other": np.zeros(1)})
    with pytest.raises(ValueError, match=r"weights net\.of_mean\.bias have shape None"):
        walk_parameters({}, "", 1.0, 0, simulator, 2)


def test_it_is_played_without_observations(tmp_path: Path) -> None:
    env = make("cluster")
    agent = agent_class("ppo")(written(tmp_path / "m.npz", "ppo", env))
    rewards = list(play_steps(env, agent, 3, 0))
    assert agent.plays_alone
    assert rewards == list(play_steps(gymnasium.Wrapper(make("cluster")), agent, 3, 0))
