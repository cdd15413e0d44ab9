"""Steps per second of one environment through `gymnasium.make`, beside CartPole-v1's."""

from typing import Any

import gymnasium as gym
import numpy as np

from edgecloud_gym import CLUSTER_ID, ENV_IDS
from tests.benchmarks.support import Contestant, Ratio, best_rates, dataset, print_ratios

CARTPOLE = "CartPole-v1"
GOALS = {"id": 0.75, "embedding": 0.5}  # of CartPole-v1's rate
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


def cartpole() -> Contestant:
    # To and fro keeps the pole up for longer than one direction: CartPole resets less.
    return stepper(gym.make(CARTPOLE), [0, 1])


def contestants() -> dict[str, Contestant]:
    found = {CARTPOLE: cartpole()}
    for observe in GOALS:
        for env_id in (*ENV_IDS, CLUSTER_ID):
            env = gym.make(env_id, dataset=dataset(), observe=observe)
            found[f"{env_id}, {observe}"] = stepper(env, [np.zeros(32, np.int64)])
    return found


def report(rounds: int) -> list[Ratio]:
    rates = best_rates(contestants(), rounds)
    peer = rates.pop(CARTPOLE)
    ratios = [
        Ratio(f"single, {name}", rate, peer, GOALS.get(name.rpartition(", ")[2]))
        for name, rate in rates.items()
    ]
    print_ratios(
        f"One environment (default settings, {rounds} interleaved rounds, the best of each)",
        "steps/s",
        [Ratio(CARTPOLE, peer, peer), *ratios],
    )
    return ratios
