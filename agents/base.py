"""The agent protocol: what the experiment loop asks of a scheduler, and nothing more."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from agents.checkpoint import (
    read_checkpoint,
    read_header,
    trained_work_conserving,
    write_checkpoint,
)
from edgecloud_gym.wording import shown

if TYPE_CHECKING:
    import gymnasium as gym
    from gymnasium.vector import VectorEnv

    from edgecloud_gym.config import Priority
    from edgecloud_gym.envs.base import EdgeCloudEnv
    from edgecloud_gym.envs.vector import EdgeCloudVectorEnv

Observation = Mapping[str, NDArray[Any]]
Info = Mapping[str, Any]
# Lanes as an agent wants to see them; and what it does, for what they show and their masks.
Choose: TypeAlias = Callable[[dict[str, NDArray[Any]], NDArray[np.bool_]], NDArray[Any]]
InLanes: TypeAlias = "tuple[VectorEnv[Any, Any, Any], Choose]"

_IN_AN_EPISODE: Final = ("reset", "priority", "act", "observe", "predicted_times")


class Agent(ABC):
    """A scheduler.

    One episode is::

        agent.reset(env, seed)                # before env.reset: it may choose the queue's order
        observation, info = env.reset(seed=seed)
        done = False
        while not done:
            action = agent.act(observation, info)
            observation, reward, terminated, truncated, info = env.step(action)
            done = terminated or truncated
            if agent.observe(env.unwrapped.completions()) and not done:
                observation, info = env.unwrapped.reprioritize()

    which `run_episode` does. To write an agent, subclass this and define `act`.

    Attributes:
        name: What the agent is called in the registry, in tables and in checkpoints; the class's
            name by default.
        learns: Whether it goes on learning while it plays, if it may.
        from_zero: Whether it knows nothing before it has learnt: without a file of what was learnt
            and without learning it has nothing to go by.
        work_conserving: Whether the agent is to play in an environment that fills places which it
            leaves idle. ``False`` for one that decides fully by itself, ``True`` for one that
            counts on the filling, ``None`` to take the environment's default. The setting of this
            name overrides it wherever a user gives one.
        plays_live: Whether it plays live systems, where a row of the dataset stands for one request
            after the other (`rows_changed`) and nobody knows how long they take.
    """

    name: ClassVar[str]
    learns: ClassVar[bool] = False
    from_zero: ClassVar[bool] = False
    work_conserving: bool | None = None
    plays_live: ClassVar[bool] = True
    _named_by_class: ClassVar[bool]
    _env: EdgeCloudEnv | None = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        given = [vars(base) for base in cls.__mro__ if "name" in vars(base)]
        if not given or given[0].get("_named_by_class"):
            cls.name = cls.__name__
            cls._named_by_class = True

    def __repr__(self) -> str:
        known = {name: getattr(self, name) for name in self._arguments() if hasattr(self, name)}
        return f"{type(self).__name__}({', '.join(f'{n}={shown(v)}' for n, v in known.items())})"

    @property
    def env(self) -> EdgeCloudEnv:
        """The environment of the present episode.

        Raises:
            RuntimeError: If `reset` has not been called.
        """
        if self._env is None:
            raise RuntimeError(f"agent {self.name!r}: call reset(env, seed) first")
        return self._env

    def reset(self, env: gym.Env[Any, Any], seed: int) -> None:
        """Prepares for an episode; what was learnt before is kept.

        It sets the order of the waiting queue, so that ``env.reset`` must follow.

        Args:
            env: The environment, wrapped or not.
            seed: Seeds everything that the agent draws at random.
        """
        del seed  # for subclasses
        self._env = env.unwrapped  # type: ignore[assignment]
        self.env.set_priority(self.priority())

    def priority(self) -> Priority:
        """Returns how the waiting queue is to be ordered; by arrival unless overridden."""
        return None

    @abstractmethod
    def act(self, observation: Observation, info: Info, explore: bool = True) -> NDArray[np.int64]:
        """Decides where each candidate goes.

        Args:
            observation: What the environment shows.
            info: What it tells besides.
            explore: Whether the agent may try things out and learn; ``False`` for evaluation.

        Returns:
            0 (wait), 1 (edge) or 2 (cloud) per candidate, int64 (M,).
        """

    def probabilities(
        self, observation: Observation, info: Info, explore: bool = True
    ) -> NDArray[np.float64] | None:
        """Returns how likely `act` is to send each candidate to each node, before it is called.

        It changes nothing: neither what the agent has learnt nor what it will draw. Off-policy
        estimates need it (see `agents.collect`).

        Args:
            observation: As for `act`.
            info: As for `act`.
            explore: As for `act`.

        Returns:
            Marginal probabilities (M, 1 + nodes), column 0 of waiting, rows of sum 1; ``None`` for
            an agent that does not say, as this one does not unless it is overridden.
        """
        del observation, info, explore
        return None

    @classmethod
    def plays_lanes(cls) -> bool:
        """Whether the agent plays episodes side by side, by `in_lanes`.

        A subclass that changes what is done in an episode, and does not say how that is done in
        lanes, plays one episode after the other.
        """
        definer = next(c for c in cls.__mro__ if "in_lanes" in vars(c))
        return definer is not Agent and all(
            getattr(cls, name) is getattr(definer, name) for name in _IN_AN_EPISODE
        )

    def in_lanes(self, envs: EdgeCloudVectorEnv) -> InLanes:
        """Prepares for episodes side by side, in which it neither learns nor draws anything.

        An agent that defines this decides in every lane as `act` does in an episode of its own.
        Neither `reset` nor `priority` is called: an order of the queue is given to the lanes here,
        by ``envs.simulator.set_priority``.

        Args:
            envs: The lanes.

        Returns:
            The lanes as the agent wants to see them, wrapped or not, and a function that takes
            what they show, with a leading axis of n, and their masks (n, ...), bool, and returns
            n actions. The n are not the lanes: one may be there twice, or another one before it;
            but each row is the same lane's in all calls.

        Raises:
            NotImplementedError: If the agent plays no lanes.
            ValueError: If it does not fit the environment.
        """
        raise NotImplementedError(f"agent {self.name!r} plays one episode after the other")

    def observe(self, completions: NDArray[np.void]) -> bool:
        """Learns from what has finished since the last step.

        Args:
            completions: ``env.unwrapped.completions()``.

        Returns:
            Whether the waiting requests should be ranked anew, by
            ``env.unwrapped.reprioritize()``, before the next decision.
        """
        del completions
        return False

    def observes(self) -> dict[str, Any]:
        """Returns the settings of environments that the agent's observation depends on.

        Those that a trained model cannot do without, such as ``candidate_pool_size``: whoever makes
        an environment for it, and was not told otherwise, takes them.
        """
        return {}

    def rows_changed(self, rows: NDArray[np.int64]) -> None:
        """Takes note that some rows of the dataset stand for other requests from now on.

        Only live systems have such datasets: who keeps anything about rows forgets it here.

        Args:
            rows: Which rows (n,).
        """
        del rows

    def forget_predictions(self) -> None:
        """Forgets what was predicted of whom: requests have other ids from now on.

        Only live systems, whose episodes do not end, give a request another id.
        """
        return

    def predicted_times(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Returns which requests were dispatched on which predictions in this episode.

        Returns:
            Request ids and the single-request times predicted for them when they were dispatched
            (s), both (n,); empty for an agent that predicts none.
        """
        return np.empty(0, np.int64), np.empty(0)

    def predicted_times_in(
        self, envs: EdgeCloudVectorEnv, lane: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Returns what `predicted_times` does, of the episode in a lane; see `in_lanes`.

        Args:
            envs: The lanes that `in_lanes` was given.
            lane: Which of them; its episode has just ended.
        """
        del envs, lane
        return self.predicted_times()

    @classmethod
    def own_files(cls) -> list[Path]:
        """Returns the package's files that it may open by itself: with others it is another one."""
        return []

    def settings(self) -> dict[str, Any]:
        """Returns the constructor's arguments, which are attributes of the same names.

        Raises:
            AttributeError: If an argument is no attribute; it is named.
        """
        return {name: getattr(self, name) for name in self._arguments()}

    def _arguments(self) -> list[str]:
        return sorted(constructor_arguments(type(self)))

    def state(self) -> dict[str, NDArray[Any]]:
        """Returns what was learnt, as arrays."""
        return {}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Takes over what `state` returned.

        Raises:
            KeyError: If an array is missing.
            ValueError: If an array has the wrong shape.
        """
        del state

    def save(self, path: str | Path) -> None:
        """Writes settings, what was learnt and how it played; complete or not at all."""
        played = self.work_conserving if self._env is None else self._env.config.work_conserving
        training = {"settings": {"work_conserving": played}}
        write_checkpoint(Path(path), self.name, self.settings(), self.state(), training)

    def load(self, path: str | Path) -> None:
        """Takes over what an agent of the same name and settings has learnt, and how it played.

        Raises:
            ValueError: If the file is damaged, or is of another agent or of other settings.
        """
        state = read_checkpoint(Path(path), self.name, self.settings())
        try:
            self.restore(state)
        except (KeyError, ValueError) as error:
            raise ValueError(f"{path}: damaged checkpoint of {self.name!r}: {error}") from error
        played = trained_work_conserving(read_header(Path(path))["training"])
        if played is not None:
            self.work_conserving = played


def constructor_arguments(made: type[Agent]) -> dict[str, inspect.Parameter]:
    """Returns what an agent's class can be made with, by name.

    A constructor that passes on its ``**keywords`` takes those of the class above it as well.
    """
    found: dict[str, inspect.Parameter] = {}
    for cls in made.__mro__[:-1]:
        constructor = vars(cls).get("__init__")
        if constructor is None:
            continue
        _, *parameters = inspect.signature(constructor).parameters.values()
        for parameter in parameters:
            if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
                found.setdefault(parameter.name, parameter)
        if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
            break
    return found
