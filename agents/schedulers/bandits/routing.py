"""Where bandits send requests in a cluster: to the node predicted to finish them soonest."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from agents.base import Observation
from agents.schedulers.cluster_plan import ClusterPlan, least
from agents.schedulers.likelihood import Likelihood
from agents.schedulers.placement import Placement
from edgecloud_gym.envs.base import EdgeCloudEnv
from edgecloud_gym.nodes import WAIT

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]

MOST_ORDERS: Final = 256  # that the probabilities of choices are estimated from


class Routing:
    """Sends requests in an order to the nodes that would finish them soonest.

    Args:
        env: The cluster.
    """

    def __init__(self, env: EdgeCloudEnv) -> None:
        self._env = env
        self._placement = Placement(env.simulator)
        self._seen = np.zeros(2)  # output tokens and base latency (s) of what has finished

    def observe(self, completions: NDArray[np.void]) -> None:
        """Takes note of how many tokens what has finished had for its time, where that is known."""
        if len(completions) and "output_tokens" in (completions.dtype.names or ()):
            counted = completions[completions["output_tokens"] >= 0]
            self._seen += counted["output_tokens"].sum(), counted["base_latency"].sum()

    def send(self, plan: ClusterPlan, order: Indices, times: Floats) -> list[int]:
        """Sends those who wait in an order, while some node is open; returns the nodes.

        Args:
            plan: In which nothing is sent yet.
            order: Positions among those who wait.
            times: Their predicted times, s, by position.
        """
        waiting = plan.waiting
        rows = self._env.candidates()["row"]
        prompts = self._env.dataset.prompt_tokens
        nodes: list[int] = []
        for j in order.tolist():
            if not len(plan.open):
                break
            prompt = 0 if prompts is None else int(prompts[rows[waiting[j]]])
            nodes.append(self._soonest(plan, float(times[j]), prompt))
            plan.send(waiting[j], nodes[-1])
        return nodes

    def _soonest(self, plan: ClusterPlan, seconds: float, prompt_tokens: int) -> int:
        """Returns the node predicted to finish a request soonest, of those that take it.

        Before anything is known of times, the one with the shortest queue for its speed.
        """
        tokens, base = self._seen
        if not np.isfinite(seconds) or (self._placement.needs_tokens and not base):
            return least(plan.load, plan.open)
        answer = seconds * tokens / base if base else 0.0
        return least(self._placement.times(plan, seconds, prompt_tokens, answer), plan.open)

    def probabilities(
        self, observation: Observation, draw: Callable[[Indices], tuple[Floats, Floats]]
    ) -> Floats:
        """Returns how likely each choice is, (M, 1 + nodes), from scores as they are drawn.

        Args:
            observation: What is shown of the cluster.
            draw: Given dataset rows (n,), returns their predicted times (n,), s, and draws of their
                scores (draws, n).
        """
        simulator = self._env.simulator
        plan = ClusterPlan(simulator, observation)
        waiting = np.array(plan.waiting, np.int64)
        likely = Likelihood(len(plan.action), len(plan.speed))
        room = int(plan.room.sum())
        if not len(waiting) or not room:
            return likely.table
        times, scores = draw(self._env.candidates()["row"][waiting])
        # Where a request goes depends on those that are sent before it, and on nothing else.
        orders = np.argsort(scores, axis=1, kind="stable")[:, :room]
        found, counts = np.unique(orders[:MOST_ORDERS], axis=0, return_counts=True)
        share = np.zeros((len(waiting), likely.table.shape[1]))
        for order, count in zip(found, counts / counts.sum(), strict=True):
            sent = self.send(ClusterPlan(simulator, observation), order, times)
            share[order[: len(sent)], np.array(sent, np.int64) + 1] += count
        share[:, WAIT] = np.maximum(0.0, 1.0 - share.sum(axis=1))
        if len(scores) > 1:  # what no draw has brought about counts as one draw, if it can be
            possible = np.array([len(waiting) > room, *(plan.room[0] > 0)])
            share = np.maximum(share, possible / min(len(orders), MOST_ORDERS))
        likely.table[waiting] = share / share.sum(axis=1, keepdims=True)
        return likely.table
