"""Trains PPO on EdgeCloud-Continuous-v0 for about a minute and compares it with FCFS.

It learns on the train prompts, in short and overloaded episodes, where the order matters most. Both
then meet the same requests: test prompts for ten minutes, at 95 % of the capacity.
"""

import numpy as np
from stable_baselines3 import PPO

from agents.policies import CandidatePolicy
from edgecloud_gym.sb3 import make_vec_env

ENV_ID = "EdgeCloud-Continuous-v0"


def mean_jct(model):
    """Returns the mean job completion time (s) of each of ten episodes; without a model, FCFS's."""
    wrapper = "sequential" if model else None
    env = make_vec_env(ENV_ID, 10, seed=1000, wrapper=wrapper, split="test", load=0.95)
    actions = np.zeros((10, 32), int)  # assigns nothing: free slots take the oldest by themselves
    observation, last = env.reset(), {}
    while len(last) < 10:
        if model:
            actions, _ = model.predict(observation, deterministic=True)
        observation, _, dones, infos = env.step(actions)
        last = {i: infos[i] for i in np.flatnonzero(dones)} | last  # each lane's first episode
    return np.array([-last[i]["episode"]["r"] / last[i]["completed_total"] for i in range(10)])


train = make_vec_env(
    ENV_ID, 64, seed=0, split="train", load=1.2, duration=100, reward={"jct": 0.01}
)
settings = {"n_steps": 128, "batch_size": 1024, "n_epochs": 4, "learning_rate": 1e-3, "seed": 0}
model = PPO(CandidatePolicy, train, **settings).learn(120_000, progress_bar=True)
ppo, fcfs = mean_jct(model), mean_jct(None)
print(f"mean JCT: PPO {ppo.mean():.2f} s, FCFS {fcfs.mean():.2f} s")
print(f"PPO is faster in {np.sum(ppo < fcfs)} of {len(fcfs)} episodes of the same requests")
