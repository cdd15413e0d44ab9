"""Trains PPO with TorchRL, masked, on EdgeCloud-Continuous-v0.

python examples/train_torchrl.py
"""

import argparse

import torch
from tensordict.nn import TensorDictModule
from torch import nn
from torchrl.collectors import Collector
from torchrl.modules import MaskedCategorical, ProbabilisticActor, ValueOperator
from torchrl.objectives import ClipPPOLoss
from torchrl.objectives.value import GAE

from edgecloud_gym.networks import CandidateNet
from edgecloud_gym.torchrl import make_env

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--frames", type=int, default=120_000, help="steps in all")
parser.add_argument("--envs", type=int, default=32, help="environments side by side")
parser.add_argument("--duration", type=float, default=100.0, help="length of an episode (s)")
given = parser.parse_args()


class Output(nn.Module):
    """One of the two outputs of a `CandidateNet`: 0 for scores, 1 for values."""

    def __init__(self, env, index):
        """Makes a network for the observations of an environment."""
        super().__init__()
        self.net = CandidateNet(env.single_observation_space, env.single_action_space)
        self.index = index

    def forward(self, *parts):
        """Returns scores (..., choices) or values (..., 1)."""
        output = self.net(dict(zip(self.net.keys, parts, strict=True)))[self.index]
        return output.unsqueeze(-1) if self.index else output


torch.manual_seed(0)
torch.set_num_threads(1)  # small networks: a second thread would only wait
env = make_env(
    "EdgeCloud-Continuous-v0",
    given.envs,
    split="train",
    load=1.2,
    duration=given.duration,
    reward={"jct": 0.01},
)
env.set_seed(0)
scores, values = Output(env, 0), Output(env, 1)
actor = ProbabilisticActor(
    TensorDictModule(scores, in_keys=list(scores.net.keys), out_keys=["logits"]),
    in_keys={"logits": "logits", "mask": "action_mask"},
    distribution_class=MaskedCategorical,
    return_log_prob=True,
)
critic = ValueOperator(values, in_keys=list(values.net.keys))
advantage = GAE(gamma=0.99, lmbda=0.95, value_network=critic)
loss = ClipPPOLoss(actor, critic, entropy_coeff=0.01, normalize_advantage=True)
optimizer = torch.optim.Adam(loss.parameters(), lr=1e-3)

batch = 128 * given.envs
rollouts = max(1, given.frames // batch)
collector = Collector(
    env,
    actor,
    frames_per_batch=batch,
    total_frames=rollouts * batch,
    auto_register_policy_transforms=False,
)
illegal = 0
for data in collector:
    chosen = data["action_mask"].gather(-1, data["action"].unsqueeze(-1))
    illegal += int((~chosen).sum())
    with torch.no_grad():
        advantage(data)
    for _ in range(4):
        for part in data.reshape(-1).split(1024):
            terms = loss(part)
            total = terms["loss_objective"] + terms["loss_critic"] + terms["loss_entropy"]
            optimizer.zero_grad()
            total.backward()
            nn.utils.clip_grad_norm_(loss.parameters(), 0.5)
            optimizer.step()
    print(f"reward per step {data['next', 'reward'].mean():.3f}")
collector.shutdown()
print(f"illegal assignments: {illegal}")
