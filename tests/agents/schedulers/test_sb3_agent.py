"""A trained model as an agent decides as it would in the wrapper that it was trained in."""

import gymnasium as gym
import numpy as np
import pytest
from sb3_contrib import MaskablePPO
from stable_baselines3 import DQN, SAC

from agents import make_agent
from agents.experiments.episode import run_episode
from agents.policies import MaskableCandidatePolicy
from edgecloud_gym import wrappers
from edgecloud_gym.sb3 import make_vec_env
from tests.edgecloud_gym.support import CONTINUOUS, STATIC, toy_dataset

KINDS = {
    "MaskablePPO": (MaskablePPO, MaskableCandidatePolicy, "sequential", {"n_steps": 8}),
    "DQN": (DQN, "MultiInputPolicy", "sequential", {"buffer_size": 50, "learning_starts": 5}),
    "SAC": (SAC, "MultiInputPolicy", "priority", {"buffer_size": 50, "learning_starts": 5}),
}


@pytest.fixture(scope="module")
def settings():
    return {"dataset": toy_dataset(), "candidate_pool_size": 4, "duration": 20.0}


def save_model(kind, env_id, settings, path):
    algorithm, policy, wrapper, kwargs = KINDS[kind]
    model = algorithm(policy, make_vec_env(env_id, 1, 0, wrapper, **settings), seed=1, **kwargs)
    model.learn(20)  # some keep more than one observation, once they learn
    model.save(path)
    return model


@pytest.mark.parametrize("kind", list(KINDS))
@pytest.mark.parametrize("env_id", [STATIC, CONTINUOUS])
def test_it_decides_as_in_the_wrapper(settings, kind, env_id, tmp_path):
    model = save_model(kind, env_id, settings, tmp_path / "model.zip")
    env = gym.make(env_id, **settings)
    agent = make_agent("sb3", path=tmp_path / "model.zip", algorithm=kind)
    total = run_episode(env, agent, seed=7, agent_seed=0)

    wrapper = wrappers.PriorityAction if kind == "SAC" else wrappers.SequentialAssignment
    wrapped = wrapper(gym.make(env_id, **settings))
    observation, info = wrapped.reset(seed=7)
    done, expected = False, 0.0
    while not done:
        options = {"action_masks": info["action_mask"]} if kind == "MaskablePPO" else {}
        action, _ = model.predict(observation, deterministic=True, **options)
        observation, reward, terminated, truncated, info = wrapped.step(action)
        expected += reward
        done = terminated or truncated
    assert env.unwrapped.request_log().equals(wrapped.unwrapped.request_log())
    assert total == pytest.approx(expected)


def test_saved_and_loaded_it_decides_the_same(settings, tmp_path):
    save_model("MaskablePPO", STATIC, settings, tmp_path / "model.zip")
    agent = make_agent("sb3", path=tmp_path / "model.zip")
    agent.save(tmp_path / "copy")
    agent.load(tmp_path / "copy")
    again = make_agent("sb3", path=str(tmp_path / "copy"))
    env = gym.make(STATIC, **settings)
    totals = [run_episode(env, one, seed=3, agent_seed=0) for one in (agent, again)]
    assert totals[0] == totals[1]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy", "model.zip"]


def test_the_environment_must_fit(settings, tmp_path):
    save_model("MaskablePPO", STATIC, settings, tmp_path / "model.zip")
    agent = make_agent("sb3", path=tmp_path / "model.zip")
    with pytest.raises(ValueError, match="candidate_pool_size"):
        agent.reset(gym.make(STATIC, **{**settings, "candidate_pool_size": 5}), seed=0)


def test_the_queue_keeps_the_order_of_training(settings, tmp_path):
    scores = np.arange(60.0)
    ordered = {**settings, "priority": scores}
    save_model("MaskablePPO", STATIC, ordered, tmp_path / "model.zip")
    env = gym.make(STATIC, **ordered)
    agent = make_agent("sb3", path=tmp_path / "model.zip")
    agent.reset(env, seed=0)
    np.testing.assert_array_equal(agent.priority(), scores)


def test_wrong_files_and_names_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError):
        make_agent("sb3", path=tmp_path / "absent.zip")
    (tmp_path / "junk.zip").write_bytes(b"junk")
    with pytest.raises(ValueError, match="zip"):
        make_agent("sb3", path=tmp_path / "junk.zip")
    with pytest.raises(ValueError, match="algorithm"):
        make_agent("sb3", path=tmp_path / "junk.zip", algorithm="ARS")
