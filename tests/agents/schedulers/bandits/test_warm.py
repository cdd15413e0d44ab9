"""The bandit that starts from a predictor: what it knows at first, learns, keeps and refuses."""

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pandas as pd
import pytest

from agents import AgentSpec, make_agent, run_experiment
from agents.base import Agent
from agents.experiments.episode import run_episode
from agents.prediction import Predictor
from edgecloud_gym import EngineModel, RequestDataset
from edgecloud_gym.nodes import Engine, Slots, StaticBatches

RNG = np.random.default_rng(0)
EMBEDDINGS = RNG.normal(size=(80, 4))
DATA = RequestDataset.from_arrays(
    base_latency=np.exp(EMBEDDINGS[:, 0] + 0.5 * RNG.normal(size=80)),
    prompt_tokens=RNG.integers(5, 300, 80),
    response_tokens=RNG.integers(5, 100, 80),
    embeddings=EMBEDDINGS,
)
PREDICTOR = Predictor.fit(DATA)
MODEL = EngineModel(
    step_overhead=0.0, step_floor=0.01, token_time=1e-4, context_time=0.0, sequences=4
)
NODES = [StaticBatches("a", slowdown=None), Engine("b", model=MODEL), Slots("c", slots=2)]
SYSTEMS: dict[str, dict[str, Any]] = {
    "Static": {"edge_slowdown": None},
    "Continuous": {"edge_slowdown": None},
    "Cluster": {"nodes": NODES},
}


def make(system: str = "Static", **settings: Any) -> Any:
    chosen = {"dataset": DATA, "split": "test", "duration": 60.0, "load": 1.1, **SYSTEMS[system]}
    return gym.make(f"EdgeCloud-{system}-v0", work_conserving=False, **{**chosen, **settings})


def warm(**settings: Any) -> Agent:
    return make_agent("warm-linear", **{"predictor": PREDICTOR, "features": 20, **settings})


def play(agent: Agent, system: str = "Static", seed: int = 0, explore: bool = True) -> pd.DataFrame:
    env = make(system)
    run_episode(env, agent, seed=seed, agent_seed=seed, explore=explore)
    log = env.unwrapped.request_log()
    requests, times = agent.predicted_times()
    return log.assign(predicted=pd.Series(times, requests))


@pytest.mark.parametrize("system", SYSTEMS)
def test_frozen_it_is_predicted_sjf(system: str) -> None:
    log = play(warm(), system, explore=False)
    plain = play(make_agent("predicted-sjf", predictor=PREDICTOR), system)
    columns = ["prompt_row", "start_time", "completion_time"]
    pd.testing.assert_frame_equal(log[columns], plain[columns])
    expected = PREDICTOR.predict_dataset(DATA).median_time[log["prompt_row"]]
    np.testing.assert_allclose(log["predicted"], expected)
    assert log["completion_time"].notna().all()


@pytest.mark.parametrize("system", SYSTEMS)
def test_who_comes_again_is_known(system: str) -> None:
    log = play(warm(noise=0.0), system)
    served: dict[int, float] = {}
    known = []
    for request in log.sort_values("start_time").itertuples():
        first = served.setdefault(request.prompt_row, request.completion_time)
        if first < request.start_time:
            known.append(request.predicted / request.base_latency)
    assert len(known) > 30
    np.testing.assert_allclose(known, 1.0)


def test_what_is_learnt_reorders_the_queue() -> None:
    """Two prompts that the predictor takes for equal: once served, the shorter one goes first."""
    embeddings = np.tile(EMBEDDINGS[0], (2, 1))
    pair = RequestDataset.from_arrays(
        base_latency=[4.0, 0.5], prompt_tokens=[10, 11], embeddings=embeddings
    )
    settings = {"dataset": pair, "split": "all", "embedding_dim": None, "duration": 200.0}
    env = make(**settings, edge_concurrency=0, cloud_concurrency=1)
    run_episode(env, warm(), seed=0, agent_seed=0)
    late = env.unwrapped.request_log().query("arrival_time > 30")
    waited = late.assign(wait=late.start_time - late.arrival_time).groupby("prompt_row")["wait"]
    assert waited.mean()[1] < 0.25 * waited.mean()[0]


@pytest.mark.parametrize("explore", [True, False])
def test_reloaded_it_acts_the_same(explore: bool, tmp_path: Path) -> None:
    Predictor.fit(DATA).save(tmp_path / "p.npz")
    settings = {"predictor": str(tmp_path / "p.npz")}
    agent = warm(**settings)
    play(agent)
    agent.save(tmp_path / "w.npz")
    reloaded = warm(**settings)
    reloaded.load(tmp_path / "w.npz")
    before, after = (play(a, seed=1, explore=explore) for a in (agent, reloaded))
    pd.testing.assert_frame_equal(before, after)
    assert np.isclose(after["predicted"], after["base_latency"], rtol=0.2).all()  # remembered


def test_an_experiment_of_it_is_repeatable(tmp_path: Path) -> None:
    PREDICTOR.save(tmp_path / "p.npz")
    spec = AgentSpec("warm-linear", {"predictor": str(tmp_path / "p.npz"), "features": 20})
    settings = {"dataset": DATA, "split": "test", "duration": 20.0, "edge_slowdown": None}
    first, again = (
        run_experiment("EdgeCloud-Static-v0", [spec, "fcfs"], 2, settings, None) for _ in range(2)
    )
    pd.testing.assert_frame_equal(first.summary, again.summary)
    assert [item["learns"] for item in first.record["agents"]] == [True, False]


def test_what_it_needs() -> None:
    with pytest.raises(ValueError, match="no embeddings"):
        play_on(RequestDataset.from_arrays(np.ones(20)))
    other = RequestDataset.from_arrays(np.ones(20), np.ones((20, 7)))
    with pytest.raises(ValueError, match=r"width 4, .* width 7: fit one .*edgecloud train"):
        play_on(other)
    with pytest.raises(ValueError, match="'nothing' is not known"):
        warm(predictor="nothing").reset(make(), seed=0)
    with pytest.raises(RuntimeError, match="call reset"):
        _ = warm().belief  # type: ignore[attr-defined]
    for setting in ({"features": 0}, {"noise": -1.0}):
        with pytest.raises(ValueError, match=next(iter(setting))):
            warm(**setting)


def test_by_default_the_predictor_is_the_dataset_s() -> None:
    agent = make_agent("warm-linear", features=20)
    play(agent)
    other = RequestDataset.from_arrays(
        base_latency=DATA.base_latency, embeddings=EMBEDDINGS, prompt_tokens=DATA.prompt_tokens
    )
    with pytest.raises(ValueError, match="learnt with the predictor of another dataset"):
        agent.reset(make(dataset=other), seed=0)


def play_on(data: RequestDataset) -> None:
    env = make(dataset=data, split="all", observe="id", embedding_dim=None)
    warm().reset(env, seed=0)
