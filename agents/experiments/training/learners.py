"""Agents in training: each learns a while, and can be saved and taken up again in between."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from agents.base import Agent
from agents.checkpoint import write_checkpoint
from agents.experiments.design.scenario import Scenario
from agents.experiments.episode import agent_seed, run_episode
from agents.registry import make_agent


class Learner(ABC):
    """An agent in training.

    Attributes:
        unit: What `done` counts, in the singular.
        stride: By how many of these it advances at once.
        done: How much it has learnt from, in earlier sessions too.
        total: How much it is to learn from in all, as far as is known.
        empty: Episodes of this session in which no request arrived.
    """

    unit: ClassVar[str]
    stride: int = 1
    done: int
    total: int = 0
    empty: int = 0

    @abstractmethod
    def advance(self) -> float:
        """Learns until it can be saved again.

        Returns:
            The sum of rewards per episode, of late (NaN before the first episode has ended).
        """

    @abstractmethod
    def save(self, path: Path, training: Mapping[str, Any], *, going_on: bool = True) -> None:
        """Writes a file, complete or not at all; `agents.experiments.training.model_file` reads it.

        Args:
            path: The file.
            training: How it was trained; ``done`` is added.
            going_on: Whether to keep what only learning goes on from, too.
        """

    def log(self, name: str, value: float, folder: str) -> None:
        """Writes a number for TensorBoard.

        Args:
            name: What it is called there.
            value: The number, at what has been learnt so far.
            folder: Where TensorBoard looks.
        """
        from torch.utils.tensorboard import SummaryWriter

        with SummaryWriter(folder) as writer:
            writer.add_scalar(name, value, self.done)

    @abstractmethod
    def mean_jct(self, scenario: Scenario, seeds: Sequence[int]) -> NDArray[np.float64]:
        """Plays as it is now, without learning from it.

        Args:
            scenario: Where.
            seeds: Of the episodes.

        Returns:
            The mean JCT of each, s (seeds,).
        """


class BanditLearner(Learner):
    """A bandit learns from one episode after the other, as it does in an experiment.

    Each episode has its own seed, so that the model does not depend on interruptions.

    Args:
        name: Of the bandit.
        options: Its settings.
        scenario: Where it learns.
        seed: Seeds the episodes and the bandit's draws.
        resume: What it goes on from, and after how many episodes.
    """

    unit = "episode"

    def __init__(
        self,
        name: str,
        options: Mapping[str, Any],
        scenario: Scenario,
        seed: int,
        resume: tuple[Path, int] | None,
    ) -> None:
        self._agent = make_agent(name, **options)
        self.done = 0
        if resume is not None:
            path, self.done = resume
            self._agent.load(path)
        self._env = scenario.make(self._agent.work_conserving)
        self._seed = seed
        self._agent.reset(self._env, seed)  # so that what does not fit is refused now

    def advance(self) -> float:
        """Learns from an episode; returns the sum of its rewards."""
        seeds = np.random.SeedSequence([self._seed, self.done]).generate_state(2)
        total = run_episode(self._env, self._agent, int(seeds[0]), int(seeds[1]))
        self.empty += int(self._env.unwrapped.summary()["arrived"] == 0)  # type: ignore[attr-defined]
        self.done += 1
        return total

    def mean_jct(self, scenario: Scenario, seeds: Sequence[int]) -> NDArray[np.float64]:
        """Plays a copy; see `Learner.mean_jct`."""
        with TemporaryDirectory() as folder:
            path = Path(folder) / "copy.npz"
            self._agent.save(path)
            copy = make_agent(self._agent.name, **self._agent.settings())
            copy.load(path)
            return played(copy, scenario, seeds, explore=False)

    def save(self, path: Path, training: Mapping[str, Any], *, going_on: bool = True) -> None:
        """Writes a checkpoint; see `Learner.save`."""
        del going_on  # a bandit plays by all that it has learnt
        agent = self._agent
        record = {**training, "done": self.done}
        write_checkpoint(path, agent.name, agent.settings(), agent.state(), record)


def played(
    agent: Agent, scenario: Scenario, seeds: Sequence[int], explore: bool
) -> NDArray[np.float64]:
    """Plays episodes one after the other; returns the mean JCT of each, s (seeds,).

    Args:
        agent: Who plays.
        scenario: Where.
        seeds: Of the episodes.
        explore: Whether the agent may try things out and learn.
    """
    found = []
    env: Any = scenario.make(agent.work_conserving)
    for seed in seeds:
        run_episode(env, agent, seed, agent_seed(seed), explore)
        found.append(env.unwrapped.summary()["jct_mean"])
    return np.array(found)
