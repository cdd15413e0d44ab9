"""Routers as real systems have them: they look at how full the nodes are, and at nothing else.

They play any list of nodes, the paper's edge and cloud among them, and send each request as soon as
some node takes it.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from agents.base import Info, Observation
from agents.rules import routers
from agents.schedulers.cluster_plan import ClusterPlan
from agents.schedulers.plan import Plan
from agents.schedulers.routed_by_lot import routed_by_lot
from agents.schedulers.ruled import RuleScheduler
from agents.schedulers.scheduler import Scheduler
from edgecloud_gym.simulator.rules import Rule


class Router(Scheduler):
    """Base of the routers in plain Python, which define `choose`."""

    routes_pairs: ClassVar[bool] = True

    def decide(self, plan: Plan, observation: Observation, info: Info, explore: bool) -> None:
        """Is not asked: a router chooses a node for each request, whatever the nodes."""
        raise NotImplementedError


class JoinShortestQueue(RuleScheduler):
    """The node with the fewest requests for its speed: the least (outstanding + 1) / capacity."""

    name: ClassVar[str] = "join-shortest-queue"
    cluster_rule: ClassVar[Rule | None] = routers.join_shortest_queue
    routes_pairs: ClassVar[bool] = True


class PowerOfTwo(RuleScheduler):
    """The less loaded of two nodes drawn at random (Mitzenmacher, 2001); see the shortest queue."""

    name: ClassVar[str] = "power-of-two"
    cluster_rule: ClassVar[Rule | None] = routers.power_of_two
    routes_pairs: ClassVar[bool] = True

    def probabilities(
        self, observation: Observation, info: Info, explore: bool = True
    ) -> NDArray[np.float64] | None:
        """Returns how likely each choice is; see `Agent.probabilities`."""
        del info, explore
        return routed_by_lot(ClusterPlan(self.env.simulator, observation), _better_of_two)


def _better_of_two(plan: ClusterPlan) -> NDArray[np.float64]:
    """Returns how likely each node is to be the less loaded of two that are open (nodes,).

    Of two that are loaded alike, the one that was drawn first.
    """
    chances = np.zeros(len(plan.speed))
    drawn = plan.open
    if len(drawn) == 1:
        chances[drawn] = 1.0
        return chances
    load = plan.load[drawn]
    worse = (load[:, None] < load).sum(axis=1)  # nodes that one wins against
    alike = (load[:, None] == load).sum(axis=1) - 1
    chances[drawn] = (worse + alike / 2.0) / (len(drawn) * (len(drawn) - 1) / 2.0)
    return chances


class LeastKV(RuleScheduler):
    """The node whose cache is least full; of one without a limit, whose places are."""

    name: ClassVar[str] = "least-kv"
    cluster_rule: ClassVar[Rule | None] = routers.least_kv
    routes_pairs: ClassVar[bool] = True


class EdgeFirst(RuleScheduler):
    """The shortest queue of the edge; the cloud, which is all slots, only if the edge is full."""

    name: ClassVar[str] = "edge-first"
    cluster_rule: ClassVar[Rule | None] = routers.edge_first
    routes_pairs: ClassVar[bool] = True
