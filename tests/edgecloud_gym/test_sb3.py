"""The Stable-Baselines3 adapter: what it hands over, and that the algorithms run on it."""

import warnings

import gymnasium as gym
import numpy as np
import pytest
from sb3_contrib import MaskablePPO
from sb3_contrib.common.maskable.utils import get_action_masks, is_masking_supported
from stable_baselines3 import A2C, DQN, PPO, SAC
from stable_baselines3.common.callbacks import ConvertCallback
from stable_baselines3.common.env_util import make_vec_env as make_sb3_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.logger import KVWriter, Logger
from stable_baselines3.common.monitor import Monitor

from agents.policies import CandidatePolicy
from edgecloud_gym import CLUSTER_ID, wrappers
from edgecloud_gym.sb3 import METRICS, EpisodeMetrics, SB3VecEnv, make_vec_env
from tests.edgecloud_gym.support import ALL_IDS, CONTINUOUS, STATIC, toy_dataset

SMALL = {"candidate_pool_size": 4, "duration": 10.0, "embedding_dim": 3}


@pytest.fixture(scope="module")
def settings():
    return {"dataset": toy_dataset(), **SMALL}


@pytest.mark.parametrize("env_id", ALL_IDS)
def test_episodes_are_those_of_the_wrapped_environment(settings, env_id):
    env = make_vec_env(env_id, 2, seed=3, **settings)
    single = wrappers.SequentialAssignment(gym.make(env_id, **settings))
    observation = env.reset()
    first, info = single.reset(seed=4)
    rng = np.random.default_rng(0)
    lane, rewards, dones = 1, [], np.zeros(2, bool)
    while not dones[lane]:
        for name, part in first.items():
            np.testing.assert_array_equal(observation[name][lane], part)
        np.testing.assert_array_equal(env.env_method("action_masks")[lane], info["action_mask"])
        choices = [rng.choice(np.flatnonzero(m)) for m in env.env_method("action_masks")]
        observation, reward, dones, infos = env.step(np.array(choices))
        first, r, terminated, truncated, info = single.step(choices[lane])
        rewards.append(r)
        assert reward[lane] == np.float32(r)
        assert reward.dtype == np.float32
        assert dones[lane] == (terminated or truncated)
        assert info.keys() <= infos[lane].keys()
        for name in info:
            np.testing.assert_equal(infos[lane][name], info[name])
    last = infos[lane]
    for name, part in first.items():
        np.testing.assert_array_equal(last["terminal_observation"][name], part)
    assert last["TimeLimit.truncated"] is False
    assert last["episode"]["r"] == pytest.approx(sum(rewards))
    assert last["episode"]["l"] == len(rewards)
    assert last["episode"]["t"] > 0.0
    assert observation["system"][lane, 3] < 0.5  # the next episode has begun
    assert env.reset_infos[lane]["completed_total"] == 0
    assert env.env_method("action_masks", indices=lane)[0].dtype == np.bool_


def test_truncation_is_told(settings):
    env = make_vec_env(STATIC, 2, seed=0, wrapper=None, drain=False, **settings)
    env.reset()
    dones = np.zeros(2, bool)
    while not dones.any():
        _, _, dones, infos = env.step(np.zeros((2, 4), int))
    lane = np.flatnonzero(dones)[0]
    assert infos[lane]["TimeLimit.truncated"] is True
    assert "terminal_observation" not in infos[1 - lane] or dones[1 - lane]


def test_seeding(settings):
    env = make_vec_env(CONTINUOUS, 2, seed=5, wrapper="priority", **settings)
    first = env.reset()
    later = env.reset()
    env.seed(5)
    again = env.reset()
    other = make_vec_env(CONTINUOUS, 1, seed=6, wrapper="priority", **settings).reset()
    np.testing.assert_array_equal(first["embeddings"], again["embeddings"])
    assert not np.array_equal(first["embeddings"], later["embeddings"])
    np.testing.assert_array_equal(first["embeddings"][1], other["embeddings"][0])


def test_attributes_and_methods(settings):
    env = make_vec_env(STATIC, 3, **settings)
    env.reset()
    assert is_masking_supported(env)
    assert get_action_masks(env).shape == (3, 9)
    assert env.get_attr("render_mode") == [None] * 3
    assert len(env.get_attr("config", indices=[0, 2])) == 2
    assert not env.has_attr("nothing")
    assert env.env_is_wrapped(Monitor) == [True] * 3
    assert env.env_is_wrapped(gym.wrappers.TimeLimit) == [False] * 3
    assert [len(log) for log in env.env_method("request_log", indices=[1])] == [1]
    env.set_attr("note", 1)
    assert env.get_attr("note") == [1] * 3
    with pytest.raises(ValueError, match="lanes share"):
        env.set_attr("note", 2, indices=0)
    with pytest.raises(AttributeError, match="nothing"):
        env.env_method("nothing")


def test_only_same_step_environments_are_adapted(settings):
    with pytest.raises(ValueError, match="SAME_STEP"):
        SB3VecEnv(gym.make_vec(STATIC, 2, **settings))
    with pytest.raises(TypeError, match="EdgeCloud"):
        SB3VecEnv(gym.make_vec("CartPole-v1", 2))
    with pytest.raises(ValueError, match="wrapper"):
        make_vec_env(STATIC, 2, wrapper="sequentia", **settings)


def test_a_wrapper_may_be_given(settings):
    env = make_vec_env(
        STATIC,
        2,
        wrapper=lambda envs: wrappers.vector.SequentialAssignment(envs, allow_stop=True),
        **settings,
    )
    env.reset()
    assert get_action_masks(env)[:, -1].all()


@pytest.mark.parametrize(
    ("algorithm", "wrapper", "kwargs"),
    [
        (PPO, "sequential", {"n_steps": 8, "batch_size": 16, "n_epochs": 1}),
        (PPO, None, {"n_steps": 8, "batch_size": 16, "n_epochs": 1}),
        (MaskablePPO, "sequential", {"n_steps": 8, "batch_size": 16, "n_epochs": 1}),
        (MaskablePPO, None, {"n_steps": 8, "batch_size": 16, "n_epochs": 1}),
        (A2C, "sequential", {"n_steps": 4}),
        (DQN, "sequential", {"buffer_size": 100, "learning_starts": 8, "batch_size": 4}),
        (SAC, "priority", {"buffer_size": 100, "learning_starts": 8, "batch_size": 4}),
    ],
)
def test_algorithms_run_with_their_own_policies(settings, algorithm, wrapper, kwargs):
    env = make_vec_env(CONTINUOUS, 2, seed=0, wrapper=wrapper, **settings)
    model = algorithm("MultiInputPolicy", env, policy_kwargs={"net_arch": [8]}, seed=0, **kwargs)
    model.learn(32)
    assert model.num_timesteps >= 32


def test_evaluate_policy_reads_the_returns(settings):
    env = make_vec_env(CONTINUOUS, 2, seed=0, wrapper="priority", **settings)
    model = SAC("MultiInputPolicy", env, policy_kwargs={"net_arch": [8]}, buffer_size=10, seed=0)
    returns, lengths = evaluate_policy(model, env, n_eval_episodes=2, return_episode_rewards=True)
    assert len(returns) == 2
    assert max(returns) < 0.0
    assert min(lengths) > 0


def test_row_numbers_taken_for_quantities_are_warned_about_once(settings):
    env = make_vec_env(STATIC, 2, observe="id", **settings)
    model = PPO("MultiInputPolicy", env, n_steps=8, batch_size=8)
    with pytest.warns(UserWarning, match="numbers of dataset rows"):
        model.learn(16)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.learn(16)


def test_row_numbers_that_are_looked_up_are_fine(settings):
    env = make_vec_env(STATIC, 2, observe="id", **settings)
    table = settings["dataset"].embedding_table(4)
    kwargs = {"features_extractor_kwargs": {"table": table}}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        PPO(CandidatePolicy, env, n_steps=8, batch_size=8, policy_kwargs=kwargs).learn(16)


class Written(KVWriter):
    """A logger's output that remembers what it was told."""

    def __init__(self):
        self.rows = []

    def write(self, key_values, key_excluded, step=0):
        del key_excluded, step
        self.rows.append(dict(key_values))

    def close(self):
        pass


def learn_and_log(model, metrics=METRICS):
    """Returns every summary of the training, and what was logged of them."""
    written, told = Written(), []
    model.set_logger(Logger(folder=None, output_formats=[written]))

    def listen(step, _):
        told.extend(info for info in step["infos"] if "summary" in info)
        return True

    model.learn(600, callback=[EpisodeMetrics(metrics), ConvertCallback(listen)], log_interval=1)
    return told, [row for row in written.rows if "edgecloud/jct_mean" in row]


@pytest.mark.parametrize("env_id", [STATIC, CLUSTER_ID])
def test_metrics_are_logged(settings, env_id):
    env = make_vec_env(env_id, 4, seed=0, **settings)
    model = PPO(CandidatePolicy, env, n_steps=150, batch_size=600, n_epochs=1)
    told, rows = learn_and_log(model)
    assert len(rows) == 1
    (row,) = rows
    for name in ("jct_mean", "jct_p95", "unfinished"):
        expected = np.mean([info["summary"][name] for info in told])
        assert row[f"edgecloud/{name}"] == pytest.approx(expected)
    assert row["edgecloud/invalid_assignments"] == 0.0
    assert ("edgecloud/ttft_mean" in row) == (env_id == CLUSTER_ID)
    assert "edgecloud/slo_attainment" not in row  # NaN: there is no objective


def test_episodes_that_a_time_limit_cuts_have_no_metrics(settings):
    env = gym.make(STATIC, max_episode_steps=4, **settings)
    written = Written()
    model = PPO("MultiInputPolicy", env, n_steps=32, batch_size=32, n_epochs=1)
    model.set_logger(Logger(folder=None, output_formats=[written]))
    model.learn(64, callback=EpisodeMetrics())
    assert not any(name.startswith("edgecloud/") for row in written.rows for name in row)


def test_metrics_are_a_list_of_names():
    with pytest.raises(TypeError, match="metrics='jct_mean': must be a list of names"):
        EpisodeMetrics("jct_mean")


def test_metrics_of_an_agent_without_masks_count_what_is_illegal(settings):
    env = SB3VecEnv(make_vec_env(STATIC, 2, seed=0, **settings).envs)
    model = DQN("MultiInputPolicy", env, learning_starts=10, buffer_size=100)
    told, rows = learn_and_log(model)
    assert told
    assert rows[-1]["edgecloud/invalid_assignments"] > 0


def test_metrics_through_sb3s_own_vector_environment(settings):
    def make():
        return wrappers.SequentialAssignment(gym.make(STATIC, **settings))

    model = MaskablePPO("MultiInputPolicy", make_sb3_env(make, 2), n_steps=300, batch_size=600)
    told, rows = learn_and_log(model)
    expected = np.mean([info["summary"]["jct_mean"] for info in told])
    assert rows[0]["edgecloud/jct_mean"] == pytest.approx(expected)


def test_metrics_of_another_environment_are_refused():
    model = PPO("MlpPolicy", "CartPole-v1", n_steps=4, batch_size=4)
    with pytest.raises(ValueError, match=r"EpisodeMetrics: .* no 'invalid_assignments' \(it has"):
        model.learn(4, callback=EpisodeMetrics())


def test_a_metric_that_no_summary_has_is_refused(settings):
    env = make_vec_env(STATIC, 2, seed=0, **settings)
    model = PPO(CandidatePolicy, env, n_steps=300, batch_size=600)
    with pytest.raises(ValueError, match=r"metrics: jct_p42: must be among arrived.*jct_mean"):
        learn_and_log(model, ("jct_p42",))
