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
from agents.registry import make_agent
from agents.rules.walk.packing import walk_parameters
from agents.schedulers.policy_agent import PPOAgent, TorchPolicyAgent
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


class Twin(TorchPolicyAgent):
    """The same agent played by torch, which notes what it is shown."""

    name = "ppo"

    def reset(self, env: Any, seed: int) -> None:
        super().reset(env, seed)
        self.shown: list[Any] = []
        self._player = Noting(self._player, self.shown)


class Noting:
    """A player that notes what it is shown."""

    def __init__(self, player: Any, shown: list[Any]) -> None:
        self.player, self.shown = player, shown

    def choose(self, seen: Any) -> Any:
        self.shown.append(seen)
        return self.player.choose(seen)


def twin_of(agent: Any) -> Any:
    return type("Twin", (Twin,), {"name": agent.name})(agent.model)


@pytest.mark.parametrize("system", SYSTEMS)
def test_it_decides_as_torch_does_on_what_it_is_shown(system: str, tmp_path: Path) -> None:
    env = make(system)
    agent = PPOAgent(written(tmp_path / "m.npz", "ppo", env, skips=1))
    twin = twin_of(agent)
    for player in (agent, twin):
        player.reset(env, 0)
    observation, info = env.reset(seed=3)
    nodes, done = len(env.unwrapped.config.nodes), False
    while not done:
        twin.shown.clear()
        action = agent.act(observation, info)
        np.testing.assert_array_equal(action, twin.act(observation, info))
        last = [twin.shown[-1][key].ravel() for key in ("candidate", "system", "nodes")]
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
    agent = make_agent(name, model=path)
    assert list(play_steps(env, agent, 3, 0)) == list(play_steps(env, twin_of(agent), 3, 0))


def test_weights_that_do_not_fit_are_named(tmp_path: Path) -> None:
    env = make("static")
    file = read_policy(written(tmp_path / "m.npz", "ppo", env))
    simulator = env.unwrapped.simulator

    def parameters(features: int = 2, more: tuple[str, ...] = ()) -> Any:
        arrays = {**file.arrays, **{f"network/action_net.{name}": np.zeros(1) for name in more}}
        return walk_parameters(arrays, "network/action_net.", 1.0, 0, simulator, features)

    assert len(parameters()) > 0
    with pytest.raises(
        ValueError, match=r"of_mean.weight have shape \(8, 23\), the network's \(8, 26\)"
    ):
        parameters(features=5)
    with pytest.raises(ValueError, match=r"weights other have shape \(1,\), the network's None"):
        parameters(more=("other",))
    with pytest.raises(ValueError, match=r"weights net\.of_mean\.bias have shape None"):
        walk_parameters({}, "", 1.0, 0, simulator, 2)


def test_it_is_played_without_observations(tmp_path: Path) -> None:
    env = make("cluster")
    agent = PPOAgent(written(tmp_path / "m.npz", "ppo", env))
    rewards = list(play_steps(env, agent, 3, 0))
    assert agent.plays_alone
    assert rewards == list(play_steps(gymnasium.Wrapper(make("cluster")), agent, 3, 0))
