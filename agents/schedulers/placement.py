"""How soon each node would finish a request, as far as one can know before it is sent."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from agents.schedulers.cluster_plan import ClusterPlan
from edgecloud_gym.nodes import Engine, Node, Sequences, Slots, StaticBatches
from edgecloud_gym.simulator.simulator import Simulator
from edgecloud_gym.simulator.workload import MIN_CLOUD_TIME


class Placement:
    """Predicts the time until a request would be done on each node.

    A node's own model turns the request's base latency, or its tokens, into time among those that
    are there already; what has to wait first waits at the rate at which the node finishes.

    Args:
        simulator: Whose nodes they are.
    """

    def __init__(self, simulator: Simulator) -> None:
        self._nodes = simulator.config.nodes
        self._slowdowns = simulator.workload.slowdowns
        self._capacities = simulator.workload.capacities
        # Tokens that a sequence has in the cache on average. The length of the mean answer is
        # what an operator knows of the service.
        self._context = simulator.workload.mean_prompt + simulator.workload.mean_output / 2

    @property
    def needs_tokens(self) -> bool:
        """Whether any node's time depends on the number of tokens."""
        return any(isinstance(node, Engine) for node in self._nodes)

    def times(
        self, plan: ClusterPlan, base: float, prompt_tokens: int, output_tokens: float
    ) -> NDArray[np.float64]:
        """Returns the predicted times until a request is done (nodes,), s.

        Args:
            plan: What is sent besides.
            base: Its base latency (s), known or predicted.
            prompt_tokens: Its prompt.
            output_tokens: Its answer, known or predicted.
        """
        occupied = plan.occupied
        return np.array(
            [
                self._time(k, node, int(occupied[k]), base, prompt_tokens, output_tokens)
                for k, node in enumerate(self._nodes)
            ]
        )

    def _time(
        self, k: int, node: Node, occupied: int, base: float, prompt: int, output: float
    ) -> float:
        if node.services == 0:
            return math.inf
        if isinstance(node, Engine):
            return self._engine_time(k, node, occupied, prompt, output)
        places = node.services * node.batch
        waiting = max(0, occupied + 1 - places) / self._capacities[k]
        if isinstance(node, Slots):
            return waiting + max(MIN_CLOUD_TIME, node.time_multiplier * base) + node.network_rtt
        assert isinstance(node, StaticBatches | Sequences)
        together = node.batch if isinstance(node, StaticBatches) else min(occupied + 1, places)
        slowdown = float(self._slowdowns[k][together - 1])
        return waiting + node.time_multiplier * base * slowdown + node.network_rtt

    def _engine_time(
        self, k: int, node: Engine, occupied: int, prompt: int, output: float
    ) -> float:
        model = node.engine
        most = float(model.sequences)
        if model.kv_tokens is not None:
            most = min(most, max(1.0, model.kv_tokens / max(1.0, self._context)))
        running = min(occupied + 1.0, most)
        waiting = max(0.0, occupied + 1 - most) / self._capacities[k]
        others = (running - 1) * self._context  # tokens that these look back on
        read = model.computed(prompt)
        piece = min(read, model.batched_tokens)
        reading = model.step_time(decoding=running - 1, context=others, prompt=piece)
        step = model.step_time(decoding=running, context=others + prompt + output / 2)
        pieces = math.ceil(read / model.batched_tokens)
        return waiting + pieces * reading + max(0.0, output - 1) * step + node.network_rtt
