"""The networks: every candidate is treated alike, empty rows do not matter, algorithms run."""

import numpy as np
import pytest
import torch
from sb3_contrib import MaskablePPO
from stable_baselines3 import A2C, DQN, PPO, SAC

from agents.policies import CandidateExtractor, CandidatePolicy, MaskableCandidatePolicy
from edgecloud_gym.sb3 import make_vec_env
from tests.edgecloud_gym.support import CONTINUOUS, STATIC, toy_dataset

M = 5
SMALL = {"candidate_pool_size": M, "duration": 10.0, "embedding_dim": 3}
PER_CANDIDATE = ("candidates", "embeddings", "assigned")


def make(env_id: str = CONTINUOUS, wrapper: str | None = "sequential", **settings):
    return make_vec_env(env_id, 2, 0, wrapper, **{"dataset": toy_dataset(), **SMALL, **settings})


def busy_observation(env) -> dict[str, np.ndarray]:
    """An observation with several candidates, some assigned."""
    observation = env.reset()
    while observation["candidates"][:, :, 0].sum(axis=1).min() < 4:
        actions = [np.flatnonzero(mask)[0] for mask in env.env_method("action_masks")]
        observation, *_ = env.step(np.array(actions))
    return observation


@pytest.mark.parametrize("env_id", [STATIC, CONTINUOUS])
def test_to_permute_candidates_permutes_their_scores(env_id):
    env = make(env_id, load=3.0)
    policy = PPO(CandidatePolicy, env, seed=0).policy
    observation = busy_observation(env)
    order = np.random.default_rng(0).permutation(M)
    moved = {
        name: part[:, order] if name in PER_CANDIDATE else part
        for name, part in observation.items()
    }
    with torch.no_grad():
        before, after = (
            policy.get_distribution(policy.obs_to_tensor(seen)[0]).distribution.logits.numpy()
            for seen in (observation, moved)
        )
        values = [
            policy.predict_values(policy.obs_to_tensor(seen)[0]) for seen in (observation, moved)
        ]
    pairs = before[:, :-1].reshape(2, M, 2)
    np.testing.assert_allclose(after[:, :-1].reshape(2, M, 2), pairs[:, order], atol=1e-6)
    np.testing.assert_allclose(after[:, -1], before[:, -1], atol=1e-6)
    torch.testing.assert_close(*values)
    spread = np.ptp(pairs, axis=1)  # candidates differ, and so do their scores
    assert spread.max(axis=1).min() > 0.0


def test_empty_rows_have_no_code():
    env = make()
    observation = env.reset()
    extractor = CandidateExtractor(env.observation_space, width=8)
    tensors = {name: torch.as_tensor(part) for name, part in observation.items()}
    codes = extractor(tensors)[:, : (M + 1) * 8].reshape(2, M + 1, 8)[:, :M]
    empty = observation["candidates"][:, :, 0] == 0
    assert empty.any()
    assert (codes.detach().numpy()[empty] == 0.0).all()


def test_ids_look_up_the_table():
    """Observing ids with the table gives the features that observing embeddings gives."""
    dataset = toy_dataset()
    table = dataset.embedding_table(3)
    features = []
    for settings, kwargs in (({}, {}), ({"observe": "id"}, {"table": table})):
        env = make(**settings, dataset=dataset, load=3.0)
        torch.manual_seed(0)
        extractor = CandidateExtractor(env.observation_space, width=8, **kwargs)
        weight = extractor.row_net[0].weight
        if "table" in kwargs:  # the table's columns come last, not in the middle
            with torch.no_grad():
                weight.copy_(torch.cat([weight[:, :4], weight[:, 7:9], weight[:, 4:7]], dim=1))
        observation = busy_observation(env)
        features.append(extractor({k: torch.as_tensor(v) for k, v in observation.items()}))
    torch.testing.assert_close(*features)


@pytest.mark.parametrize(("observe", "table"), [("id", None), ("embedding", np.zeros((60, 3)))])
def test_table_and_observation_must_agree(observe, table):
    space = make(observe=observe).observation_space
    with pytest.raises(ValueError, match="table"):
        CandidateExtractor(space, table=table)


def test_other_action_spaces_are_refused():
    env = make()
    env.action_space = type(env.action_space)(3)
    with pytest.raises(ValueError, match="action_space"):
        PPO(CandidatePolicy, env)


@pytest.mark.parametrize(
    ("algorithm", "policy", "wrapper", "kwargs"),
    [
        (PPO, CandidatePolicy, "sequential", {"n_steps": 8, "batch_size": 16, "n_epochs": 1}),
        (PPO, CandidatePolicy, "priority", {"n_steps": 8, "batch_size": 16, "n_epochs": 1}),
        (PPO, CandidatePolicy, None, {"n_steps": 8, "batch_size": 16, "n_epochs": 1}),
        (A2C, CandidatePolicy, "sequential", {"n_steps": 4}),
        (MaskablePPO, MaskableCandidatePolicy, "sequential", {"n_steps": 8, "batch_size": 16}),
        (MaskablePPO, MaskableCandidatePolicy, None, {"n_steps": 8, "batch_size": 16}),
    ],
)
def test_actor_critics_learn_and_load(algorithm, policy, wrapper, kwargs, tmp_path):
    env = make(wrapper=wrapper)
    model = algorithm(policy, env, seed=0, **kwargs)
    before = model.policy.action_net.score.weight.detach().clone()
    model.learn(32)
    assert not torch.equal(before, model.policy.action_net.score.weight)
    model.save(tmp_path / "model.zip")
    again = algorithm.load(tmp_path / "model.zip")
    observation = env.reset()
    actions = [m.predict(observation, deterministic=True)[0] for m in (model, again)]
    np.testing.assert_array_equal(*actions)


@pytest.mark.parametrize(("algorithm", "wrapper"), [(DQN, "sequential"), (SAC, "priority")])
def test_the_extractor_serves_other_algorithms(algorithm, wrapper):
    env = make(wrapper=wrapper)
    options = {
        "features_extractor_class": CandidateExtractor,
        "features_extractor_kwargs": {"width": 8},
        "net_arch": [8],
    }
    model = algorithm(
        "MultiInputPolicy",
        env,
        policy_kwargs=options,
        buffer_size=100,
        learning_starts=8,
        batch_size=4,
    )
    model.learn(16)
    assert model.num_timesteps >= 16


@pytest.mark.parametrize("env_id", [STATIC, CONTINUOUS])
def test_without_masks_the_policy_knows_what_is_legal(env_id):
    """What PPO may choose, judged by the observation, is exactly what the masks permit."""
    env = make(env_id, load=3.0)
    policy = PPO(CandidatePolicy, env, seed=0).policy
    rng = np.random.default_rng(0)
    observation = env.reset()
    for _ in range(60):
        masks = np.stack(env.env_method("action_masks"))
        with torch.no_grad():
            logits = policy.get_distribution(policy.obs_to_tensor(observation)[0]).distribution
        np.testing.assert_array_equal(logits.logits.numpy() > -1e6, masks)
        observation, *_ = env.step(np.array([rng.choice(np.flatnonzero(m)) for m in masks]))


def test_masked_choices_are_never_made():
    env = make(STATIC, load=3.0)
    model = MaskablePPO(MaskableCandidatePolicy, env, n_steps=64, batch_size=64, seed=0)
    observation = env.reset()
    for _ in range(60):
        masks = np.stack(env.env_method("action_masks"))
        actions, _ = model.predict(observation, action_masks=masks)
        observation, _, _, infos = env.step(actions)
        assert all(info["invalid_assignments"] == 0 for info in infos)
