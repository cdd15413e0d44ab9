"""Schedulers that are bad on purpose: a benchmark that cannot tell them from others is none."""

from __future__ import annotations

from typing import ClassVar

from agents.base import Info, Observation
from agents.schedulers.cluster_plan import ClusterPlan
from agents.schedulers.heuristics import FCFS
from agents.schedulers.plan import Plan
from agents.schedulers.scheduler import Scheduler
from edgecloud_gym.config import Priority


class LongestFirst(FCFS):
    """The longest job first, by the true times: shortest first upside down."""

    name: ClassVar[str] = "longest-first"

    def priority(self) -> Priority:
        """Orders the queue by the true time, longest first."""
        return -self.env.dataset.base_latency


class YoungestFirst(Scheduler):
    """Last come first served, among the candidates: the oldest starve."""

    name: ClassVar[str] = "youngest-first"

    def decide(self, plan: Plan, observation: Observation, info: Info, explore: bool) -> None:
        """Fills the edge, then the cloud, from the end of the queue."""
        del observation, info, explore
        plan.to_edge(plan.waiting[::-1][: plan.batch_room])
        plan.to_cloud(plan.waiting[::-1][: plan.cloud_room])

    def route(self, plan: ClusterPlan, observation: Observation, explore: bool) -> None:
        """Fills the plan of a cluster from the end of the queue."""
        del observation, explore
        for candidate in list(plan.waiting)[::-1]:
            if not len(plan.open):
                return
            plan.send(candidate, int(plan.open[0]))

    def choose(self, plan: ClusterPlan, candidate: int) -> int | None:
        """Returns the first node that takes a request."""
        del candidate
        return int(plan.open[0])


class OneNode(Scheduler):
    """All to the first node, in order of arrival; the others idle."""

    name: ClassVar[str] = "one-node"

    def decide(self, plan: Plan, observation: Observation, info: Info, explore: bool) -> None:
        """Fills the edge."""
        del observation, info, explore
        plan.to_edge(plan.waiting[: plan.batch_room])

    def choose(self, plan: ClusterPlan, candidate: int) -> int | None:
        """Returns the first node, if it takes a request."""
        del candidate
        return 0 if 0 in plan.open else None
