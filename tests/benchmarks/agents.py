"""Requests per second of a whole episode: environment and agent together, on one core."""

from typing import Any

import gymnasium as gym
import torch

from agents import make_agent
from agents.experiments.episode import run_episode
from tests.benchmarks.support import Contestant, best_rates, dataset, print_table

GOALS = {"fcfs": 10_000, "cn-greedy": 2_000, "cn-ducb": 700}  # requests/s
DURATION = 7200.0  # s
ARRIVAL_RATE = 5.0  # requests/s


def make_env(duration: float) -> gym.Env[Any, Any]:
    """The environment of the reference's experiments, with embeddings of full width."""
    return gym.make(
        "EdgeCloud-Static-v0",
        dataset=dataset(),
        arrival_rate=ARRIVAL_RATE,
        duration=duration,
        embedding_dim=None,
        work_conserving=False,
    )


def player(agent: str, env: gym.Env[Any, Any]) -> Contestant:
    """Plays an episode with a new agent until every request is done."""

    def run() -> int:
        run_episode(env, make_agent(agent), seed=0, agent_seed=0)
        return int(env.unwrapped.summary()["completed"])

    return run


def report(rounds: int) -> None:
    torch.set_num_threads(1)  # NumPy has little to do here, Numba's code has one thread
    for agent in GOALS:
        player(agent, make_env(duration=10.0))()  # compiles and imports
    env = make_env(DURATION)
    rates = best_rates({agent: player(agent, env) for agent in GOALS}, rounds)
    print_table(
        f"A whole episode (EdgeCloud-Static-v0, {DURATION:g} s at {ARRIVAL_RATE:g} requests/s, "
        f"{dataset().embeddings.shape[1]}-d embeddings, one thread, {rounds} rounds)",
        ("", "requests/s", "goal"),
        [(agent, f"{rates[agent]:,.0f}", f">= {goal:,}") for agent, goal in GOALS.items()],
    )
