"""Decisions per second of the native vector environment at 1,024 lanes."""

from typing import Any

import gymnasium as gym
import numpy as np

from edgecloud_gym import CLUSTER_ID, ENV_IDS
from tests.benchmarks.support import Contestant, best_rates, dataset, print_table

LANES = 1024
STEPS = 100
GOALS = {"id": 2.0, "embedding": 0.5}  # million decisions/s
CLUSTER_GOAL = 1.0


def stepper(env: gym.vector.VectorEnv[Any, Any, Any], actions: Any) -> Contestant:
    env.reset(seed=0)
    env.step(actions)

    def run() -> int:
        for _ in range(STEPS):
            env.step(actions)
        return STEPS * LANES

    return run


def contestants() -> dict[str, Contestant]:
    cartpole = gym.make_vec("CartPole-v1", LANES, vectorization_mode="vector_entry_point")
    found = {"CartPole-v1": stepper(cartpole, np.arange(LANES) % 2)}
    for observe in GOALS:
        for env_id in (*ENV_IDS, CLUSTER_ID):
            env = gym.make_vec(env_id, LANES, dataset=dataset(), observe=observe)
            actions = np.zeros(env.action_space.shape or (), np.int64)
            found[f"{env_id}, {observe}"] = stepper(env, actions)
    return found


def report(rounds: int) -> None:
    rows = []
    for name, rate in best_rates(contestants(), rounds).items():
        goal = GOALS.get(name.rpartition(", ")[2])
        if name.startswith(CLUSTER_ID) and goal is not None:
            goal = min(goal, CLUSTER_GOAL)
        rows.append((name, f"{rate / 1e6:.2f}", f">= {goal}" if goal else ""))
    print_table(
        f"Vector environment ({LANES} lanes, default settings, {rounds} interleaved rounds)",
        ("", "million decisions/s", "goal"),
        rows,
    )
