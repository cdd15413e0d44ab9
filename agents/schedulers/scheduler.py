"""Base of the agents that decide once per event."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from agents.base import Agent, Info, Observation
from agents.schedulers.plan import CallBudget, Plan


class Scheduler(Agent):
    """Base of the agents that the paper's simulators call once per event; they define `decide`.

    What they leave waiting, waits: they play in environments that fill no idle places.
    """

    work_conserving = False

    def reset(self, env: gym.Env[Any, Any], seed: int) -> None:
        """Prepares for an episode; see `Agent.reset`."""
        super().reset(env, seed)
        self._calls = CallBudget()
        self._rng = np.random.default_rng(seed)

    def act(self, observation: Observation, info: Info, explore: bool = True) -> NDArray[np.int64]:
        """Decides once per event, and waits at further decisions of the same moment."""
        plan = Plan(self.env.simulator)
        if self._calls.take(info):
            self.decide(plan, observation, info, explore)
        return plan.action

    @abstractmethod
    def decide(self, plan: Plan, observation: Observation, info: Info, explore: bool) -> None:
        """Fills the plan for one call of the scheduler."""
