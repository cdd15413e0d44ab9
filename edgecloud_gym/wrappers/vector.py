"""The wrappers of `edgecloud_gym.wrappers`, by the same names, for the native vector environments.

Lane i behaves as the wrapped single environment with the same seed.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from gymnasium import spaces
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode, VectorActionWrapper, VectorWrapper
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from edgecloud_gym.checks import check_integer
from edgecloud_gym.envs.base import Observation
from edgecloud_gym.envs.spaces import observation_space
from edgecloud_gym.envs.vector import Arrays, EdgeCloudVectorEnv
from edgecloud_gym.simulator.legality import assign_lowest
from edgecloud_gym.wording import shown
from edgecloud_gym.wrappers.assignment import (
    SequentialDecision,
    checked_choices,
    checked_scores,
    extended_space,
)
from edgecloud_gym.wrappers.forecast import Forecast
from edgecloud_gym.wrappers.walk import QueueWalk

if TYPE_CHECKING:
    _Wrapper = VectorWrapper[Any, Any, Any, Any, Any]
    _ActionWrapper = VectorActionWrapper[
        Observation, NDArray[np.floating[Any]], NDArray[np.int64], Arrays
    ]
else:  # before Gymnasium 1.3 they cannot be subscripted
    _Wrapper, _ActionWrapper = VectorWrapper, VectorActionWrapper


class _OfLanes:
    """What both wrappers tell of the environment that they wrap."""

    env: EdgeCloudVectorEnv

    @property
    def autoreset_mode(self) -> AutoresetMode:
        """When a lane whose episode ended is reset."""
        return self.env.autoreset_mode


def _checked_env(env: object, wrapper: str) -> EdgeCloudVectorEnv:
    if not isinstance(env, EdgeCloudVectorEnv):
        raise TypeError(
            f"{wrapper} wraps a native EdgeCloud vector environment itself, not {shown(env)}: "
            "other wrappers go outside it"
        )
    return env


class _ChoiceByChoice(_OfLanes, _Wrapper):
    """Takes decisions apart into choices, one per lane and step."""

    env: EdgeCloudVectorEnv

    def __init__(
        self, env: EdgeCloudVectorEnv, decision: SequentialDecision | QueueWalk, space: spaces.Dict
    ) -> None:
        super().__init__(env)
        self._decision = decision
        self._over = np.zeros(env.num_envs, np.bool_)
        self.single_observation_space = space
        self.observation_space = batch_space(space, env.num_envs)

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> tuple[Observation, dict[str, Any]]:
        """Resets all lanes, or those that ``options["reset_mask"]`` marks; see the environment."""
        observation, infos = self.env.reset(seed=seed, options=options)
        which = infos["_action_mask"]
        self._over &= ~which
        self._start(which, begun=which)
        infos["action_mask"] = self._decision.mask * which[:, np.newaxis]
        return self._shown(observation), infos

    def step(
        self, actions: NDArray[Any]
    ) -> tuple[Observation, Arrays, Arrays, Arrays, dict[str, Any]]:
        """Makes one choice per lane, and steps the lanes whose decision that ends.

        Args:
            actions: Of the action space, (num_envs, ...).

        Returns:
            Observations, rewards, terminations, truncations and infos of all lanes.

        Raises:
            gymnasium.error.ResetNeeded: If the lanes were not reset; with autoreset disabled also
                if one has ended.
            TypeError: If the actions are of a wrong kind.
            ValueError: If their shape is wrong or one is outside the action space.
        """
        decided, illegal = self._decision.choose(self._choices(actions))
        illegal &= ~self._over  # an ended lane is reset, whatever the choice
        begun = decided & self._over
        observation, rewards, terminations, truncations, infos = self.env.step_active(
            self._decision.picks, decided
        )
        ended = terminations | truncations
        if self.env.autoreset_mode is not AutoresetMode.SAME_STEP:
            self._over = ended
        elif ended.any():
            self._complete_final_infos(infos, ended)
            infos["final_info"]["invalid_assignments"] += illegal & ended
            illegal &= ~ended  # told in the final infos: these lanes have just begun
            begun = ended
        self._start(decided, begun)
        infos["invalid_assignments"] += illegal
        infos["action_mask"] = self._decision.mask.copy()
        return self._shown(observation), rewards, terminations, truncations, infos

    def action_masks(self) -> NDArray[np.bool_]:
        """Returns which choices are legal now, bool (num_envs, choices)."""
        if not self._decision.mask.any():
            raise ResetNeeded("call reset() before action_masks()")
        return np.asarray(self._decision.mask == 1)

    @abstractmethod
    def _choices(self, actions: NDArray[Any]) -> NDArray[np.int64]:
        """Returns the choices that actions stand for (num_envs,), checked."""

    @abstractmethod
    def _start(self, which: NDArray[np.bool_], begun: NDArray[np.bool_]) -> None:
        """Starts new decisions in some lanes, of which some have just begun an episode."""

    @abstractmethod
    def _shown(self, observation: Observation) -> Observation:
        """Returns what is shown where the environment shows ``observation``."""

    @abstractmethod
    def _complete_final_infos(self, infos: dict[str, Any], ended: NDArray[np.bool_]) -> None:
        """Shows, of lanes that have ended, the last observation and what is legal there."""


class SequentialAssignment(_ChoiceByChoice):
    """Decides one assignment at a time; see `edgecloud_gym.wrappers.SequentialAssignment`.

    In lanes that are in the middle of a decision no time passes while others go on.
    """

    _decision: SequentialDecision

    def __init__(self, env: EdgeCloudVectorEnv, allow_stop: bool = False) -> None:
        """Wraps a vector environment.

        Args:
            env: One of the native EdgeCloud vector environments, in any autoreset mode.
            allow_stop: Whether a decision may end while more can be assigned.

        Raises:
            TypeError: If ``env`` is another environment.
        """
        simulator = _checked_env(env, "SequentialAssignment").simulator
        space = extended_space(observation_space(simulator.layout), env.config)
        super().__init__(env, SequentialDecision(simulator, allow_stop), space)
        self.allow_stop = allow_stop
        self.single_action_space = spaces.Discrete(self._decision.mask.shape[1])
        self.action_space = batch_space(self.single_action_space, env.num_envs)

    def _choices(self, actions: NDArray[np.int64]) -> NDArray[np.int64]:
        return checked_choices(actions, (self.num_envs,), self._decision.mask.shape[1])

    def _start(self, which: NDArray[np.bool_], begun: NDArray[np.bool_]) -> None:
        del begun
        self._decision.start(self.env.simulator, which, self._over)

    def _shown(self, observation: Observation) -> Observation:
        return {**observation, **self._decision.progress()}

    def _complete_final_infos(self, infos: dict[str, Any], ended: NDArray[np.bool_]) -> None:
        for lane in np.flatnonzero(ended):
            room = self.env.final_room[lane]
            infos["final_obs"][lane] |= self._decision.progress_at_end(room)
        infos["final_info"]["action_mask"] = self._decision.masks_at_end(ended)


class PriorityAction(_OfLanes, _ActionWrapper):
    """Decides by one score per candidate; see `edgecloud_gym.wrappers.PriorityAction`."""

    env: EdgeCloudVectorEnv

    def __init__(self, env: EdgeCloudVectorEnv) -> None:
        """Wraps a vector environment.

        Args:
            env: One of the native EdgeCloud vector environments, in any autoreset mode.

        Raises:
            TypeError: If ``env`` is another environment.
        """
        super().__init__(_checked_env(env, "PriorityAction"))
        m = env.config.candidate_pool_size
        self.single_action_space = spaces.Box(-1.0, 1.0, (m,), np.float32)
        self.action_space = batch_space(self.single_action_space, env.num_envs)

    def actions(self, actions: NDArray[np.floating[Any]]) -> NDArray[np.int64]:
        """Returns the environment's actions that scores (num_envs, M) stand for.

        Raises:
            TypeError: If the scores are not real numbers.
            ValueError: If their shape is wrong or one is not finite.
        """
        scores = checked_scores(actions, (self.num_envs, self.env.config.candidate_pool_size))
        simulator = self.env.simulator
        return assign_lowest(scores, simulator.present, simulator.room)


class QueueHead(_ChoiceByChoice):
    """Walks the ranked queue from its head; see `edgecloud_gym.wrappers.QueueHead`.

    In lanes that are in the middle of a decision no time passes while others go on.
    """

    def __init__(
        self, env: EdgeCloudVectorEnv, forecast: Forecast, skips: int = 0, scores: bool = False
    ) -> None:
        """Wraps a vector environment, and orders its queues by the forecast.

        Args:
            env: One of the native EdgeCloud vector environments, in any autoreset mode.
            forecast: What is predicted of the rows of its dataset.
            skips: How many candidates may be left waiting before a decision ends.
            scores: Whether an action is a score per choice, of which the highest legal one is
                taken, for agents with continuous actions.

        Raises:
            TypeError: If ``env`` is another environment, or ``forecast`` no `Forecast`.
            ValueError: If the forecast is of another dataset.
        """
        simulator = _checked_env(env, "QueueHead").simulator
        self.walk = QueueWalk(simulator, forecast, check_integer("skips", skips, least=0))
        super().__init__(env, self.walk, self.walk.space())
        simulator.set_priority(forecast.time)
        self._scores = scores
        self.single_action_space = self.walk.action_space(scores)
        self.action_space = batch_space(self.single_action_space, env.num_envs)

    def _choices(self, actions: NDArray[Any]) -> NDArray[np.int64]:
        if self._scores:
            return self.walk.best(checked_scores(actions, self.walk.mask.shape))
        return checked_choices(actions, (self.num_envs,), 1 + self.walk.nodes)

    def _start(self, which: NDArray[np.bool_], begun: NDArray[np.bool_]) -> None:
        self.walk.start(which, self._over, begun)

    def _shown(self, observation: Observation) -> Observation:
        del observation
        return dict(self.walk.observe())

    def _complete_final_infos(self, infos: dict[str, Any], ended: NDArray[np.bool_]) -> None:
        """Shows ended lanes an empty observation: no candidate is left, and no value follows."""
        empty = {
            name: np.zeros(box.shape or (), np.float32)
            for name, box in self.walk.space().spaces.items()
        }
        mask = np.zeros_like(self.walk.mask)
        mask[ended, 0] = 1
        for lane in np.flatnonzero(ended):
            infos["final_obs"][lane] = {name: part.copy() for name, part in empty.items()}
            infos["final_obs"][lane]["legal"][0] = 1.0
        infos["final_info"]["action_mask"] = mask
