"""Loops that users write themselves: CleanRL's style, on torch alone."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from torch.distributions import Categorical

from edgecloud_gym.networks import ILLEGAL, CandidateNet
from edgecloud_gym.wrappers import SequentialAssignment, vector
from tests.ecosystem.cells import BRIEF, EXTRA, IDS, UNMODIFIED, cells_of, fill, names

CELLS, cell = cells_of("CleanRL-style loops")


def learn_by_policy_gradient(envs, net, steps, masked):
    """Takes steps of REINFORCE; returns how many choices were illegal."""
    optimizer = torch.optim.Adam(net.parameters())
    observation, infos = envs.reset(seed=0)
    illegal = 0
    for _ in range(steps):
        parts = {key: torch.as_tensor(observation[key]) for key in net.keys}
        scores, _ = net(parts)
        if masked:
            mask = torch.as_tensor(infos["action_mask"]).bool()
            scores = scores.masked_fill(~mask, ILLEGAL)
        else:
            scores = scores.reshape(envs.num_envs, *envs.single_action_space.shape, -1)
        drawn = Categorical(logits=scores)
        action = drawn.sample()
        observation, reward, *_, infos = envs.step(action.numpy())
        illegal += int(np.sum(infos["invalid_assignments"]))
        log = drawn.log_prob(action).reshape(envs.num_envs, -1).sum(dim=1)
        loss = -(log * torch.as_tensor(reward)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return illegal


@cell("single", UNMODIFIED)
def learn(env_id: str) -> None:
    envs = gym.vector.SyncVectorEnv([lambda: gym.make(f"edgecloud_gym:{env_id}", **BRIEF)])
    net = CandidateNet(envs.single_observation_space, envs.single_action_space, width=8)
    learn_by_policy_gradient(envs, net, 30, masked=False)


@cell("vector", UNMODIFIED)
def learn_side_by_side(env_id: str) -> None:
    envs = gym.make_vec(env_id, 3, **BRIEF)
    net = CandidateNet(envs.single_observation_space, envs.single_action_space, width=8)
    learn_by_policy_gradient(envs, net, 30, masked=False)


@cell("masked", EXTRA)
def learn_legally(env_id: str) -> None:
    for envs in (
        vector.SequentialAssignment(gym.make_vec(env_id, 3, **BRIEF)),
        gym.vector.SyncVectorEnv([lambda: SequentialAssignment(gym.make(env_id, **BRIEF))] * 2),
    ):
        net = CandidateNet(envs.single_observation_space, envs.single_action_space, width=8)
        assert learn_by_policy_gradient(envs, net, 150, masked=True) == 0


@pytest.mark.parametrize("env_id", IDS)
@pytest.mark.parametrize("cell", CELLS, ids=names(CELLS))
def test_loops(cell, env_id):
    fill(cell, env_id)
