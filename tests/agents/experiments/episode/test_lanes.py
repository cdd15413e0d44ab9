"""Seeds played side by side are played as each alone, bit by bit."""

from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
import pandas as pd
import pytest
from gymnasium.envs.registration import registry
from stable_baselines3 import DQN, PPO, SAC

from agents import Agent, AgentSpec, ExperimentError, Scenario, make_agent, run_experiment
from agents.experiments.episode import agent_seed, run_episode
from agents.experiments.estimate import estimate
from agents.experiments.runs.definition import define_runs
from agents.experiments.runs.groups import grouped
from agents.schedulers.sb3_agent import SB3Agent
from edgecloud_gym.sb3 import make_vec_env
from tests.edgecloud_gym.support import CONTINUOUS, STATIC, toy_dataset

SETTINGS: dict[str, Any] = {"dataset": toy_dataset(), "candidate_pool_size": 4, "duration": 12.0}
MODELS: dict[str, tuple[str, Any, str | None, dict[str, int]]] = {
    "choices": (STATIC, DQN, "sequential", {"buffer_size": 50, "learning_starts": 5}),
    "scores": (CONTINUOUS, SAC, "priority", {"buffer_size": 50, "learning_starts": 5}),
    "whole": (STATIC, PPO, None, {"n_steps": 8, "batch_size": 8}),
}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    for name, (env_id, algorithm, wrapper, options) in MODELS.items():
        env = make_vec_env(env_id, 1, 0, wrapper, **SETTINGS)
        model = algorithm("MultiInputPolicy", env, seed=1, **options)
        model.learn(8)
        model.save(folder / name)
    return {name: {"path": str(folder / f"{name}.zip")} for name in MODELS}


def play(seeds: Any, spec: AgentSpec, env_id: Any = STATIC, **settings: Any) -> Any:
    return run_experiment(env_id, spec, seeds, {**SETTINGS, **settings}, output_dir=None)


@pytest.mark.parametrize("name", list(MODELS))
def test_twenty_seeds_are_played_as_each_alone(models, name):
    env_id = MODELS[name][0]
    found = play(20, AgentSpec("sb3", models[name]), env_id)
    env: Any = gym.make(env_id, **SETTINGS)
    for seed in range(20):
        agent = make_agent("sb3", **models[name])
        reward = run_episode(env, agent, seed, agent_seed(seed))
        summary = found.summary.set_index("seed").loc[seed]
        assert summary["reward"] == reward
        alone = env.unwrapped.request_log()
        beside = found.requests[found.requests["seed"] == seed].reset_index(drop=True)
        for column in set(alone.columns) - {"node"}:
            pd.testing.assert_series_equal(beside[column], alone[column], check_dtype=False)
        assert beside["node"].tolist() == alone["node"].tolist()
        alone = env.unwrapped.telemetry()
        beside = found.timeseries[found.timeseries["seed"] == seed].reset_index(drop=True)
        pd.testing.assert_frame_equal(beside[alone.columns], alone)


def test_who_plays_beside_a_seed_changes_nothing(models):
    spec = AgentSpec("sb3", models["choices"])
    whole = play(20, spec).requests
    for seeds in ([3], [13, 3, 10], [12, 13, 14, 15, 3]):
        some = play(seeds, spec).requests
        expected = pd.concat([whole[whole["seed"] == seed] for seed in seeds], ignore_index=True)
        pd.testing.assert_frame_equal(some.reset_index(drop=True), expected)


def test_seeds_of_a_batch_are_played_together_and_no_others(models):
    agents = [AgentSpec("sb3", models["choices"]), "fcfs"]
    runs = define_runs(STATIC, agents, range(18), SETTINGS)
    sizes = [len(group.runs) for group in grouped(iter(runs))]
    assert sizes == [8, 8, 2] + 18 * [1]
    odd = define_runs(STATIC, agents[:1], [7, 8, 9, 1], SETTINGS)
    assert [len(group.runs) for group in grouped(iter(odd))] == [1, 2, 1]


class Contrary(SB3Agent):
    """Leaves all waiting, whatever the model says."""

    asked: ClassVar[int] = 0

    def act(self, observation, info, explore=True):
        Contrary.asked += 1
        return np.zeros_like(super().act(observation, info, explore))


def test_a_subclass_that_decides_otherwise_is_asked(models):
    assert SB3Agent.plays_lanes()
    assert not Contrary.plays_lanes()
    play(2, AgentSpec(Contrary, models["choices"]))
    assert Contrary.asked > 0


def test_an_environment_of_ones_own_is_played_alone(models):
    spec = registry[STATIC]
    gym.register("Own-v0", entry_point=spec.entry_point)
    try:
        assert Scenario(STATIC).has_lanes
        assert not Scenario("Own-v0").has_lanes
        assert not Scenario(STATIC, {"render_mode": "ansi"}).has_lanes
        agent = AgentSpec("sb3", models["choices"])
        own, native = (play(3, agent, name).requests for name in ("Own-v0", STATIC))
        pd.testing.assert_frame_equal(own.drop(columns="env"), native.drop(columns="env"))
    finally:
        del registry["Own-v0"]


def test_an_episode_may_be_cut_short(models):
    spec = AgentSpec("sb3", models["whole"])
    cut = play(3, spec, max_episode_steps=5)
    env: Any = gym.make(STATIC, **SETTINGS, max_episode_steps=5)
    rewards = [run_episode(env, make_agent("sb3", **models["whole"]), s, 0) for s in range(3)]
    assert cut.summary["reward"].tolist() == rewards


class Rule(Agent):
    """Everybody to the edge, until it breaks."""

    last_step: ClassVar[int] = 10**9
    steps: ClassVar[int] = 0

    def act(self, observation, info, explore=True):
        del observation, explore
        return np.asarray(info["action_mask"][:, 1], np.int64)

    def in_lanes(self, envs):
        Rule.steps = 0

        def choose(shown, masks):
            del shown
            Rule.steps += 1
            if Rule.steps > self.last_step:
                raise ZeroDivisionError("enough")
            return masks[:, :, 1].astype(np.int64)

        return envs, choose


def test_rules_of_ones_own_may_play_lanes():
    class Alone(Rule):
        def act(self, observation, info, explore=True):
            return super().act(observation, info, explore)

    found = [play(10, AgentSpec(agent, label="rule")).requests for agent in (Rule, Alone)]
    pd.testing.assert_frame_equal(*found)


def test_what_has_ended_is_kept_when_others_fail(monkeypatch):
    play(6, AgentSpec(Rule))
    monkeypatch.setattr(Rule, "last_step", Rule.steps - 1)
    with pytest.raises(ExperimentError, match="ZeroDivisionError: enough") as caught:
        play(6, AgentSpec(Rule))
    kept, failed = caught.value.result.runs, caught.value.result.failures
    assert kept
    assert failed
    assert sorted(run.seed for run in [*kept, *(f.run for f in failed)]) == list(range(6))


def test_a_plan_reckons_with_lanes():
    runs = define_runs(STATIC, [AgentSpec(Rule)], range(8), SETTINGS)
    Rule.steps = 0
    found = estimate(runs, 1)
    assert Rule.steps > 0  # tried in lanes
    assert {*found.costs} == {run.digest for run in runs}
    arrived = play(8, AgentSpec(Rule)).summary["arrived"]
    assert {cost.requests for cost in found.costs.values()} == {int(np.ceil(arrived.mean()))}


class Mistaken(Agent):
    """Lets everything wait, with a mistake."""

    name: ClassVar[str] = "mistaken"

    def __init__(self, mistake="none"):
        super().__init__()
        self.mistake = mistake

    def act(self, observation, info, explore=True):
        del observation, explore
        return np.zeros(len(info["action_mask"]), np.int64)

    def in_lanes(self, envs):
        self.envs = envs
        return (envs, self.choose) if self.mistake != "lanes" else envs

    def choose(self, shown, masks):
        del shown
        actions = np.zeros(masks.shape[:2], np.int64)
        if self.mistake == "seed 3" and 3 in self.envs.np_random_seed:
            raise RuntimeError("anything but this seed")
        if self.mistake == "two seeds" and {3, 4} & {*self.envs.np_random_seed}:
            raise RuntimeError(f"not {self.envs.np_random_seed}")
        made: dict[str, Any] = {"rows": actions[:3], "nothing": None, "dtype": actions + 0.5}
        return {**made, "list": actions.tolist()}.get(self.mistake, actions)


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        ("rows", r"ValueError: agent 'mistaken': in_lanes: .*\(3, 4\): must have 8 rows"),
        ("nothing", r"ValueError: agent 'mistaken': in_lanes: .*must have 8 rows"),
        ("dtype", "TypeError: agent 'mistaken': action has dtype float64"),
        ("lanes", "TypeError: agent 'mistaken': in_lanes returned .*must be the lanes"),
    ],
)
def test_an_agent_that_is_mistaken_is_named(mistake, message):
    with pytest.raises(ExperimentError, match=message):
        play(2, AgentSpec(Mistaken, {"mistake": mistake}))


def test_actions_may_be_a_list():
    found, expected = (play(2, AgentSpec(Mistaken, {"mistake": m})) for m in ("list", "none"))
    assert found.summary["reward"].tolist() == expected.summary["reward"].tolist()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_run_that_fails_takes_none_beside_it_along(workers):
    spec = AgentSpec(Mistaken, {"mistake": "seed 3"})
    with pytest.raises(ExperimentError, match="anything but this seed") as caught:
        run_experiment(STATIC, spec, 10, SETTINGS, output_dir=None, workers=workers)
    assert [failure.run.seed for failure in caught.value.result.failures] == [3]
    expected = play(10, AgentSpec(Mistaken, label="mistaken")).summary.set_index("seed")
    found = caught.value.result.summary.set_index("seed")
    assert found["reward"].equals(expected["reward"].drop(3))


def test_runs_that_fail_for_reasons_of_their_own_tell_them():
    with pytest.raises(ExperimentError) as caught:
        play(6, AgentSpec(Mistaken, {"mistake": "two seeds"}))
    assert {failure.run.seed for failure in caught.value.result.failures} == {3, 4}
    for seed in (3, 4):
        assert f"seed {seed}: RuntimeError: not ({seed},)" in str(caught.value)
