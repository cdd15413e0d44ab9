"""Base of the schedulers: deciding for an edge and a cloud, and for any list of nodes."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from agents.base import Agent, Info, Observation
from agents.schedulers.cluster_plan import ClusterPlan
from agents.schedulers.plan import CallBudget, Plan


class Scheduler(Agent):
    """Base of the schedulers.

    For the paper's edge and cloud they define `decide`, which is called once per event, as the
    paper's simulators call theirs. For clusters they define `choose`, which is asked for one
    candidate after the other while any node takes one.

    What they leave waiting, waits: they play in environments that fill no idle places.
    """

    work_conserving = False
    routes_pairs: ClassVar[bool] = False  # whether `choose` is asked for an edge and a cloud, too

    def reset(self, env: gym.Env[Any, Any], seed: int) -> None:
        """Prepares for an episode; see `Agent.reset`.

        Raises:
            ValueError: If it knows of an edge and a cloud alone, and there are other nodes.
        """
        super().reset(env, seed)
        if not self.env.config.is_pair and type(self).choose is Scheduler.choose:
            raise ValueError(f"agent {self.name!r} plays an edge and a cloud, not a list of nodes")
        self._calls = CallBudget()
        self._rng = np.random.default_rng(seed)

    def act(self, observation: Observation, info: Info, explore: bool = True) -> NDArray[np.int64]:
        """Decides once per event, and waits at further decisions of the same moment."""
        if self.routes_pairs or not self.env.config.is_pair:
            routed = ClusterPlan(self.env.simulator, observation)
            self.route(routed, observation, explore)
            return routed.action
        plan = Plan(self.env.simulator)
        if self._calls.take(info):
            self.decide(plan, observation, info, explore)
        return plan.action

    def keeps(self, base: type[Any], *methods: str) -> bool:
        """Whether methods are those of a base: no class changed them, nor a patch of the agent."""
        return all(
            name not in vars(self) and getattr(type(self), name) is getattr(base, name)
            for name in methods
        )

    @property
    def plays_alone(self) -> bool:
        """Whether `play` does in this episode what `act` and `observe` would."""
        return False

    def play(self, explore: bool) -> Iterator[float]:
        """Plays the episode that has begun to its end, unseen, with the same decisions.

        Args:
            explore: As for `act`.

        Yields:
            The reward of each step.
        """
        raise NotImplementedError

    @abstractmethod
    def decide(self, plan: Plan, observation: Observation, info: Info, explore: bool) -> None:
        """Fills the plan for one call of the scheduler, where there are an edge and a cloud."""

    def route(self, plan: ClusterPlan, observation: Observation, explore: bool) -> None:
        """Fills the plan of a cluster: the candidates in their order, while any node takes one."""
        del observation, explore
        for candidate in plan.waiting:
            if not len(plan.open):
                return
            node = self.choose(plan, candidate)
            if node is not None:
                plan.send(candidate, node)

    def choose(self, plan: ClusterPlan, candidate: int) -> int | None:
        """Returns the node that a candidate is sent to, one of `ClusterPlan.open`; None to wait."""
        raise NotImplementedError
