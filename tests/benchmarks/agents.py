"""Requests per second of a whole episode: environment and agent together, on one core."""

from typing import Any

import gymnasium as gym
from threadpoolctl import threadpool_limits

from agents import make_agent
from agents.experiments.episode import run_episode
from tests.benchmarks import single
from tests.benchmarks.support import Contestant, Ratio, best_rates, dataset, print_ratios

GOALS = {
    "fcfs": 3.0,
    "clinucb": None,
    "c2ucb": 0.06,
    "cn-greedy": 0.06,
    "cn-ducb": 0.03,
    "ppo": None,
}
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


def report(rounds: int) -> list[Ratio]:
    """Plays whole episodes, each library on one thread."""
    for agent in GOALS:
        player(agent, make_env(duration=10.0))()  # compiles and imports
    env = make_env(DURATION)
    contestants = {agent: player(agent, env) for agent in GOALS}
    with threadpool_limits(1):
        rates = best_rates({single.CARTPOLE: single.cartpole(), **contestants}, rounds)
    cartpole = rates.pop(single.CARTPOLE)
    ratios = [Ratio(f"episode, {a}", rate, cartpole, GOALS[a]) for a, rate in rates.items()]
    print_ratios(
        f"A whole episode (EdgeCloud-Static-v0, {DURATION:g} s at {ARRIVAL_RATE:g} requests/s, "
        f"{dataset().embeddings.shape[1]}-d embeddings, one thread, {rounds} rounds)",
        "requests/s",
        ratios,
    )
    return ratios
