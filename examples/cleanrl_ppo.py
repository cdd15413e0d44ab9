"""PPO in one file, in the style of CleanRL, masked, on the native vector environment.

python examples/cleanrl_ppo.py --env-id EdgeCloud-Continuous-v0 --total-timesteps 200000

After CleanRL's ppo.py (S. Huang et al., JMLR 23(274), 2022): the same loop, losses and names. What
differs is what these environments need: an observation of several parts, and a mask.
"""

import argparse
import random
import time

import gymnasium as gym
import numpy as np
import torch
from torch import nn, optim
from torch.distributions.categorical import Categorical

import edgecloud_gym  # registers the environments
from edgecloud_gym.networks import CandidateNet
from edgecloud_gym.wrappers.vector import SequentialAssignment


def parse_args():
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--env-id", default="EdgeCloud-Continuous-v0", choices=edgecloud_gym.ENV_IDS
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--total-timesteps", type=int, default=200_000)
    parser.add_argument("--duration", type=float, default=100.0, help="length of an episode (s)")
    parser.add_argument("--load", type=float, default=1.2)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--num-envs", type=int, default=64)
    parser.add_argument("--num-steps", type=int, default=128)
    parser.add_argument("--gamma", type=float, default=0.99)
    parser.add_argument("--gae-lambda", type=float, default=0.95)
    parser.add_argument("--num-minibatches", type=int, default=8)
    parser.add_argument("--update-epochs", type=int, default=4)
    parser.add_argument("--clip-coef", type=float, default=0.2)
    parser.add_argument("--ent-coef", type=float, default=0.01)
    parser.add_argument("--vf-coef", type=float, default=0.5)
    parser.add_argument("--max-grad-norm", type=float, default=0.5)
    return parser.parse_args()


class Agent(nn.Module):
    """Scores of the choices, and the value, by one network."""

    def __init__(self, envs):
        """Makes the network."""
        super().__init__()
        self.net = CandidateNet(envs.single_observation_space, envs.single_action_space)

    def get_value(self, obs):
        """Returns values (batch,)."""
        return self.net(obs)[1]

    def get_action_and_value(self, obs, mask, action=None):
        """Returns actions, their log probabilities, entropies and values, each (batch,)."""
        logits, value = self.net(obs)
        probs = Categorical(logits=logits.masked_fill(~mask, -1e8))
        if action is None:
            action = probs.sample()
        return action, probs.log_prob(action), probs.entropy(), value


if __name__ == "__main__":
    args = parse_args()
    batch_size = args.num_envs * args.num_steps
    minibatch_size = batch_size // args.num_minibatches
    random.seed(args.seed)
    np.random.seed(args.seed)  # noqa: NPY002 # as CleanRL does
    torch.manual_seed(args.seed)
    torch.set_num_threads(1)  # small networks: a second thread would only wait

    envs = gym.make_vec(
        args.env_id,
        args.num_envs,
        autoreset_mode=gym.vector.AutoresetMode.SAME_STEP,
        split="train",
        load=args.load,
        duration=args.duration,
        reward={"jct": 0.01},
    )
    envs = SequentialAssignment(envs)
    agent = Agent(envs)
    optimizer = optim.Adam(agent.parameters(), lr=args.learning_rate, eps=1e-5)

    # Storage
    shape = (args.num_steps, args.num_envs)
    space = envs.single_observation_space
    obs = {key: torch.zeros(shape + space[key].shape) for key in agent.net.keys}
    masks = torch.zeros((*shape, envs.single_action_space.n), dtype=torch.bool)
    actions = torch.zeros(shape, dtype=torch.long)
    logprobs, rewards, dones, values = (torch.zeros(shape) for _ in range(4))

    def tensors(observation):
        """Returns an observation as tensors."""
        return {key: torch.as_tensor(observation[key]) for key in agent.net.keys}

    global_step = illegal = 0
    returns = np.zeros(args.num_envs)
    start = time.time()
    next_obs, infos = envs.reset(seed=args.seed)
    next_obs, next_mask = tensors(next_obs), torch.as_tensor(infos["action_mask"]).bool()
    next_done = torch.zeros(args.num_envs)
    for _ in range(1, max(1, args.total_timesteps // batch_size) + 1):
        finished = []  # (return, mean JCT) of the episodes that end
        for step in range(args.num_steps):
            global_step += args.num_envs
            for key, part in next_obs.items():
                obs[key][step] = part
            masks[step], dones[step] = next_mask, next_done
            with torch.no_grad():
                action, logprob, _, value = agent.get_action_and_value(next_obs, next_mask)
            actions[step], logprobs[step], values[step] = action, logprob, value
            illegal += int((~next_mask.gather(1, action.unsqueeze(1))).sum())
            next_obs, reward, terminations, truncations, infos = envs.step(action.numpy())
            ended = terminations | truncations
            returns += reward
            if ended.any():
                jcts = infos["final_info"]["summary"]["jct_mean"]
                finished += zip(returns[ended], jcts[ended], strict=True)
                returns[ended] = 0.0
            next_obs, next_mask = tensors(next_obs), torch.as_tensor(infos["action_mask"]).bool()
            rewards[step] = torch.as_tensor(reward)
            next_done = torch.as_tensor(ended).float()

        # Advantages
        with torch.no_grad():
            next_value = agent.get_value(next_obs)
            advantages = torch.zeros_like(rewards)
            lastgaelam = 0.0
            for t in reversed(range(args.num_steps)):
                last = t == args.num_steps - 1
                nextnonterminal = 1.0 - (next_done if last else dones[t + 1])
                nextvalues = next_value if last else values[t + 1]
                delta = rewards[t] + args.gamma * nextvalues * nextnonterminal - values[t]
                lastgaelam = delta + args.gamma * args.gae_lambda * nextnonterminal * lastgaelam
                advantages[t] = lastgaelam
            targets = advantages + values

        # Learning
        b_obs = {key: part.flatten(0, 1) for key, part in obs.items()}
        b_masks, b_actions, b_logprobs = masks.flatten(0, 1), actions.flatten(), logprobs.flatten()
        b_advantages, b_targets = advantages.flatten(), targets.flatten()
        for _epoch in range(args.update_epochs):
            for mb in torch.randperm(batch_size).split(minibatch_size):
                mb_obs = {key: part[mb] for key, part in b_obs.items()}
                _, newlogprob, entropy, newvalue = agent.get_action_and_value(
                    mb_obs, b_masks[mb], b_actions[mb]
                )
                ratio = (newlogprob - b_logprobs[mb]).exp()
                mb_adv = b_advantages[mb]
                mb_adv = (mb_adv - mb_adv.mean()) / (mb_adv.std() + 1e-8)
                clipped = ratio.clamp(1 - args.clip_coef, 1 + args.clip_coef)
                pg_loss = torch.max(-mb_adv * ratio, -mb_adv * clipped).mean()
                v_loss = 0.5 * ((newvalue - b_targets[mb]) ** 2).mean()
                loss = pg_loss - args.ent_coef * entropy.mean() + args.vf_coef * v_loss
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(agent.parameters(), args.max_grad_norm)
                optimizer.step()

        sps = int(global_step / (time.time() - start))
        if finished:
            episodic_return, jct = np.mean(finished, axis=0)
            print(
                f"global_step={global_step}, episodic_return={episodic_return:.2f}, "
                f"mean JCT={jct:.2f} s, SPS={sps}"
            )
        else:
            print(f"global_step={global_step}, no episode has ended, SPS={sps}")
    print(f"illegal assignments: {illegal}")
    envs.close()
