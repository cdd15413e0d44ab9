"""Action wrappers for the single environments; `wrappers.vector` has them for the vector ones."""

from __future__ import annotations

from typing import Any, SupportsFloat, TypeAlias

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.error import ResetNeeded
from gymnasium.utils import RecordConstructorArgs
from numpy.typing import NDArray

from edgecloud_gym.checks import check_integer
from edgecloud_gym.envs.base import EdgeCloudEnv, Observation
from edgecloud_gym.envs.spaces import observation_space
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

BaseEnv: TypeAlias = gym.Env[Any, Any]


def _base(env: BaseEnv, wrapper: str) -> EdgeCloudEnv:
    base = env.unwrapped
    if not isinstance(base, EdgeCloudEnv):
        raise TypeError(f"{wrapper} wraps an EdgeCloud environment, not {shown(base)}")
    changed = env.observation_space != base.observation_space
    if changed or env.action_space != base.action_space:
        raise ValueError(
            f"{wrapper} around {shown(env)}: wrappers that change observations or actions go "
            "outside it"
        )
    return base


class SequentialAssignment(gym.Wrapper[Any, Any, Any, Any], RecordConstructorArgs):
    """Decides one assignment at a time.

    A decision of the environment is taken apart into micro-steps, each of which assigns one
    candidate to one node while no time passes. What has been assigned so far is observed, so that a
    policy can take it into account, and the action space is small and exactly masked: the form
    to learn with.

    ## Action Space
    ``Discrete(N * M + 1)`` with N nodes: ``N * j + n`` assigns candidate j to node n, and
    ``N * M`` ends the decision. Of the two nodes of an edge and a cloud, 0 is the edge. The
    decision also ends by itself as soon as nothing more can be assigned; the environment is then
    stepped.

    ``info["action_mask"]`` (int8) and `action_masks` (bool) tell what is legal: candidates
    not yet assigned, to a node with capacity left (the batch capacity of each free batch
    slot; each free sequence or slot; each place in a backlog). To end the decision is legal only
    if nothing else is, unless ``allow_stop``. At least one action always is legal.

    An illegal action assigns nothing, is counted in ``info["invalid_assignments"]`` and ends
    the decision: agents that know of no masks (DQN, A2C) run too, and time goes on.

    ## Observation Space
    The environment's and two more keys:

    - ``assigned`` (M, N): 1 where a candidate has been assigned to a node.
    - ``remaining`` (N,): share of each node's total capacity still to assign.

    ## Rewards
    0 until the decision ends, then the environment's.

    ## Information
    The environment's, of a step in which nothing happens (``elapsed`` is 0) until the decision
    ends. ``action_mask`` is int8 (N * M + 1,).

    Wrappers that change observations or actions go around this one, not inside.

    ## Version History
    - v0: initial version
    """

    def __init__(self, env: BaseEnv, allow_stop: bool = False) -> None:
        """Wraps an environment.

        Args:
            env: One of the EdgeCloud environments.
            allow_stop: Whether a decision may end while more can be assigned. In a work-conserving
                environment what is left idle is then filled in candidate order, save batches
                begun.

        Raises:
            TypeError: If ``env`` is another environment.
            ValueError: If a wrapper between changes observations or actions.
        """
        RecordConstructorArgs.__init__(self, allow_stop=allow_stop)
        gym.Wrapper.__init__(self, env)
        self._system = _base(env, "SequentialAssignment")
        config = self._system.config
        simulator = self._system.simulator
        self.allow_stop = allow_stop
        self._decision = SequentialDecision(simulator, allow_stop)
        self.action_space = spaces.Discrete(self._decision.mask.shape[1])
        self.observation_space = extended_space(observation_space(simulator.layout), config)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Resets the environment and begins its first decision."""
        observation, info = self.env.reset(seed=seed, options=options)
        self._begin(over=False)
        return self._shown(observation, info)

    def step(self, action: int) -> tuple[Observation, SupportsFloat, bool, bool, dict[str, Any]]:
        """Makes one choice, and steps the environment if that ends the decision.

        Raises:
            gymnasium.error.ResetNeeded: If the episode has ended or not begun.
            TypeError: If the action is not an integer.
            ValueError: If it is outside the action space.
        """
        choice = checked_choices(action, (), self._decision.mask.shape[1])
        ended, illegal = self._decision.choose(choice[np.newaxis])
        if ended[0]:
            picks = self._decision.picks[0].copy()
            observation, reward, terminated, truncated, info = self.env.step(picks)
            self._begin(over=terminated or truncated)
        else:
            observation, info = self._system.hold()
            reward, terminated, truncated = 0.0, False, False
        info["invalid_assignments"] += int(illegal[0])
        observation, info = self._shown(observation, info)
        return observation, reward, terminated, truncated, info

    def action_masks(self) -> NDArray[np.bool_]:
        """Returns which choices are legal now, bool (N M + 1,)."""
        if not self._decision.mask.any():
            raise ResetNeeded("call reset() before action_masks()")
        masks: NDArray[np.bool_] = self._decision.choice_masks()[0]
        return masks

    def _begin(self, over: bool) -> None:
        self._decision.start(self._system.simulator, over=np.array([over]))

    def _shown(
        self, observation: Observation, info: dict[str, Any]
    ) -> tuple[Observation, dict[str, Any]]:
        progress = self._decision.progress()
        shown = {**observation, **{name: part[0] for name, part in progress.items()}}
        return shown, {**info, "action_mask": self._decision.mask[0].copy()}


class PriorityAction(gym.ActionWrapper[Any, Any, Any], RecordConstructorArgs):
    """Decides by one score per candidate: the lowest go to the first node, the next to the second.

    ## Action Space
    ``Box(-1, 1, (M,))``: candidates are ranked by their scores, of equal ones the earlier
    first. The first node (the edge) takes as many of the lowest as it has capacity for (the batch
    capacity of each free batch slot; one per free sequence slot), the second (the cloud) as many
    of the next as it has free slots, and so on. Rows without a candidate are passed over. Only the
    order matters: scores beyond the bounds are accepted.

    All else is the environment's. For agents with continuous actions, such as SAC.

    ## Version History
    - v0: initial version
    """

    def __init__(self, env: BaseEnv) -> None:
        """Wraps an environment.

        Args:
            env: One of the EdgeCloud environments.

        Raises:
            TypeError: If ``env`` is another environment.
            ValueError: If a wrapper between changes observations or actions.
        """
        RecordConstructorArgs.__init__(self)
        gym.ActionWrapper.__init__(self, env)
        self._system = _base(env, "PriorityAction")
        m = self._system.config.candidate_pool_size
        self.action_space = spaces.Box(-1.0, 1.0, (m,), np.float32)

    def action(self, action: NDArray[np.floating[Any]]) -> NDArray[np.int64]:
        """Returns the environment's action that scores (M,) stand for.

        Raises:
            TypeError: If the scores are not real numbers.
            ValueError: If their shape is wrong or one is not finite.
        """
        scores = checked_scores(action, (self._system.config.candidate_pool_size,))
        simulator = self._system.simulator
        actions = assign_lowest(scores[np.newaxis], simulator.present, simulator.room)
        return np.asarray(actions[0])


class QueueHead(gym.Wrapper[Any, Any, Any, Any], RecordConstructorArgs):
    """Walks the queue, ranked by predicted time, from its head: for each request, wait or a node.

    A decision of the environment is taken apart into choices about one candidate each, while no
    time passes. What is shown is about the candidate at hand and the nodes, however many
    candidates or nodes there are: the form in which one policy plays any of them.

    ## Action Space
    ``Discrete(1 + N)``: 0, the candidate at hand waits, or 1 + node, it goes there. Then the next
    candidate is at hand. The decision ends when nothing more can be assigned, or when more
    candidates than ``skips`` were left waiting; the environment is then stepped.

    ``info["action_mask"]`` (int8) and `action_masks` (bool) tell what is legal: the nodes with
    room, and to wait. In a work-conserving environment to wait is legal only if no service would
    stay idle. An illegal choice leaves the candidate waiting and is counted in
    ``info["invalid_assignments"]``.

    ## Observation Space
    A ``Dict`` of float32 ``Box``es, whose columns `edgecloud_gym.wrappers.walk_features` names:

    - ``candidate`` (C,): predictions of the candidate at hand, and its place in the queue; then
      the features of the forecast.
    - ``nodes`` (N, F): of each node its state and the time until the candidate would be done
      there, which is corrected by how much it was slower than predicted of late.
    - ``system`` (S,): queue, requests in the system, longest wait.
    - ``legal`` (1 + N,): the action mask.

    ## Rewards
    0 until the decision ends, then the environment's.

    ## Information
    The environment's, of a step in which nothing happens (``elapsed`` is 0) until the decision
    ends. ``action_mask`` is int8 (1 + N,).

    ## Version History
    - v0: initial version
    """

    def __init__(
        self, env: BaseEnv, forecast: Forecast, skips: int = 0, scores: bool = False
    ) -> None:
        """Wraps an environment, and orders its queue by the forecast.

        Args:
            env: One of the EdgeCloud environments.
            forecast: What is predicted of the rows of its dataset.
            skips: How many candidates may be left waiting before a decision ends.
            scores: Whether an action is a score per choice, of which the highest legal one is
                taken, for agents with continuous actions.

        Raises:
            TypeError: If ``env`` is another environment, or ``forecast`` no `Forecast`.
            ValueError: If the forecast is of another dataset, or a wrapper between changes
                observations or actions.
        """
        RecordConstructorArgs.__init__(self, forecast=forecast, skips=skips, scores=scores)
        gym.Wrapper.__init__(self, env)
        self._system = _base(env, "QueueHead")
        self.walk = QueueWalk(
            self._system.simulator, forecast, check_integer("skips", skips, least=0)
        )
        self._system.set_priority(forecast.time)
        self._scores = scores
        self.action_space = self.walk.action_space(scores)
        self.observation_space = self.walk.space()

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Resets the environment and begins its first decision."""
        _, info = self.env.reset(seed=seed, options=options)
        self.walk.start(begun=slice(None))
        return self._shown(info)

    def step(self, action: Any) -> tuple[Observation, SupportsFloat, bool, bool, dict[str, Any]]:
        """Makes one choice, and steps the environment if that ends the decision.

        Raises:
            gymnasium.error.ResetNeeded: If the episode has ended or not begun.
            TypeError: If the action is not an integer.
            ValueError: If it is outside the action space.
        """
        if self._scores:
            given = checked_scores(action, self.walk.mask.shape[1:])
            choices = self.walk.best(given[np.newaxis])
        else:
            choices = checked_choices(action, (), 1 + self.walk.nodes)[np.newaxis]
        ended, illegal = self.walk.choose(choices)
        if ended[0]:
            _, reward, terminated, truncated, info = self.env.step(self.walk.picks[0].copy())
            self.walk.start(over=np.array([terminated or truncated]))
        else:
            _, info = self._system.hold()
            reward, terminated, truncated = 0.0, False, False
        info["invalid_assignments"] += int(illegal[0])
        observation, info = self._shown(info)
        return observation, reward, terminated, truncated, info

    def action_masks(self) -> NDArray[np.bool_]:
        """Returns which choices are legal now, bool (1 + N,)."""
        if not self.walk.mask.any():
            raise ResetNeeded("call reset() before action_masks()")
        return np.asarray(self.walk.mask[0] == 1)

    def _shown(self, info: dict[str, Any]) -> tuple[Observation, dict[str, Any]]:
        shown = {name: part[0] for name, part in self.walk.observe().items()}
        return shown, {**info, "action_mask": self.walk.mask[0].copy()}
