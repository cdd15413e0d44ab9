"""Routers as real systems have them: they look at how full the nodes are, and at nothing else.

They play any list of nodes, the paper's edge and cloud among them, and send each request as soon as
some node takes it.
"""

from __future__ import annotations

from typing import ClassVar

from agents.base import Info, Observation
from agents.schedulers.cluster_plan import ClusterPlan, least
from agents.schedulers.plan import Plan
from agents.schedulers.scheduler import Scheduler


class Router(Scheduler):
    """Base of the routers, which define `choose`."""

    routes_pairs: ClassVar[bool] = True

    def decide(self, plan: Plan, observation: Observation, info: Info, explore: bool) -> None:
        """Is not asked: a router chooses a node for each request, whatever the nodes."""
        raise NotImplementedError


class JoinShortestQueue(Router):
    """The node with the fewest requests for its speed: the least (outstanding + 1) / capacity."""

    name: ClassVar[str] = "join-shortest-queue"

    def choose(self, plan: ClusterPlan, candidate: int) -> int:
        """Returns the least loaded of the nodes that take a request."""
        del candidate
        return least(plan.load, plan.open)


class PowerOfTwo(Router):
    """The less loaded of two nodes drawn at random (Mitzenmacher, 2001); see the shortest queue."""

    name: ClassVar[str] = "power-of-two"

    def choose(self, plan: ClusterPlan, candidate: int) -> int:
        """Returns the less loaded of two of the nodes that take a request."""
        del candidate
        takes = plan.open
        drawn = self._rng.choice(takes, min(2, len(takes)), replace=False)
        return least(plan.load, drawn)


class LeastKV(Router):
    """The node whose cache is least full; of one without a limit, whose places are."""

    name: ClassVar[str] = "least-kv"

    def choose(self, plan: ClusterPlan, candidate: int) -> int:
        """Returns the node with the largest share of its cache left."""
        del candidate
        return least(plan.cache_use, plan.open)


class EdgeFirst(Router):
    """The shortest queue of the edge; the cloud, which is all slots, only if the edge is full."""

    name: ClassVar[str] = "edge-first"

    def choose(self, plan: ClusterPlan, candidate: int) -> int:
        """Returns the least loaded node of the edge, or of the cloud if the edge has no room."""
        del candidate
        takes = plan.open
        edge = takes[~plan.is_cloud[takes]]
        return least(plan.load, edge if len(edge) else takes)
