"""Decisions per second of the native vector environment at 1,024 lanes."""

from typing import Any

import gymnasium as gym
import numpy as np

from edgecloud_gym import CLUSTER_ID, ENV_IDS
from tests.benchmarks.single import CARTPOLE
from tests.benchmarks.support import Contestant, Ratio, best_rates, dataset, print_ratios

LANES = 1024
STEPS = 100
GOALS = {"id": 0.3}  # of CartPole-v1's own vector environment


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
    found = {CARTPOLE: stepper(cartpole, np.arange(LANES) % 2)}
    for observe in GOALS:
        for env_id in (*ENV_IDS, CLUSTER_ID):
            env = gym.make_vec(env_id, LANES, dataset=dataset(), observe=observe)
            actions = np.zeros(env.action_space.shape or (), np.int64)
            found[f"{env_id}, {observe}"] = stepper(env, actions)
    return found


def report(rounds: int) -> list[Ratio]:
    rates = best_rates(contestants(), rounds)
    peer = rates.pop(CARTPOLE)
    ratios = [
        Ratio(f"vector, {name}", rate, peer, GOALS.get(name.rpartition(", ")[2]))
        for name, rate in rates.items()
    ]
    print_ratios(
        f"Vector environment ({LANES} lanes, default settings, {rounds} interleaved rounds)",
        "decisions/s",
        [Ratio(CARTPOLE, peer, peer), *ratios],
    )
    return ratios
