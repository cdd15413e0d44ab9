"""Schedulers whose decisions are a compiled rule."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from agents.base import Info, Observation
from agents.rules.draws import random_source
from agents.schedulers.cluster_plan import ClusterPlan
from agents.schedulers.lane_action import LaneAction
from agents.schedulers.plan import Plan
from agents.schedulers.scheduler import Scheduler
from edgecloud_gym.simulator.compiled.decision import Decision
from edgecloud_gym.simulator.rules import Rule, make_decision

_NOTHING = np.empty(0)
_NO_FACTS = np.empty((0, 0))


class RuleScheduler(Scheduler):
    """Base of the schedulers that look at the state alone.

    They name a rule, and may give it numbers. `act` decides by it, and `run_episode` plays whole
    episodes with it without a step of Python, with the same decisions.

    Attributes:
        pair_rule: What decides for an edge and a cloud.
        cluster_rule: What decides for any other list of nodes; for the pair as well where there is
            no other rule. None where the scheduler plays no clusters.
        memory_size: Numbers that the rule keeps from one decision to the next.
    """

    pair_rule: ClassVar[Rule | None] = None
    cluster_rule: ClassVar[Rule | None] = None
    memory_size: ClassVar[int] = 1

    def reset(self, env: gym.Env[Any, Any], seed: int) -> None:
        """Prepares for an episode; see `Agent.reset`.

        Raises:
            ValueError: If it knows of an edge and a cloud alone, and there are other nodes.
        """
        super().reset(env, seed)
        self._random = random_source(self._rng)
        self._memory = np.zeros(self.memory_size)
        self._left = np.full(1, -1)
        self._facts = np.ascontiguousarray(self.facts(), np.float64)
        self._parameters = np.ascontiguousarray(self.parameters(), np.float64)
        self._seen: Any = None  # the arrays that `_decision` looks at

    @property
    def rule(self) -> Rule:
        """What decides in the present episode."""
        rule = self.cluster_rule
        if self.env.config.is_pair and self.pair_rule is not None:
            rule = self.pair_rule
        if rule is None:
            raise ValueError(f"agent {self.name!r} plays an edge and a cloud, not a list of nodes")
        return rule

    def facts(self) -> NDArray[np.float64]:
        """Returns what it knows of each dataset row, float64 (rows, k)."""
        return _NO_FACTS

    def rows_changed(self, rows: NDArray[np.int64]) -> None:
        """Reads what it knows of rows anew."""
        if len(self._facts):
            self._facts[rows] = self.facts()[rows]

    def parameters(self) -> NDArray[np.float64]:
        """Returns the rule's numbers in this episode, float64 (n,)."""
        return _NOTHING

    def remembered(self) -> NDArray[np.float64]:
        """Returns its memory, as long as the requests that have arrived by now make it."""
        return self._memory

    @property
    def decision(self) -> Decision:
        """What the rule is handed."""
        simulator = self.env.simulator
        if self._seen is not simulator.arrays:
            self._seen = simulator.arrays
            self._memory = self.remembered()
            self._decision = make_decision(
                simulator,
                facts=self._facts,
                parameters=self._parameters,
                memory=self._memory,
                random=self._random,
                calls=self._left,
            )
        return self._decision

    @property
    def is_plain(self) -> bool:
        """Whether the rule alone decides: nothing of the class was overridden by another way."""
        return self.keeps(RuleScheduler, "act", "decide", "route", "choose", "observe")

    @property
    def plays_alone(self) -> bool:
        """Whether the rule alone decides, and nothing else orders the queue."""
        return self.is_plain and not self.env.simulator.has_scorer

    def play(self, explore: bool) -> Iterator[float]:
        """Plays by the rule, without a step of Python."""
        del explore
        return self.env.play(self.rule, self.decision)

    def act(self, observation: Observation, info: Info, explore: bool = True) -> NDArray[np.int64]:
        """Decides by the rule."""
        if not self.is_plain:
            return super().act(observation, info, explore)
        plan = LaneAction(self.env.simulator)
        self._fill(plan)
        return plan.action

    def _fill(self, plan: LaneAction) -> None:
        """Lets the rule decide about those who wait in a plan."""
        self.rule(
            self.decision._replace(
                action=plan.picks[0], unassigned=plan.unassigned[0], room=plan.room[0]
            )
        )

    def decide(self, plan: Plan, observation: Observation, info: Info, explore: bool) -> None:
        """Fills the plan for one call, for subclasses that add to it."""
        del observation, info, explore
        self._left[0] = -1  # the call was taken already
        self._fill(plan)

    def choose(self, plan: ClusterPlan, candidate: int) -> int | None:
        """Returns the node that the rule sends a candidate to, for subclasses."""
        alone = LaneAction(self.env.simulator)
        alone.room[:] = plan.room
        alone.unassigned[:] = False
        alone.unassigned[0, candidate] = True
        self._fill(alone)
        return int(alone.action[candidate]) - 1 if alone.action[candidate] else None
