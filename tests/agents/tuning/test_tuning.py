"""Direct search finds what it should, goes on where it stopped, and its rollouts are episodes."""

from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

from agents import make_agent
from agents.cli.train.index import train_index
from agents.experiments.episode import run_episode
from agents.rules import paper
from agents.schedulers.index_settings import load_index
from agents.tuning.cross_entropy import Generation, search
from agents.tuning.rollouts import Rollouts
from edgecloud_gym import RequestDataset

rng = np.random.default_rng(0)
DATA = RequestDataset.from_arrays(
    base_latency=rng.lognormal(0.0, 0.7, 60), embeddings=rng.normal(size=(60, 4))
)


def test_the_search_finds_the_bottom_of_a_bowl() -> None:
    target = np.array([1.0, -2.0])
    start = Generation(0, np.zeros(2), np.full(2, 2.0))
    *_, last = search(lambda x: float(np.sum((x - target) ** 2)), start, generations=20)
    np.testing.assert_allclose(last.mean, target, atol=0.02)


def test_a_search_that_goes_on_finds_the_same_bits() -> None:
    def cost(x: np.ndarray) -> float:
        return float(np.abs(x).sum())

    start = Generation(0, np.ones(3), np.ones(3))
    *_, whole = search(cost, start, generations=6, seed=3)
    *_, half = search(cost, start, generations=3, seed=3)
    *_, rest = search(cost, half, generations=6, seed=3)
    np.testing.assert_array_equal(whole.mean, rest.mean)


def test_rollouts_are_the_episodes_of_their_seeds() -> None:
    env = gym.make(
        "EdgeCloud-Static-v0", dataset=DATA, observe="id", duration=30.0, work_conserving=False,
        edge_slowdown=None,
    )  # fmt: skip
    rollouts = Rollouts(env, [5, 6])
    jcts = rollouts.play(paper.fcfs, None, np.empty((0, 0)), np.empty(0))
    for seed, found in zip((5, 6), jcts, strict=True):
        run_episode(env, make_agent("fcfs"), seed, 0)
        np.testing.assert_array_equal(found, env.unwrapped.request_log()["jct"])


def test_tuning_is_resumed_and_its_outcome_plays(tmp_path: Path) -> None:
    settings = {"dataset": DATA, "split": "train", "duration": 20.0, "edge_slowdown": None}

    def tune(name: str, generations: int) -> None:
        train_index(
            "EdgeCloud-Static-v0", settings, {"generations": generations, "population": 8},
            loads=(0.9,), episodes=2, output=tmp_path / name,
        )  # fmt: skip

    tune("whole.json", 2)
    tune("parts.json", 1)
    tune("parts.json", 2)
    whole, parts = (load_index(tmp_path / name) for name in ("whole.json", "parts.json"))
    assert whole == parts
    assert len(whole.training["curve"]) == 2
    env = gym.make("EdgeCloud-Static-v0", **{**settings, "split": "test"}, work_conserving=False)
    run_episode(env, make_agent("index-aged", tuned=tmp_path / "whole.json"), 0, 0)
    assert env.unwrapped.summary()["completed"] > 5


@pytest.mark.parametrize(
    ("text", "message"),
    [("{}", "'index'"), ('{"index": {"edge_level": "x"}}', "edge_level"), ("[", "policy")],
)
def test_a_file_that_holds_something_else_is_refused(
    tmp_path: Path, text: str, message: str
) -> None:
    path = tmp_path / "index.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        load_index(path)
