"""Plays an agent and writes down what it sees and does."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from agents.base import Agent, Info, Observation
from agents.recording.unfinished import Finished
from agents.threads import one_thread
from edgecloud_gym.envs.base import EdgeCloudEnv
from edgecloud_gym.envs.spaces import observation_space
from edgecloud_gym.wording import shown
from edgecloud_gym.wrappers.recorded import EpisodeOrder


def specification(env: str | gym.Env[Any, Any], settings: Mapping[str, Any], agent: Agent) -> Any:
    """Returns the specification of an environment as an agent needs it.

    Raises:
        TypeError: If it is not an EdgeCloud environment with its own observations and actions.
    """
    if isinstance(env, str):
        made: gym.Env[Any, Any] = gym.make(env, **settings)
    elif settings and isinstance(env, gym.Env):
        raise TypeError(f"{', '.join(settings)}: settings are of an id; this environment is made")
    else:
        made = env
    base = getattr(made, "unwrapped", None)
    if not isinstance(base, EdgeCloudEnv) or made.spec is None:
        raise TypeError(
            f"env={shown(env)}: must be an EdgeCloud environment made by gymnasium.make"
        )
    if made.observation_space != observation_space(base.simulator.layout) or (
        made.action_space != base.action_space
    ):
        raise TypeError(
            f"env={shown(env)}: a wrapper changes observations or actions; agents play without it"
        )
    spec = copy.deepcopy(made.spec)
    if agent.work_conserving is not None:
        spec.kwargs.setdefault("work_conserving", agent.work_conserving)
    return spec


@dataclass
class Recorder:
    """Plays an agent and writes down what it sees and does.

    Attributes:
        agent: Who plays.
        env: Where.
        explore: Whether the agent may try things out and learn.
        summary: Of the last episode.
    """

    agent: Agent
    env: gym.Env[Any, Any]
    explore: bool
    summary: Mapping[str, float] = field(default_factory=dict)

    def prepare(self, seed: int, learnt: Mapping[str, NDArray[Any]] | None = None) -> None:
        """Lets the agent build what it learns with, as the first episode would have it.

        Args:
            seed: Of the first episode.
            learnt: What it had learnt when a recording broke off, if it goes on with one.
        """
        self.agent.reset(self.env, _agent_seed(seed))
        if learnt is not None:
            self.agent.restore(learnt)

    @one_thread()
    def play(self, seed: int) -> Finished:
        """Plays an episode."""
        episode = _Episode(EpisodeOrder(seed))
        agent, env, explore = self.agent, self.env, self.explore
        base: Any = env.unwrapped
        agent.reset(env, _agent_seed(seed))
        episode.order.listen(base.simulator)
        observation, info = env.reset(seed=seed)
        done = False
        while not done:
            likely = agent.probabilities(observation, info, explore)
            action = agent.act(observation, info, explore)
            episode.saw(observation, info, base.candidates(), _of_choices(likely, action))
            episode.order.look(base.simulator, 2 * len(episode.actions))
            observation, reward, terminated, truncated, info = env.step(action)
            done = terminated or truncated
            reranked = agent.observe(base.completions()) and not done
            episode.order.look(base.simulator, 2 * len(episode.actions) + 1)
            episode.did(action, reward, terminated, truncated, reranked)
            if reranked:
                observation, info = base.reprioritize()
        self.summary = base.summary()  # a TimeLimit cuts episodes without telling it
        episode.saw(observation, info, base.candidates(), episode.at_end())
        facts = {f"summary/{name}": float(value) for name, value in self.summary.items()}
        facts["return"] = float(np.sum(episode.rewards))
        return Finished(seed, episode.columns(), facts, episode.order)


def _agent_seed(seed: int) -> int:
    """Returns the seed of what the agent draws in the episode with a seed."""
    return int(np.random.SeedSequence([seed, 1]).generate_state(1)[0])


@dataclass
class _Episode:
    """An episode in the making; of each list entry t is of step t."""

    order: EpisodeOrder
    observations: list[Observation] = field(default_factory=list)
    infos: list[dict[str, Any]] = field(default_factory=list)
    actions: list[NDArray[np.int64]] = field(default_factory=list)
    rewards: list[float] = field(default_factory=list)
    terminations: list[bool] = field(default_factory=list)
    truncations: list[bool] = field(default_factory=list)

    def saw(
        self,
        observation: Observation,
        info: Info,
        candidates: NDArray[np.void],
        propensity: NDArray[np.float64] | None,
    ) -> None:
        """Notes what the agent acts on."""
        told = {name: value for name, value in info.items() if name != "summary"}
        for name in ("request", "row"):
            told[name] = np.full(len(observation["candidates"]), -1, np.int64)
            told[name][: len(candidates)] = candidates[name]
        if propensity is not None:
            told["propensity"] = propensity
        self.observations.append(observation)
        self.infos.append(told)

    def did(
        self, action: NDArray[np.int64], reward: Any, over: bool, cut: bool, reranked: bool
    ) -> None:
        """Notes an action and what came of it."""
        self.actions.append(np.array(action, np.int64))
        self.rewards.append(float(reward))
        self.terminations.append(over)
        self.truncations.append(cut)
        self.order.reranked.append(reranked)

    def at_end(self) -> NDArray[np.float64] | None:
        """Returns the propensities of the choice that is not made at the end."""
        last = self.infos[-1].get("propensity")
        return None if last is None else np.ones_like(last)

    def columns(self) -> dict[str, Any]:
        """Returns the episode as Minari has it."""
        return {
            "observations": _by_name(self.observations),
            "actions": self.actions,
            "rewards": self.rewards,
            "terminations": self.terminations,
            "truncations": self.truncations,
            "infos": _by_name(self.infos),
        }


def _by_name(rows: list[Any]) -> dict[str, list[Any]]:
    return {name: [row[name] for row in rows] for name in rows[0]}


def _of_choices(
    likely: NDArray[np.float64] | None, action: NDArray[np.int64]
) -> NDArray[np.float64] | None:
    """Returns the probability of each candidate's choice (M,)."""
    return None if likely is None else likely[np.arange(len(action)), action]
