"""Steps per second of one environment through `gymnasium.make`, beside CartPole-v1's."""

from typing import Any

import gymnasium as gym
import numpy as np

from edgecloud_gym import CLUSTER_ID, ENV_IDS
from tests.benchmarks.support import Contestant, best_rates, dataset, print_table

GOALS = {"id": 0.40, "embedding": 0.25}  # of CartPole-v1's rate
STEPS = 5000


def stepper(env: gym.Env[Any, Any], actions: list[Any], steps: int = STEPS) -> Contestant:
    """Steps an environment, with its resets, taking the actions in turn."""
    env.reset(seed=0)

    def run() -> int:
        for i in range(steps):
            _, _, terminated, truncated, _ = env.step(actions[i % len(actions)])
            if terminated or truncated:
                env.reset()
        return steps

    return run


def contestants() -> dict[str, Contestant]:
    # To and fro keeps the pole up for longer than one direction: CartPole resets less.
    found = {"CartPole-v1": stepper(gym.make("CartPole-v1"), [0, 1])}
    for observe in GOALS:
        for env_id in (*ENV_IDS, CLUSTER_ID):
            env = gym.make(env_id, dataset=dataset(), observe=observe)
            found[f"{env_id}, {observe}"] = stepper(env, [np.zeros(32, np.int64)])
    return found


def report(rounds: int) -> None:
    rates = best_rates(contestants(), rounds)
    cartpole = rates["CartPole-v1"]
    rows = []
    for name, rate in rates.items():
        goal = GOALS.get(name.rpartition(", ")[2])
        rows.append(
            (name, f"{rate:,.0f}", f"{rate / cartpole:.2f}", f">= {goal:.2f}" if goal else "")
        )
    print_table(
        f"One environment (default settings, {rounds} interleaved rounds, the best of each)",
        ("", "steps/s", "of CartPole", "goal"),
        rows,
    )
