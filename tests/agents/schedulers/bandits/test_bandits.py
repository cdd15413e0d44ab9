"""Bandits: known answers, learning on toys, checkpoints."""

from pathlib import Path
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from agents import Agent, make_agent
from agents.experiments.episode import run_episode
from agents.registry import BANDITS
from agents.schedulers.bandits.bandit import Bandit, Contexts, Floats
from edgecloud_gym import RequestDataset

SMALL = {"hidden": [32, 32]}
LEARNERS = {name: ({} if name in ("clinucb", "c2ucb") else SMALL) for name in BANDITS}


def linear_dataset(count: int = 800, width: int = 8) -> RequestDataset:
    """Latencies that are linear in the embedding, from 1 s up."""
    rng = np.random.default_rng(0)
    embeddings = rng.normal(size=(count, width)).astype(np.float32)
    value = embeddings @ rng.normal(size=width)
    return RequestDataset.from_arrays(base_latency=1.0 + value - value.min(), embeddings=embeddings)


DATA = linear_dataset()


def make_env(env_id: str = "EdgeCloud-Static-v0", **settings: Any) -> gym.Env[Any, Any]:
    defaults: dict[str, Any] = {
        "dataset": DATA,
        "load": 1.0,
        "duration": 150.0,
        "cloud_concurrency": 2,
        "work_conserving": False,
    }
    return gym.make(env_id, **{**defaults, **settings})


def play(agent: Agent, seed: int = 0, explore: bool = True, **settings: Any) -> pd.DataFrame:
    env = make_env(**settings)
    run_episode(env, agent, seed=seed, agent_seed=seed, explore=explore)
    log: pd.DataFrame = env.unwrapped.request_log()
    return log


class Informed(Bandit):
    """A bandit that knows the truth: its contexts are the latencies."""

    name: ClassVar[str] = "informed"

    def build(self, width: int, rng: np.random.Generator) -> None:
        del rng
        assert width == 1

    def evaluate(self, contexts: Contexts, explore: bool) -> tuple[Floats, Floats]:
        del explore
        scores: NDArray[np.float64] = contexts[:, 0].astype(np.float64)
        return scores, scores

    def seconds(self, predictions: Floats) -> Floats:
        return predictions

    def update_exploration(self, contexts: Contexts) -> None:
        del contexts

    def learn(self, contexts: Contexts, times: Floats) -> None:
        del contexts, times


@pytest.mark.parametrize("observe", ["embedding", "id"])
def test_with_the_true_latencies_a_bandit_is_the_oracle(observe: str) -> None:
    latency = np.random.default_rng(1).uniform(0.5, 5.0, 300)
    data = RequestDataset.from_arrays(base_latency=latency, embeddings=latency[:, None])
    settings = {"dataset": data, "embedding_dim": None, "observe": observe, "load": 1.2}
    informed = play(Informed(), **settings)
    pd.testing.assert_frame_equal(informed, play(make_agent("sjf-oracle"), **settings))
    assert not informed.equals(play(make_agent("fcfs"), **settings))


@pytest.mark.parametrize("name", ["c2ucb", "neural-linear"])
def test_learns_a_linear_toy_within_2000_requests(name: str) -> None:
    logs = {
        agent: play(make_agent(agent), duration=4000.0)["jct"].iloc[1000:2000].sum()
        for agent in ("fcfs", "sjf-oracle", name)
    }
    gain = (logs["fcfs"] - logs[name]) / (logs["fcfs"] - logs["sjf-oracle"])
    assert logs["fcfs"] > 1.2 * logs["sjf-oracle"]
    assert gain >= 0.95


@pytest.mark.parametrize("name", LEARNERS)
def test_every_bandit_beats_fcfs_on_the_toy(name: str) -> None:
    learnt = play(make_agent(name, **LEARNERS[name]), duration=500.0)["jct"].mean()
    assert learnt < 0.9 * play(make_agent("fcfs"), duration=500.0)["jct"].mean()


@pytest.mark.parametrize("name", LEARNERS)
def test_repeatable_and_the_same_by_id(name: str) -> None:
    first = play(make_agent(name, **LEARNERS[name]))
    pd.testing.assert_frame_equal(first, play(make_agent(name, **LEARNERS[name])))
    by_id = play(make_agent(name, **LEARNERS[name]), observe="id")
    pd.testing.assert_frame_equal(first, by_id)


@pytest.mark.parametrize("explore", [True, False])
@pytest.mark.parametrize("name", LEARNERS)
def test_reloaded_agent_acts_the_same(name: str, explore: bool, tmp_path: Path) -> None:
    agent = make_agent(name, **LEARNERS[name])
    play(agent)
    agent.save(tmp_path / "agent.npz")
    reloaded = make_agent(name, **LEARNERS[name])
    reloaded.load(tmp_path / "agent.npz")
    original = play(agent, seed=1, explore=explore)
    pd.testing.assert_frame_equal(original, play(reloaded, seed=1, explore=explore))


@pytest.mark.parametrize("name", LEARNERS)
def test_checkpoint_of_other_settings_is_refused(name: str, tmp_path: Path) -> None:
    agent = make_agent(name, rerank_every=7, **LEARNERS[name])
    play(agent, duration=20.0)
    agent.save(tmp_path / "agent.npz")
    with pytest.raises(ValueError, match="settings"):
        make_agent(name, **LEARNERS[name]).load(tmp_path / "agent.npz")


def test_checkpoint_with_a_wrong_array_is_refused(tmp_path: Path) -> None:
    agent = make_agent("neural-linear", **SMALL)
    play(agent, duration=20.0)
    agent.save(tmp_path / "agent.npz")
    with np.load(tmp_path / "agent.npz") as file:
        arrays = dict(file)
    arrays["parameters"] = arrays["parameters"][:-1]
    np.savez(tmp_path / "agent.npz", **arrays)
    with pytest.raises(ValueError, match="damaged checkpoint"):
        make_agent("neural-linear", **SMALL).load(tmp_path / "agent.npz")
    del arrays["parameters"]
    np.savez(tmp_path / "agent.npz", **arrays)
    with pytest.raises(ValueError, match="damaged checkpoint"):
        make_agent("neural-linear", **SMALL).load(tmp_path / "agent.npz")


def test_another_embedding_width_is_refused() -> None:
    agent = make_agent("c2ucb")
    play(agent, duration=20.0, embedding_dim=4)
    with pytest.raises(ValueError, match=r"width 4.*got 8"):
        play(agent, duration=20.0, embedding_dim=8)


def test_no_embeddings() -> None:
    data = RequestDataset.from_arrays(base_latency=[1.0, 2.0])
    with pytest.raises(ValueError, match="no embeddings"):
        play(make_agent("c2ucb"), dataset=data, observe="id")


@pytest.mark.parametrize("name", LEARNERS)
def test_every_dispatch_has_its_prediction(name: str) -> None:
    agent = make_agent(name, **LEARNERS[name])
    log = play(agent, duration=500.0)
    requests, times = agent.predicted_times()
    assert sorted(requests) == list(log["request_id"])
    assert np.all(np.diff(log["start_time"].to_numpy()[requests]) >= 0.0)
    if name == "clinucb":  # no intercept: it predicts 0 s at first
        return
    # Nothing is known before the first request is done, and much after a hundred.
    first_done = log["completion_time"].min()
    early = log["start_time"].to_numpy()[requests] < first_done
    assert np.array_equal(np.isnan(times), early)
    error = np.abs(times - log["base_latency"].to_numpy()[requests])[100:]
    assert error.mean() < 0.8 * (log["base_latency"] - log["base_latency"].mean()).abs().mean()


def test_predictions_are_those_of_the_episode() -> None:
    latency = np.random.default_rng(1).uniform(0.5, 5.0, 300)
    data = RequestDataset.from_arrays(base_latency=latency, embeddings=latency[:, None])
    agent = Informed()
    for seed in (0, 1):
        log = play(agent, seed=seed, dataset=data, embedding_dim=None)
        requests, times = agent.predicted_times()
        # Contexts are centred and scaled: what it predicts is the truth but for that.
        assert len(requests) == len(log)
        assert np.corrcoef(times, log["base_latency"].to_numpy()[requests])[0, 1] > 1.0 - 1e-9


def test_agents_without_a_model_predict_nothing() -> None:
    agent = make_agent("fcfs")
    play(agent, duration=20.0)
    assert [len(part) for part in agent.predicted_times()] == [0, 0]


@pytest.mark.parametrize(
    ("name", "setting", "value"),
    [
        ("clinucb", "ridge", 0.0),
        ("c2ucb", "alpha", -1.0),
        ("cn-greedy", "epsilon", 1.5),
        ("cn-ducb", "nu", -1.0),
        ("cn-ts", "ridge", 0.0),
        ("neural-linear", "refit", 0.0),
        ("c2ucb", "rerank_every", 0),
    ],
)
def test_bad_settings(name: str, setting: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{setting}={value}"):
        make_agent(name, **{setting: value})


@pytest.mark.parametrize("name", ["clinucb", "c2ucb", "cn-ducb", "cn-ts", "neural-linear"])
def test_a_ridge_is_one_to_divide_by(name: str) -> None:
    for ridge in (1e-300, 9e-13, 2e30):
        with pytest.raises(ValueError, match=r"ridge=.*: must be a finite number from 1e-12 to"):
            make_agent(name, ridge=ridge)
    for ridge in (1e-12, 1e-6, 1e30):
        agent = make_agent(name, ridge=ridge)
        play(agent, duration=20.0)  # the environment refuses scores that are not finite
        assert len(agent.predicted_times()[0]) > 5


def test_there_is_nothing_to_save_before_the_first_episode(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="'cn-ducb' has no model to save"):
        make_agent("cn-ducb").save(tmp_path / "model.npz")


@pytest.mark.parametrize("hidden", [64, "64", 8.0])
def test_widths_are_a_sequence(hidden: object) -> None:
    with pytest.raises(TypeError, match=r"hidden=.*: must be a sequence of widths"):
        make_agent("cn-ducb", hidden=hidden)
    assert make_agent("cn-ducb", hidden=np.array([8, 4])).settings()["hidden"] == [8, 4]
