"""Records an agent, clones it, and estimates from its recording alone how another would have done.

python examples/learn_from_recordings.py

1. `agents.collect` records cn-greedy, which now and then draws a batch by lot.
2. Behaviour cloning: a network learns to score the candidates as the agent ranked them.
3. Off-policy evaluation: how short would the requests have been that a trained c2ucb had sent to
   the edge? Estimated from what cn-greedy sent and with which probability, and compared with the
   truth, which the simulator knows: it has the time of every candidate, sent or not.
"""

import argparse
import tempfile
from pathlib import Path

import gymnasium as gym
import numpy as np
import torch

from agents import collect, make_agent
from agents.experiments.episode import run_episode
from edgecloud_gym.networks import CandidateNet

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--episodes", type=int, default=10)
parser.add_argument("--duration", type=float, default=300.0, help="length of an episode (s)")
parser.add_argument("--epochs", type=int, default=5, help="of the cloning")
given = parser.parse_args()
settings = {"load": 1.2, "duration": given.duration, "cloud_concurrency": 0}
EDGE = 1


def record(folder):
    """Returns a recording of an agent that explores by lot."""
    agent = make_agent("cn-greedy", epsilon=0.3)
    return collect("EdgeCloud-Static-v0", agent, given.episodes, folder, **settings)


def clone(recording):
    """Trains a network to make the recorded choices; returns it and how often it agrees."""
    env = recording.recover_environment(eval_env=True)
    net = CandidateNet(env.observation_space, env.action_space)
    keys, nodes = net.keys, 1 + len(env.unwrapped.config.nodes)
    episodes = list(recording.iterate_episodes())
    seen = {
        k: torch.as_tensor(np.concatenate([e.observations[k][:-1] for e in episodes])) for k in keys
    }
    done = torch.as_tensor(np.concatenate([e.actions for e in episodes]))
    there = seen["candidates"][:, :, 0] == 1.0
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    for _ in range(given.epochs):
        for rows in torch.randperm(len(done)).split(64):
            scores = net({k: part[rows] for k, part in seen.items()})[0].reshape(
                len(rows), -1, nodes
            )
            loss = torch.nn.functional.cross_entropy(scores[there[rows]], done[rows][there[rows]])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    with torch.no_grad():
        chosen = net(seen)[0].reshape(*done.shape, nodes).argmax(dim=2)
    return net, float((chosen == done)[there].float().mean())


def train_target():
    """Returns c2ucb after an episode of its own."""
    agent = make_agent("c2ucb")
    env = gym.make("EdgeCloud-Static-v0", **settings, work_conserving=False)
    run_episode(env, agent, seed=10_000, agent_seed=0)
    return agent


def off_policy(recording, target, times):
    """Returns estimates of a target's value with their standard errors, and the truth.

    The value is the mean time (s) of the requests of a batch that the target sends to the edge,
    where there are more candidates than places. The target takes those that it predicts to be the
    shortest. Of a request that the recorded agent sent too, its time is known; p is the recorded
    probability that it was sent. With the target's own predictions m as the model:

    - inverse propensity: the mean of time / p over what both sent;
    - doubly robust: the mean of m, corrected by (time - m) / p over what both sent.
    """
    capacity = 4
    model, inverse, robust, truth = [], [], [], []
    for episode in recording.iterate_episodes():
        for t, action in enumerate(episode.actions):
            sent = action == EDGE
            rows = episode.infos["row"][t]
            here = np.flatnonzero(rows >= 0)
            if sent.sum() != capacity or len(here) <= capacity:
                continue
            means, _ = target.evaluate(episode.observations["embeddings"][t][here], explore=False)
            picks = here[np.argsort(means, kind="stable")[:capacity]]
            predicted = target.seconds(np.sort(means, kind="stable")[:capacity])
            known = times[rows[picks]]  # of those that were not sent it must not be used ...
            weight = sent[picks] / episode.infos["propensity"][t][picks]  # ... and is not: 0
            model.append(predicted.mean())
            inverse.append((weight * known).mean())
            robust.append((predicted + weight * (known - predicted)).mean())
            truth.append(known.mean())
    found = {"the model alone": model, "inverse propensity": inverse, "doubly robust": robust}
    spread = {n: (np.mean(v), np.std(v) / np.sqrt(len(v))) for n, v in found.items()}
    return spread, float(np.mean(truth)), len(truth)


if __name__ == "__main__":
    torch.manual_seed(0)
    torch.set_num_threads(1)  # small networks: a second thread would only wait
    with tempfile.TemporaryDirectory() as folder:
        recording = record(Path(folder) / "cn-greedy")
        print(f"recorded {recording.total_steps} decisions as {recording.id}")
        net, agreement = clone(recording)
        print(f"behaviour cloning: {agreement:.0%} of the choices are the agent's")
        dataset = recording.recover_environment(eval_env=True).unwrapped.dataset
        estimates, truth, decisions = off_policy(recording, train_target(), dataset.base_latency)
    print(f"mean time of what c2ucb sends to the edge, from {decisions} decisions of cn-greedy:")
    for name, (value, error) in estimates.items():
        print(f"  {name:20} {value:.3f} s +- {1.96 * error:.3f}")
    print(f"  {'truth':20} {truth:.3f} s")
