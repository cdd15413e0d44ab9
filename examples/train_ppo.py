"""Trains PPO on EdgeCloud-Continuous-v0 for about a minute and compares it with FCFS.

It learns on the train prompts where to send the request at the head of the queue, which is ranked
by predicted time. Both then meet the same requests: test prompts, at 95 % of the capacity.
"""

from stable_baselines3 import PPO

from agents import AgentSpec, run_experiment, save_policy
from agents.policies import WalkPolicy, make_walk_env, rule_for

ENV_ID = "EdgeCloud-Continuous-v0"

train = make_walk_env(ENV_ID, 64, seed=0, split="train", load=1.1, duration=100)
start = {"rule": rule_for("continuous")}  # what it plays before it has learnt anything
settings = {"n_steps": 128, "batch_size": 1024, "n_epochs": 4, "learning_rate": 1e-4, "seed": 0}
model = PPO(WalkPolicy, train, policy_kwargs=start, **settings).learn(120_000, progress_bar=True)
save_policy(model, "ppo.npz")

result = run_experiment(
    ENV_ID,
    ["fcfs", AgentSpec("ppo", {"model": "ppo.npz"})],
    seeds=3,
    env_kwargs={"split": "test", "load": 0.95, "duration": 300.0},
)
print(result.summary.groupby("agent")["jct_mean"].mean().round(2).to_string())
