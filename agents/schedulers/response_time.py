"""Historical least response time, from observable quantities only."""

from __future__ import annotations

from collections import Counter, deque
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from agents.base import Info, Observation
from agents.schedulers.cluster_plan import ClusterPlan, least
from agents.schedulers.plan import Plan
from agents.schedulers.scheduler import Scheduler
from edgecloud_gym.checks import check_integer, check_number
from edgecloud_gym.config import CONTINUOUS, SystemConfig
from edgecloud_gym.nodes import CLOUD_NODE, EDGE_NODE


class HistoricalLRT(Scheduler):
    """Requests go where similar ones were answered soonest of late.

    At its arrival a request is scored min(delay_e + avg_e, delay_c + avg_c + RTT), ties to the
    edge: avg is the mean of the last ``memory`` inference times that the node showed, and delay is
    how long its earliest busy slot should still take, avg less what has passed, or 0 if a slot is
    free. The edge takes the K lowest-scored that prefer it; the cloud takes whatever remains, by
    score. The paper's code takes delay from the true completion times, which nobody can know.

    A request behind the candidate window is scored when it comes into view. In a cluster a request
    goes to the node with the least avg · max(1, (outstanding + 1) / services) + RTT of those that
    take it, avg the mean of the last times in service there.

    Args:
        memory: Inference times remembered per node.
        initial: Their mean before there are any (s).
    """

    name: ClassVar[str] = "historical-lrt"

    def __init__(self, memory: int = 100, initial: float = 0.001) -> None:
        super().__init__()
        self.memory = check_integer("memory", memory, least=1)
        self.initial = check_number("initial", initial, least=0)

    def reset(self, env: gym.Env[Any, Any], seed: int) -> None:
        """Prepares for an episode, forgetting the times seen.

        Raises:
            ValueError: If the environment dispatches requests by itself.
        """
        super().reset(env, seed)
        if self.env.config.work_conserving:
            raise ValueError(
                "agent 'historical-lrt' keeps a score per waiting request and must know what is "
                "dispatched: needs work_conserving=False, got True"
            )
        if not self.env.config.is_pair:
            nodes = self.env.config.nodes
            self._served: list[deque[float]] = [deque(maxlen=self.memory) for _ in nodes]
            self._places = np.array([max(1, node.services * node.batch) for node in nodes])
            self._rtts = np.array([node.network_rtt for node in nodes])
            return
        self._scores: list[tuple[float, bool]] = []  # per candidate: score, prefers the edge
        self._unread: list[np.void] = []  # completions since the last decision
        self._edge = _NodeHistory(self.env.config, EDGE_NODE, self.memory, self.initial)
        self._cloud = _NodeHistory(self.env.config, CLOUD_NODE, self.memory, self.initial)

    def observe(self, completions: NDArray[np.void]) -> bool:
        """Takes note of what finished; see `Agent.observe`."""
        if self.env.config.is_pair:
            self._unread.extend(completions)
        else:
            for node, time in zip(
                completions["node"].tolist(), completions["processing_time"].tolist(), strict=True
            ):
                self._served[node].append(time)
        return super().observe(completions)

    def choose(self, plan: ClusterPlan, candidate: int) -> int | None:
        """Returns the node that should answer soonest, by what it has shown of late."""
        del candidate
        average = [sum(t) / len(t) if t else self.initial for t in self._served]
        queued = np.maximum(1.0, (plan.occupied + 1) / self._places)
        return least(np.array(average) * queued + self._rtts, plan.open)

    def act(self, observation: Observation, info: Info, explore: bool = True) -> NDArray[np.int64]:
        """Scores who has come into view, then decides as any scheduler."""
        if not self.env.config.is_pair:
            return super().act(observation, info, explore)
        self._score_arrivals()
        action = super().act(observation, info, explore)
        self._scores = [s for s, node in zip(self._scores, action, strict=False) if node == 0]
        return action

    def decide(self, plan: Plan, observation: Observation, info: Info, explore: bool) -> None:
        """Gives the edge those that prefer it, and the cloud whatever remains."""
        del observation, explore
        order = sorted(plan.waiting, key=lambda j: self._scores[j][0])
        batch = [j for j in order if self._scores[j][1]][: plan.batch_room]
        plan.to_edge(batch)
        rest = [j for j in order if j not in batch][: plan.cloud_room]
        plan.to_cloud(rest)
        self._edge.start(info["time"], len(batch))
        self._cloud.start(info["time"], len(rest))

    def _score_arrivals(self) -> None:
        """Replays what finished and who arrived since the last decision, in order of time."""
        for arrival in self.env.candidates()["arrival"][len(self._scores) :].tolist():
            self._read_completions(arrival)
            edge = self._edge.response_time(arrival)
            cloud = self._cloud.response_time(arrival) + self.env.config.network_rtt
            self._scores.append((min(edge, cloud), edge <= cloud))
        self._read_completions(np.inf)

    def _read_completions(self, until: float) -> None:
        read = 0
        for completion in self._unread:
            if completion["finish"] > until:
                break
            node = self._edge if completion["node"] == EDGE_NODE else self._cloud
            node.finish(float(completion["dispatch"]), float(completion["processing_time"]))
            read += 1
        del self._unread[:read]


class _NodeHistory:
    """What one node is doing and how long it has taken of late."""

    def __init__(self, config: SystemConfig, node: int, memory: int, initial: float) -> None:
        on_edge = node == EDGE_NODE
        self._slots = config.edge_concurrency if on_edge else config.cloud_concurrency
        self._rtt = 0.0 if on_edge else config.network_rtt
        self._in_batches = on_edge and config.batching != CONTINUOUS
        self._running: Counter[float] = Counter()  # requests by the time they started
        self._times: deque[float] = deque(maxlen=memory)
        self._initial = initial

    def start(self, now: float, requests: int) -> None:
        if requests:
            self._running[now] += requests

    def finish(self, started: float, processing_time: float) -> None:
        self._times.append(processing_time - self._rtt)
        self._running[started] -= 1
        if self._running[started] <= 0:
            del self._running[started]

    def response_time(self, now: float) -> float:
        """Returns delay + avg for a request that arrives now (s); inf if there is no such node."""
        if self._slots == 0:
            return np.inf
        average = sum(self._times) / len(self._times) if self._times else self._initial
        # What started together on a static edge is one batch.
        busy = len(self._running) if self._in_batches else self._running.total()
        if busy < self._slots:
            return average
        earliest = min(self._running) + average + self._rtt
        return max(0.0, earliest - now) + average
