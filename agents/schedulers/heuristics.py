"""Schedulers without a model: the paper's, and the two ends of the scale.

The rules are those of the paper's code for static batching. In continuous batching "a batch of K"
becomes the free sequence slots: FCFS gives the oldest requests to all free edge slots and the next
to the cloud; where a rule chooses a node per assignment (round robin, least connections), an
assignment to the edge is one request.

They decide from the state of the nodes, and see no further than the candidates: M of at least K + C
keeps them exact. They expect ``work_conserving=False``, where a request that they leave waits.
"""

from __future__ import annotations

from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from agents.base import Info, Observation
from agents.rules import paper, placement, routers
from agents.rules.placement import placement_parameters, true_facts
from agents.schedulers.cluster_plan import ClusterPlan
from agents.schedulers.likelihood import Likelihood
from agents.schedulers.plan import Plan, calls_at
from agents.schedulers.routed_by_lot import routed_by_lot
from agents.schedulers.ruled import RuleScheduler
from edgecloud_gym.config import Priority
from edgecloud_gym.nodes import TO_CLOUD, TO_EDGE, Slots, in_words
from edgecloud_gym.simulator.rules import Rule


class FCFS(RuleScheduler):
    """First come first served: the oldest K to a free edge, the next to the cloud."""

    name: ClassVar[str] = "fcfs"
    pair_rule: ClassVar[Rule | None] = paper.fcfs
    cluster_rule: ClassVar[Rule | None] = routers.first_fit


class OracleSJF(FCFS):
    """Shortest job first with the true times: informed, and so the yardstick for regret.

    It has the learners' dispatch rule, the K shortest to the edge and the next to the cloud. It is
    called informed, not optimal: it neither reserves slots nor sorts batches by length. In a
    cluster, the node that finishes a request soonest.
    """

    name: ClassVar[str] = "sjf-oracle"
    plays_live: ClassVar[bool] = False  # it knows the true times
    cluster_rule: ClassVar[Rule | None] = placement.soonest

    def priority(self) -> Priority:
        """Orders the queue by the true single-request inference time."""
        return self.env.dataset.base_latency

    def facts(self) -> NDArray[np.float64]:
        """Returns the true times and token counts."""
        return true_facts(self.env.dataset)

    def parameters(self) -> NDArray[np.float64]:
        """Returns what the nodes are."""
        return placement_parameters(self.env.simulator)


class EdgeOnly(RuleScheduler):
    """First come first served on the edge; nothing goes to the cloud.

    In a cluster: on the first node of the edge, which is all but slots, that takes a request.
    """

    name: ClassVar[str] = "edge-only"
    pair_rule: ClassVar[Rule | None] = paper.edge_only
    cluster_rule: ClassVar[Rule | None] = routers.edge_only

    def reset(self, env: gym.Env[Any, Any], seed: int) -> None:
        """Prepares for an episode.

        Raises:
            ValueError: If there is no edge.
        """
        super().reset(env, seed)
        if self.env.config.is_pair and self.env.config.edge_concurrency == 0:
            raise ValueError("agent 'edge-only' needs edge_concurrency > 0, got 0")
        if all(isinstance(node, Slots) or node.services == 0 for node in self.env.config.nodes):
            found = in_words(self.env.config.nodes)
            raise ValueError(
                f"agent 'edge-only' needs a node that serves and is not slots: {found}"
            )


class CloudOnly(RuleScheduler):
    """First come first served in the cloud; nothing goes to the edge.

    In a cluster: on the first node of slots that takes a request.
    """

    name: ClassVar[str] = "cloud-only"
    pair_rule: ClassVar[Rule | None] = paper.cloud_only
    cluster_rule: ClassVar[Rule | None] = routers.cloud_only

    def reset(self, env: gym.Env[Any, Any], seed: int) -> None:
        """Prepares for an episode.

        Raises:
            ValueError: If there is no cloud.
        """
        super().reset(env, seed)
        if self.env.config.is_pair and self.env.config.cloud_concurrency == 0:
            raise ValueError("agent 'cloud-only' needs cloud_concurrency > 0, got 0")
        if not any(isinstance(node, Slots) and node.services for node in self.env.config.nodes):
            found = in_words(self.env.config.nodes)
            raise ValueError(f"agent 'cloud-only' needs a node of slots that serves: {found}")


class RandomScheduler(RuleScheduler):
    """A coin picks the node, chance the requests; one assignment a call.

    The edge takes a uniform sample of up to K candidates, the cloud one uniform candidate; the
    other node is tried if the first is full. In a cluster, a node by chance for each request.
    """

    name: ClassVar[str] = "random"
    pair_rule: ClassVar[Rule | None] = paper.random
    cluster_rule: ClassVar[Rule | None] = routers.random

    def probabilities(
        self, observation: Observation, info: Info, explore: bool = True
    ) -> NDArray[np.float64] | None:
        """Returns how likely each choice is; see `Agent.probabilities`."""
        del explore
        if not self.env.config.is_pair:
            return routed_by_lot(ClusterPlan(self.env.simulator, observation), _any_open)
        plan = Plan(self.env.simulator)
        likely = Likelihood(plan.action.shape[0])
        if calls_at(int(self._left[0]), info):
            batch, waiting = plan.batch_room, np.array(plan.waiting, np.int64)
            edge = (0.5 if plan.cloud_free else 1.0) if batch else 0.0
            share = 1.0 / max(1, len(waiting))
            likely.add(waiting, TO_EDGE, np.full(len(waiting), edge * batch * share))
            if plan.cloud_room:
                likely.add(waiting, TO_CLOUD, np.full(len(waiting), (1.0 - edge) * share))
        return likely.table


def _any_open(plan: ClusterPlan) -> NDArray[np.float64]:
    """Returns how likely each node is, all that are open being equally so (nodes,)."""
    chances = np.zeros(len(plan.speed))
    chances[plan.open] = 1.0 / len(plan.open)
    return chances


class RoundRobin(RuleScheduler):
    """Edge and cloud take turns, one assignment a call: the K oldest, or the oldest one.

    A flag names whose turn it is, the edge's at first. If that node is full the other is tried;
    after an assignment the flag names the node that was not used. The nodes of a cluster take
    turns as well, one request each.
    """

    name: ClassVar[str] = "round-robin"
    pair_rule: ClassVar[Rule | None] = paper.round_robin
    cluster_rule: ClassVar[Rule | None] = routers.round_robin


class LeastConnections(RuleScheduler):
    """The node with fewer busy slots takes the oldest requests.

    The K oldest go to a free edge if the cloud is full or edge_busy <= cloud_busy; then the oldest
    go to the cloud while it is free and the edge is full or cloud_busy < edge_busy. edge_busy
    counts batches; in continuous batching it counts requests, and the edge takes them one by one.
    In a cluster, the node with the fewest requests, whatever its speed.
    """

    name: ClassVar[str] = "least-connections"
    pair_rule: ClassVar[Rule | None] = paper.least_connections
    cluster_rule: ClassVar[Rule | None] = routers.least_connections


class QueueLength(LeastConnections):
    """The paper's second name for least connections: its decisions are identical."""

    name: ClassVar[str] = "queue-length"
