"""A recording holds what the agent acted on, and its environment replays it bit for bit."""

import json
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from agents import AGENT_NAMES, Agent, collect, make_agent, run_experiment
from agents.schedulers.policy_file import POLICIES
from edgecloud_gym import CLUSTER_ID, load_engine
from edgecloud_gym.arrivals import Gamma, Trace
from edgecloud_gym.files import UnreadableFileError
from edgecloud_gym.nodes import Engine, Slots, StaticBatches
from tests.edgecloud_gym.support import CONTINUOUS, STATIC, TIME_SERIES, toy_dataset

minari = pytest.importorskip("minari", reason="recordings are checked where Minari is installed")
pytest.importorskip("h5py")

AGENTS = [name for name in AGENT_NAMES if name not in ("sb3", *POLICIES)]  # without a file
ENGINE = "rtxpro6000-llama-3.1-8b"
TOY = toy_dataset()
BRIEF: dict[str, Any] = {"dataset": TOY, "duration": 12.0, "load": 1.2, "embedding_dim": 4}
# What has to be written down so that the environment can be made again.
SETTINGS: dict[str, tuple[str, dict[str, Any]]] = {
    "bundled": (STATIC, {"dataset": "smollm2-135m", "observe": "id", "load": None}),
    "trace": (TIME_SERIES, {"arrivals": Trace([0.0, 0.5, 1.0, 1.1, 1.2]), "load": None}),
    "curve": (CONTINUOUS, {"arrivals": Gamma(2.0), "edge_slowdown": np.linspace(1.0, 2.0, 4)}),
    "engine": (CONTINUOUS, {"edge_engine": load_engine(ENGINE), "load": 0.1}),
    "cluster": (
        CLUSTER_ID,
        {
            "nodes": [Engine("a", model=load_engine(ENGINE), backlog=2), Slots("b", slots=2)],
            "load": 0.05,
        },
    ),
    "mapped": (
        CLUSTER_ID,
        {"nodes": [StaticBatches("a"), {"kind": "slots", "name": "b"}], "slo": {"jct": 3.0}},
    ),
}


def assert_replays(recorded: Any) -> int:
    """Asserts that the recovered environment repeats a recording; returns how many steps."""
    env = recorded.recover_environment()
    steps = 0
    for episode in recorded.iterate_episodes():
        (facts,) = recorded.storage.get_episode_metadata([episode.id])
        observation, info = env.reset(seed=facts["seed"])
        for t, action in enumerate(episode.actions):
            seen = {name: part[t] for name, part in episode.observations.items()}
            assert seen.keys() == observation.keys()
            for name, part in observation.items():
                assert (part.dtype, part.tobytes()) == (seen[name].dtype, seen[name].tobytes())
            assert np.array_equal(info["action_mask"], episode.infos["action_mask"][t])
            observation, reward, terminated, truncated, info = env.step(action)
            assert reward == episode.rewards[t]
            steps += 1
        assert (terminated, truncated) == (episode.terminations[-1], episode.truncations[-1])
        assert env.unwrapped.summary() == pytest.approx(facts["summary"], rel=0, nan_ok=True)
        assert facts["return"] == pytest.approx(episode.rewards.sum())
    return steps


@pytest.mark.parametrize("name", AGENTS)
def test_replay_is_exact_for_every_agent(name: str, tmp_path: Path) -> None:
    recorded = collect(STATIC, name, 2, tmp_path / "recording", seed=5, **BRIEF)
    assert assert_replays(recorded) == recorded.total_steps > 20


def test_replay_is_exact_for_a_trained_network(tmp_path: Path) -> None:
    settings = {"duration": 12.0, "load": 1.2}  # of the bundled dataset, which it learnt from
    recorded = collect(STATIC, "ppo", 1, tmp_path / "recording", seed=5, **settings)
    assert assert_replays(recorded) == recorded.total_steps > 20


@pytest.mark.parametrize("name", ["sjf-oracle", "cn-ducb"])
@pytest.mark.parametrize("case", SETTINGS)
def test_replay_is_exact_whatever_the_settings(case: str, name: str, tmp_path: Path) -> None:
    env_id, own = SETTINGS[case]
    settings = {n: v for n, v in {**BRIEF, **own}.items() if v is not None}
    env = gym.make(env_id, **settings)
    recorded = collect(env, make_agent(name), 1, tmp_path / "recording")
    again = minari.MinariDataset(tmp_path / "recording" / "data")  # nothing is left in memory
    assert assert_replays(again) == recorded.total_steps > 0
    json.loads(again.env_spec.to_json())


def test_it_is_what_an_experiment_plays(tmp_path: Path) -> None:
    recorded = collect(CONTINUOUS, "cn-ducb", 1, seed=3, **BRIEF)
    result = run_experiment(
        CONTINUOUS, ["cn-ducb"], seeds=[3], env_kwargs=BRIEF, output_dir=tmp_path / "runs"
    )
    (facts,) = recorded.storage.get_episode_metadata([0])
    assert facts["summary"]["jct_mean"] == result.summary["jct_mean"][0]
    assert recorded.id == "edgecloud/continuous/cn-ducb-v0"
    assert minari.load_dataset(recorded.id).total_steps == recorded.total_steps
    assert recorded.id in minari.list_local_datasets()


def test_infos_name_the_candidates(tmp_path: Path) -> None:
    recorded = collect(STATIC, "random", 1, tmp_path / "recording", **BRIEF)
    (episode,) = recorded.iterate_episodes()
    present = episode.observations["candidates"][:, :, 0] == 1.0
    rows, requests = episode.infos["row"], episode.infos["request"]
    assert np.array_equal(rows >= 0, present)
    assert np.array_equal(requests >= 0, present)
    table = TOY.embedding_table(4)
    assert np.array_equal(episode.observations["embeddings"][present], table[rows[present]])
    propensity = episode.infos["propensity"]
    assert ((propensity > 0.0) & (propensity <= 1.0)).all()
    sent = episode.actions > 0
    assert (propensity[:-1][sent] < 1.0).any()


def test_an_agent_that_says_nothing_has_no_propensities(tmp_path: Path) -> None:
    recorded = collect(STATIC, "fcfs", 1, tmp_path / "recording", **BRIEF)
    (episode,) = recorded.iterate_episodes()
    assert "propensity" not in episode.infos


def wait_through(env: gym.Env[Any, Any]) -> None:
    """Assigns nothing until the episode ends."""
    while not env.step(np.zeros(32, int))[2]:
        pass


def test_the_recovered_environment_is_for_the_recording_alone(tmp_path: Path) -> None:
    recorded = collect(STATIC, "cn-ducb", 1, tmp_path / "recording", seed=7, **BRIEF)
    env = recorded.recover_environment()
    env.reset(seed=7)
    with pytest.raises(ValueError, match="eval_env=True"):
        wait_through(env)
    with pytest.warns(UserWarning, match="seed=8 was not recorded"):
        env.reset(seed=8)
    plain = recorded.recover_environment(eval_env=True)
    plain.reset(seed=8)
    assert not plain.unwrapped.simulator.has_scorer


class Nightly:
    """Arrivals of a user's own."""

    def sample(self, rng: np.random.Generator, rate: float, duration: float) -> Any:
        del rng, rate, duration
        return np.array([1.0, 2.0])


def test_what_has_no_form_in_json_is_named(tmp_path: Path) -> None:
    settings = {**BRIEF, "arrivals": Nightly()}
    with pytest.warns(UserWarning, match=r"arrivals=.*Nightly.* cannot say how to make"):
        recorded = collect(STATIC, "fcfs", 1, tmp_path / "recording", **settings)
    assert recorded.total_steps > 0
    with pytest.raises(ValueError, match="cannot be recovered"):
        recorded.recover_environment()


def test_refusals(tmp_path: Path) -> None:
    env = gym.make(STATIC, **BRIEF)
    collect(env, "fcfs", 1, tmp_path / "recording")
    with pytest.raises(FileExistsError, match="exists already"):
        collect(env, "fcfs", 1, tmp_path / "recording")
    with pytest.raises(ValueError, match="dataset_id='fcfs': must be NAME-v0"):
        collect(env, "fcfs", 1, dataset_id="fcfs")
    with pytest.raises(TypeError, match="wrapper changes observations or actions"):
        collect(gym.wrappers.FlattenObservation(env), "fcfs", 1)
    with pytest.raises(TypeError, match="must be an EdgeCloud environment"):
        collect("CartPole-v1", "fcfs", 1)
    with pytest.raises(TypeError, match="settings are of an id"):
        collect(env, "fcfs", 1, load=0.5)
    with pytest.raises(ValueError, match="episodes=0"):
        collect(env, "fcfs", 0)
    for wrong in ({"seed": -1}, {"seed": "x"}, {"explore": "no"}, {"dataset_id": 5}):
        (name,) = wrong
        with pytest.raises((TypeError, ValueError), match=f"{name}="):
            collect(env, "fcfs", 1, **wrong)  # type: ignore[arg-type]
    for agent in (None, type(make_agent("fcfs"))):
        with pytest.raises(TypeError, match="must be an Agent, or the name of one"):
            collect(env, agent, 1)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="env=None: must be an EdgeCloud environment"):
        collect(None, "fcfs", 1, load=0.5)  # type: ignore[arg-type]


def test_a_time_limit_cuts_episodes(tmp_path: Path) -> None:
    env = gym.make(STATIC, max_episode_steps=3, **BRIEF)
    recorded = collect(env, "cn-ducb", 1, tmp_path / "recording")
    assert recorded[0].truncations.tolist() == [False, False, True]
    assert assert_replays(recorded) == 3


class Fails(Agent):
    """An agent that breaks down in its first episode."""

    def act(self, observation: Any, info: Any, explore: bool = True) -> Any:
        del observation, info, explore
        raise RuntimeError("broken")


def test_a_recording_that_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="broken"):
        collect(STATIC, Fails(), 1, tmp_path / "recording", **BRIEF)
    assert list(tmp_path.glob("*recording*")) == []


def test_another_file_is_refused_by_name(tmp_path: Path) -> None:
    recorded = collect(STATIC, "cn-ducb", 1, tmp_path / "recording", **BRIEF)
    order = tmp_path / "recording" / "queue.npz"
    np.savez(order, format="edgecloud-queue/0")
    with pytest.raises(UnreadableFileError, match=r"queue.npz: .*'edgecloud-queue/0'"):
        recorded.recover_environment()
    order.unlink()
    with pytest.raises(FileNotFoundError, match=r"queue\.npz"):
        recorded.recover_environment()
