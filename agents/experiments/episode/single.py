"""One episode of one agent."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.wrappers import OrderEnforcing, PassiveEnvChecker

from agents.base import Agent
from agents.threads import one_thread


def run_episode(
    env: gym.Env[Any, Any], agent: Agent, seed: int, agent_seed: int, explore: bool = True
) -> float:
    """Runs an agent from reset to the end of the episode, with one thread (`one_thread`).

    Args:
        env: An environment of `edgecloud_gym`; it holds the request log afterwards.
        agent: Who decides.
        seed: Seeds the environment: the same requests arrive at the same times for every agent.
        agent_seed: Seeds what the agent draws.
        explore: Whether the agent may try things out and learn.

    Returns:
        The sum of the rewards.

    Raises:
        TypeError: If the agent's action does not hold integers; the agent is named.
        ValueError: If the action has a wrong shape or value; the agent is named.
    """
    with one_thread():
        return sum(play_steps(env, agent, seed, agent_seed, explore), 0.0)


def play_steps(
    env: gym.Env[Any, Any], agent: Agent, seed: int, agent_seed: int, explore: bool = True
) -> Iterator[float]:
    """Runs an agent step by step; yields the rewards. See `run_episode`.

    Schedulers that need no observations play without any (`Scheduler.play`).
    """
    from agents.schedulers.scheduler import Scheduler  # brings the compiler along

    agent.reset(env, agent_seed)
    observation, info = env.reset(seed=seed)
    if isinstance(agent, Scheduler) and agent.plays_alone and _is_plain(env):
        yield from agent.play(explore)
        return
    done = False
    while not done:
        action = agent.act(observation, info, explore)
        try:
            observation, reward, terminated, truncated, info = env.step(action)
        except (TypeError, ValueError) as error:
            raise type(error)(f"agent {agent.name!r}: {error}") from error
        done = terminated or truncated
        if agent.observe(env.unwrapped.completions()) and not done:  # type: ignore[attr-defined]
            observation, info = env.unwrapped.reprioritize()  # type: ignore[attr-defined]
        yield float(reward)


def _is_plain(env: gym.Env[Any, Any]) -> bool:
    """Whether stepping an environment does nothing but to step the simulator.

    The two wrappers that `gymnasium.make` adds check how an environment is used.
    """
    from edgecloud_gym.envs.base import EdgeCloudEnv

    while isinstance(env, OrderEnforcing | PassiveEnvChecker):
        env = env.env
    return (
        isinstance(env, EdgeCloudEnv)
        and type(env).step is EdgeCloudEnv.step
        and env.render_mode is None
    )


def agent_seed(seed: int) -> int:
    """Returns the seed of an agent's own draws, independent of the environment's stream."""
    return int(np.random.SeedSequence([seed, 1]).generate_state(1)[0])
