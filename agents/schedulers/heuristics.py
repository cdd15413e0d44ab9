"""Schedulers without a model: the paper's, and the two ends of the scale.

The rules are those of the paper's code for static batching. In continuous batching "a batch of K"
becomes the free sequence slots: FCFS gives the oldest requests to all free edge slots and the next
to the cloud; where a rule chooses a node per assignment (round robin, least connections), an
assignment to the edge is one request.

They decide from the state of the nodes, and see no further than the candidates: M of at least K + C
keeps them exact. They expect ``work_conserving=False``, where a request that they leave waits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from agents.base import Info, Observation
from agents.schedulers.cluster_plan import ClusterPlan, least
from agents.schedulers.likelihood import Likelihood
from agents.schedulers.placement import Placement
from agents.schedulers.plan import Plan
from agents.schedulers.scheduler import Scheduler
from edgecloud_gym.config import Priority
from edgecloud_gym.nodes import TO_CLOUD, TO_EDGE, Slots, in_words


class FCFS(Scheduler):
    """First come first served: the oldest K to a free edge, the next to the cloud."""

    name: ClassVar[str] = "fcfs"

    def decide(self, plan: Plan, observation: Observation, info: Info, explore: bool) -> None:
        """Fills the edge, then the cloud, in the queue's order."""
        del observation, info, explore
        plan.edge_then_cloud()

    def choose(self, plan: ClusterPlan, candidate: int) -> int | None:
        """Returns the first node that takes a request."""
        del candidate
        return int(plan.open[0])


class OracleSJF(FCFS):
    """Shortest job first with the true times: informed, and so the yardstick for regret.

    It has the learners' dispatch rule, the K shortest to the edge and the next to the cloud. It is
    called informed, not optimal: it neither reserves slots nor sorts batches by length.
    """

    name: ClassVar[str] = "sjf-oracle"

    def priority(self) -> Priority:
        """Orders the queue by the true single-request inference time."""
        return self.env.dataset.base_latency

    def reset(self, env: gym.Env[Any, Any], seed: int) -> None:
        """Prepares for an episode."""
        super().reset(env, seed)
        self._placement = Placement(self.env.simulator)

    def choose(self, plan: ClusterPlan, candidate: int) -> int | None:
        """Returns the node that finishes the request soonest."""
        data = self.env.dataset
        row = int(self.env.candidates()["row"][candidate])
        tokens = [
            0 if counts is None else int(counts[row])
            for counts in (data.prompt_tokens, data.response_tokens)
        ]
        times = self._placement.times(plan, float(data.base_latency[row]), *tokens)
        return least(times, plan.open)


class EdgeOnly(Scheduler):
    """First come first served on the edge; nothing goes to the cloud."""

    name: ClassVar[str] = "edge-only"

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

    def decide(self, plan: Plan, observation: Observation, info: Info, explore: bool) -> None:
        """Fills one batch."""
        del observation, info, explore
        plan.to_edge(plan.waiting[: plan.batch_room])

    def choose(self, plan: ClusterPlan, candidate: int) -> int | None:
        """Returns the first node of the edge, which is all but slots, that takes a request."""
        del candidate
        return next((int(k) for k in plan.open if not plan.is_cloud[k]), None)


class CloudOnly(Scheduler):
    """First come first served in the cloud; nothing goes to the edge."""

    name: ClassVar[str] = "cloud-only"

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

    def decide(self, plan: Plan, observation: Observation, info: Info, explore: bool) -> None:
        """Fills the cloud."""
        del observation, info, explore
        plan.to_cloud(plan.waiting[: plan.cloud_room])

    def choose(self, plan: ClusterPlan, candidate: int) -> int | None:
        """Returns the first node of slots that takes a request."""
        del candidate
        return next((int(k) for k in plan.open if plan.is_cloud[k]), None)


class RandomScheduler(Scheduler):
    """A coin picks the node, chance the requests; one assignment a call.

    The edge takes a uniform sample of up to K candidates, the cloud one uniform candidate; the
    other node is tried if the first is full.
    """

    name: ClassVar[str] = "random"

    def decide(self, plan: Plan, observation: Observation, info: Info, explore: bool) -> None:
        """Makes one random assignment."""
        del observation, info, explore
        edge_first = self._rng.random() < 0.5
        if plan.batch_room and (edge_first or not plan.cloud_free):
            plan.to_edge(self._sample(plan.waiting, plan.batch_room))
        elif plan.cloud_room:
            plan.to_cloud(self._sample(plan.waiting, 1))

    def choose(self, plan: ClusterPlan, candidate: int) -> int | None:
        """Returns a node by chance, of those that take a request."""
        del candidate
        return int(self._rng.choice(plan.open))

    def probabilities(
        self, observation: Observation, info: Info, explore: bool = True
    ) -> NDArray[np.float64] | None:
        """Returns how likely each choice is, for an edge and a cloud; see `Agent.probabilities`."""
        del observation, explore
        if not self.env.config.is_pair:
            return None
        plan = Plan(self.env.simulator)
        likely = Likelihood(plan.action.shape[0])
        if self._calls.has(info):
            batch, waiting = plan.batch_room, np.array(plan.waiting, np.int64)
            edge = (0.5 if plan.cloud_free else 1.0) if batch else 0.0
            share = 1.0 / max(1, len(waiting))
            likely.add(waiting, TO_EDGE, np.full(len(waiting), edge * batch * share))
            if plan.cloud_room:
                likely.add(waiting, TO_CLOUD, np.full(len(waiting), (1.0 - edge) * share))
        return likely.table

    def _sample(self, waiting: Sequence[int], count: int) -> list[int]:
        return [int(j) for j in self._rng.choice(waiting, count, replace=False)]


class RoundRobin(Scheduler):
    """Edge and cloud take turns, one assignment a call: the K oldest, or the oldest one.

    A flag names whose turn it is, the edge's at first. If that node is full the other is tried;
    after an assignment the flag names the node that was not used.
    """

    name: ClassVar[str] = "round-robin"

    def reset(self, env: gym.Env[Any, Any], seed: int) -> None:
        """Prepares for an episode; the edge begins."""
        super().reset(env, seed)
        self._edge_next = True
        self._next = 0  # of the nodes of a cluster

    def decide(self, plan: Plan, observation: Observation, info: Info, explore: bool) -> None:
        """Makes one assignment."""
        del observation, info, explore
        batch = min(1, plan.batch_room) if plan.continuous else plan.batch_room
        if batch and (self._edge_next or not plan.cloud_free):
            plan.to_edge(plan.waiting[:batch])
            self._edge_next = False
        elif plan.cloud_room:
            plan.to_cloud(plan.waiting[:1])
            self._edge_next = True

    def choose(self, plan: ClusterPlan, candidate: int) -> int | None:
        """Returns the next node that takes a request, in their order and round again."""
        del candidate
        nodes = len(plan.speed)
        node = min(plan.open.tolist(), key=lambda k: (k - self._next) % nodes)
        self._next = (node + 1) % nodes
        return int(node)


class LeastConnections(Scheduler):
    """The node with fewer busy slots takes the oldest requests.

    The K oldest go to a free edge if the cloud is full or edge_busy <= cloud_busy; then the oldest
    go to the cloud while it is free and the edge is full or cloud_busy < edge_busy. edge_busy
    counts batches; in continuous batching it counts requests, and the edge takes them one by one.
    """

    name: ClassVar[str] = "least-connections"

    def decide(self, plan: Plan, observation: Observation, info: Info, explore: bool) -> None:
        """Sends to the edge, then to the cloud, while each is the less busy."""
        del observation, info, explore
        if plan.continuous:
            while plan.batch_room and self._prefers_edge(plan):
                plan.to_edge(plan.waiting[:1])
        elif plan.batch_room and self._prefers_edge(plan):
            plan.to_edge(plan.waiting[: plan.batch_room])
        while plan.cloud_room and self._prefers_cloud(plan):
            plan.to_cloud(plan.waiting[:1])

    def choose(self, plan: ClusterPlan, candidate: int) -> int | None:
        """Returns the node with the fewest requests, whatever its speed."""
        del candidate
        return least(plan.occupied, plan.open)

    @staticmethod
    def _prefers_edge(plan: Plan) -> bool:
        return not plan.cloud_free or plan.edge_busy <= plan.cloud_busy

    @staticmethod
    def _prefers_cloud(plan: Plan) -> bool:
        return not plan.edge_free or plan.cloud_busy < plan.edge_busy


class QueueLength(LeastConnections):
    """The paper's second name for least connections: its decisions are identical."""

    name: ClassVar[str] = "queue-length"
