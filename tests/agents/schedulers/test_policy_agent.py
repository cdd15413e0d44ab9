"""Trained networks as agents: files without pickle, and decisions as in training."""

import zipfile
from pathlib import Path

import gymnasium
import numpy as np
import pandas as pd
import pytest
from gymnasium.vector import AutoresetMode

from agents import AgentSpec, run_experiment
from agents.experiments.episode import agent_seed, run_episode
from agents.policies.algorithms import ALGORITHMS
from agents.policies.playing import play_lanes
from agents.policies.rules import rule_for
from agents.policies.state import network_state
from agents.prediction import Predictor
from agents.prediction.forecasts import cross_fitted, forecast
from agents.registry import make_agent
from agents.schedulers.policy_file import (
    POLICIES,
    WalkSettings,
    bundled_model,
    read_policy,
    write_policy,
)
from edgecloud_gym.files import UnreadableFileError
from edgecloud_gym.nodes import Slots
from edgecloud_gym.wrappers import vector
from tests.edgecloud_gym.support import CONTINUOUS, STATIC, toy_dataset

DATA = toy_dataset()
PREDICTOR = Predictor.fit(DATA)
BRIEF = {"dataset": DATA, "duration": 15.0, "work_conserving": False}
CLUSTER = "EdgeCloud-Cluster-v0"


def written(path: Path, name: str = "ppo", env_id: str = CONTINUOUS, **settings) -> Path:
    """A file of an untrained network for an environment."""
    algorithm = ALGORITHMS[name]
    envs = gymnasium.make_vec(env_id, 1, **{**BRIEF, **settings})
    walk = vector.QueueHead(envs, forecast(PREDICTOR, DATA), scores=algorithm.scores)
    batching = envs.unwrapped.config.batching
    network = {"net_arch": [8]}
    if algorithm.walks:
        network = {"width": 8, "rule": rule_for(batching)}
    policy = algorithm.build(walk.single_observation_space, walk.single_action_space, **network)
    spec = WalkSettings("", nodes=walk.walk.nodes, network=network)
    write_policy(path, name, spec, PREDICTOR, network_state(policy), {"done": 0})
    return path


@pytest.mark.parametrize("name", POLICIES)
def test_it_plays_from_its_file_as_in_lanes(name, tmp_path):
    path = written(tmp_path / "m.npz", name)
    env = gymnasium.make(CONTINUOUS, **BRIEF)
    run_episode(env, make_agent(name, model=path), 3, 0)
    file = read_policy(path)
    envs = gymnasium.make_vec(CONTINUOUS, 1, autoreset_mode=AutoresetMode.NEXT_STEP, **BRIEF)
    walk = vector.QueueHead(envs, forecast(file.predictor(), DATA), scores=ALGORITHMS[name].scores)
    policy = file.policy(walk.single_observation_space, walk.single_action_space)
    assert play_lanes(walk, policy, [3])[0] == env.unwrapped.summary()["jct_mean"]


@pytest.mark.parametrize("name", ["sac", "recurrent-ppo"])
def test_seeds_side_by_side_are_played_as_each_alone(name, tmp_path):
    """Whoever plays beside; what a recurrent network remembers is of its own episode."""
    path, short = written(tmp_path / "m.npz", name), {**BRIEF, "duration": 6.0}
    spec = AgentSpec(name, {"model": path})
    assert spec.made.plays_lanes()
    found = run_experiment(CONTINUOUS, spec, [0, 3, 7, 9], short, output_dir=None)
    for seed in (3, 9):
        env = gymnasium.make(CONTINUOUS, **short)
        agent = make_agent(name, model=path)
        reward = run_episode(env, agent, seed, agent_seed(seed))
        assert found.summary.set_index("seed").loc[seed, "reward"] == reward
        alone = env.unwrapped.request_log()
        beside = found.requests[found.requests["seed"] == seed].reset_index(drop=True)
        for column in set(alone.columns) - {"node"}:
            pd.testing.assert_series_equal(beside[column], alone[column], check_dtype=False)
        assert beside["node"].tolist() == alone["node"].tolist()
        sent, times = agent.predicted_times()
        np.testing.assert_array_equal(beside["predicted_time"][sent], times)
        assert np.isfinite(beside["predicted_time"]).sum() == len(sent)
    for seeds in ([3], [7, 3, 11]):
        some = run_experiment(CONTINUOUS, spec, seeds, short, output_dir=None).requests
        expected = pd.concat([found.requests[found.requests["seed"] == seed] for seed in seeds[:2]])
        some = some[some["seed"] != 11]
        pd.testing.assert_frame_equal(
            some.reset_index(drop=True), expected.reset_index(drop=True), check_exact=True
        )


def test_nothing_in_a_file_is_pickled(tmp_path):
    path = written(tmp_path / "m.npz")
    with np.load(path, allow_pickle=False) as file:
        assert all(file[name].dtype != object for name in file.files)
    with zipfile.ZipFile(path) as archive:
        assert all(name.endswith(".npy") for name in archive.namelist())


def test_one_policy_plays_any_number_of_nodes_and_candidates(tmp_path):
    nodes = [Slots(f"n{i}", slots=1, time_multiplier=1.0 + i) for i in range(6)]
    path = written(tmp_path / "m.npz", env_id=CLUSTER, nodes=nodes[:3])
    agent = make_agent("ppo", model=path)
    for count, candidates in ((2, 32), (3, 4), (6, 40)):
        env = gymnasium.make(CLUSTER, **BRIEF, nodes=nodes[:count], candidate_pool_size=candidates)
        run_episode(env, agent, 0, 0)
        assert env.unwrapped.summary()["unfinished"] == 0


def test_other_networks_say_that_they_do_not(tmp_path):
    path = written(tmp_path / "m.npz", "recurrent-ppo")
    env = gymnasium.make(CLUSTER, **BRIEF, nodes=[Slots(f"n{i}", slots=1) for i in range(3)])
    with pytest.raises(ValueError, match="the number of nodes that they learnt on, 2, and here"):
        make_agent("recurrent-ppo", model=path).reset(env, 0)


def test_wrong_files_are_told(tmp_path):
    path = written(tmp_path / "m.npz")
    with pytest.raises(ValueError, match="was trained with ppo, not with a2c"):
        make_agent("a2c", model=path)
    (tmp_path / "x.npz").write_bytes(b"no model")
    with pytest.raises(UnreadableFileError, match="no trained network"):
        make_agent("ppo", model=tmp_path / "x.npz")
    with pytest.raises(ValueError, match="no model for static comes with the package"):
        bundled_model("a2c", "static")


def test_a_copy_is_the_same_file(tmp_path):
    path = written(tmp_path / "m.npz", env_id=STATIC)
    agent = make_agent("ppo", model=path)
    agent.save(tmp_path / "copy.npz")
    assert (tmp_path / "copy.npz").read_bytes() == path.read_bytes()
    other = make_agent("ppo")
    other.load(tmp_path / "copy.npz")
    assert other.model == str(tmp_path / "copy.npz")


def test_what_learning_is_told_of_train_prompts_they_have_not_told_themselves():
    """Predictions of the rows of the fit are better than those of others; crossed ones are not."""
    rng = np.random.default_rng(0)
    data = toy_dataset(rows=200)
    noise = type(data).from_arrays(
        rng.lognormal(0.0, 1.0, 200), data.embeddings, [f"p{i}" for i in range(200)]
    )
    predictor = Predictor.fit(noise, ridge=0.05)
    train, test = noise.rows("train"), noise.rows("test")
    logs = np.log(noise.base_latency)
    crossed, plain = cross_fitted(predictor, noise), forecast(predictor, noise)

    def error(found, rows):
        return float(np.mean((np.log(found.time[rows]) - logs[rows]) ** 2))

    assert error(plain, train) < 0.5 * error(plain, test)
    assert error(crossed, train) > 0.8 * error(crossed, test)
    np.testing.assert_array_equal(crossed.time[test], plain.time[test])
