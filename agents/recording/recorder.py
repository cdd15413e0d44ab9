"""Plays an agent and writes down what it sees and does."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from agents.base import Agent, Info, Observation
from agents.recording.specification import (
    UnspecifiableError,
    in_json,
    with_order,
    with_settings,
)
from edgecloud_gym import __version__
from edgecloud_gym.envs.base import EdgeCloudEnv
from edgecloud_gym.envs.spaces import observation_space
from edgecloud_gym.wrappers.recorded import EpisodeOrder, fixed_table, write_order

DATA: Final = "data"
ORDER: Final = "queue.npz"


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
        raise TypeError(f"env={env!r}: must be an EdgeCloud environment made by gymnasium.make")
    if made.observation_space != observation_space(base.simulator.layout) or (
        made.action_space != base.action_space
    ):
        raise TypeError(
            f"env={env!r}: a wrapper changes observations or actions; agents play without it"
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
        spec: How to make that anew; ``None`` if it has no form in JSON.
        place: Where the recording will lie.
        folder: Where it lies meanwhile.
        storage: Minari's.
        dataset_id: The dataset's.
        summary: Of the last episode.
    """

    agent: Agent
    env: gym.Env[Any, Any]
    spec: Any
    place: Path
    folder: Path
    storage: Any
    dataset_id: str
    summary: Mapping[str, float] = field(default_factory=dict)
    _orders: list[EpisodeOrder] = field(default_factory=list)

    @classmethod
    def begin(cls, agent: Agent, spec: Any, folder: Path, place: Path, name: str) -> Recorder:
        """Makes the environment and the dataset, empty."""
        from minari.dataset.minari_storage import MinariStorage

        env = gym.make(spec)
        written = None
        try:
            written = with_settings(spec, in_json(spec.kwargs, folder, place))
        except UnspecifiableError as error:
            warnings.warn(str(error), stacklevel=3)
        (folder / DATA).mkdir()
        storage = MinariStorage.new(
            folder / DATA, observation_space=env.observation_space, action_space=env.action_space
        )
        return cls(agent, env, written, place, folder, storage, name)

    def play(self, seed: int, explore: bool) -> None:
        """Records an episode."""
        from minari.data_collector.episode_buffer import EpisodeBuffer

        episode = _Episode(EpisodeOrder(seed))
        agent, env = self.agent, self.env
        base: Any = env.unwrapped
        agent.reset(env, int(np.random.SeedSequence([seed, 1]).generate_state(1)[0]))
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
        self.storage.update_episodes([EpisodeBuffer(**episode.columns(), seed=seed)])
        facts = {f"summary/{name}": float(value) for name, value in self.summary.items()}
        facts["return"] = float(np.sum(episode.rewards))
        number = self.storage.total_episodes - 1
        self.storage.update_episode_metadata([facts], [number])
        self._orders.append(episode.order)

    def end(self, author: str | None, description: str | None) -> None:
        """Writes the metadata and the order of the queue."""
        import minari

        ranked = any(order.scores or order.tables for order in self._orders)
        if ranked:
            write_order(self.folder / ORDER, self._orders)
        metadata: dict[str, Any] = {
            "dataset_id": self.dataset_id,
            "algorithm_name": self.agent.name,
            "minari_version": minari.__version__,
            "requirements": [f"edgecloud-gym=={__version__}"],
            "description": description
            or f"Agent {self.agent!r} of edgecloud-gym; observations are what it acted on.",
        }
        if author is not None:
            metadata["author"] = {author}
        if self.spec is not None:
            recorded = with_order(self.spec, self.place / ORDER) if ranked else self.spec
            fixed = fixed_table(self._orders) is not None
            metadata["env_spec"] = recorded.to_json()
            metadata["eval_env_spec"] = (recorded if fixed else self.spec).to_json()
        self.storage.update_metadata(metadata)
        self.env.close()


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
