"""How soon each node would finish a request, as far as one can know before it is sent."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecloud_gym.engines import EngineModel
from edgecloud_gym.nodes import Engine, Node, Sequences, Slots, StaticBatches
from edgecloud_gym.simulator.simulator import Simulator
from edgecloud_gym.simulator.workload import MIN_CLOUD_TIME

Floats = NDArray[np.float64]
NEVER = 1e6  # s, of a node that serves nobody


class NodeTimes:
    """Predicts the time until a request would be done on each node, for all lanes at once.

    A node's own model turns the request's base latency, or its tokens, into time among those that
    are there already; what has to wait first waits at the rate at which the node finishes.

    Args:
        simulator: Whose nodes they are.

    Attributes:
        mean_output: Tokens of the mean answer, at least 1.
        fitting: How many requests each node serves side by side, as far as its cache holds them
            (nodes,).
    """

    def __init__(self, simulator: Simulator) -> None:
        self._nodes: tuple[Node, ...] = tuple(simulator.config.nodes)
        self._slowdowns = simulator.workload.slowdowns
        self._capacities = simulator.workload.capacities
        # The mean lengths are what an operator knows of the service.
        workload = simulator.workload
        self.mean_output = max(1.0, workload.mean_output)
        self._context = workload.mean_prompt + workload.mean_output / 2
        self.fitting = np.array([self._fitting(node) for node in self._nodes])

    def _fitting(self, node: Node) -> float:
        if not isinstance(node, Engine):
            return float(node.services * node.batch)
        model = node.engine
        if model.kv_tokens is None:
            return float(model.sequences)
        return min(float(model.sequences), max(1.0, model.kv_tokens / max(1.0, self._context)))

    def __call__(self, occupied: Floats, base: Floats, prompt: Floats, output: Floats) -> Floats:
        """Returns predicted times until a request is done, s (lanes, nodes).

        Args:
            occupied: Places of each node that are taken, in service and in its backlog
                (lanes, nodes).
            base: Base latency of the request, known or predicted, s (lanes,).
            prompt: Its prompt, tokens (lanes,).
            output: Its answer, known or predicted, tokens (lanes,).
        """
        times = np.empty(occupied.shape)
        for k, node in enumerate(self._nodes):
            if node.services == 0:
                times[:, k] = NEVER
            elif isinstance(node, Engine):
                times[:, k] = self._on_engine(k, node, occupied[:, k], prompt, output)
            else:
                times[:, k] = self._on_node(k, node, occupied[:, k], base)
        return times

    def _on_node(self, k: int, node: Node, occupied: Floats, base: Floats) -> Floats:
        places = node.services * node.batch
        waiting = np.maximum(0.0, occupied + 1 - places) / self._capacities[k]
        if isinstance(node, Slots):
            served = np.maximum(MIN_CLOUD_TIME, node.time_multiplier * base)
        else:
            assert isinstance(node, StaticBatches | Sequences)
            together = np.minimum(occupied + 1, places).astype(np.int64)
            if isinstance(node, StaticBatches):
                together[:] = node.batch
            served = node.time_multiplier * base * self._slowdowns[k][together - 1]
        return np.asarray(waiting + served + node.network_rtt)

    def _on_engine(
        self, k: int, node: Engine, occupied: Floats, prompt: Floats, output: Floats
    ) -> Floats:
        model = node.engine
        most = self.fitting[k]
        running = np.minimum(occupied + 1.0, most)
        waiting = np.maximum(0.0, occupied + 1 - most) / self._capacities[k]
        others = (running - 1) * self._context  # tokens that these look back on
        read = np.maximum(np.minimum(1.0, prompt), prompt - model.shared_prefix)
        piece = np.minimum(read, model.batched_tokens)
        reading = _step_time(model, running - 1, others, piece)
        step = _step_time(model, running, others + prompt + output / 2)
        pieces = np.ceil(read / model.batched_tokens)
        prefill = pieces * np.maximum(model.prefill_overhead, reading)
        return np.asarray(waiting + prefill + np.maximum(0.0, output - 1) * step + node.network_rtt)


def _step_time(model: EngineModel, decoding: Any, context: Any, prompt: Any = 0.0) -> Any:
    """Returns `EngineModel.step_time` of arrays, without the overhead of prompts."""
    computing = _computing(model, decoding + prompt)
    if not model.mixed_batches:
        apart = _computing(model, decoding) + _computing(model, prompt)
        computing = np.where((decoding > 0) & (prompt > 0), apart, computing)
    return model.step_overhead + computing + model.context_time * context


def _computing(model: EngineModel, tokens: Any) -> Any:
    if model.step_times is None:
        return np.maximum(model.step_floor, model.token_time * tokens)
    at, time = np.transpose(model.step_times)
    slope = (time[-1] - time[-2]) / (at[-1] - at[-2])
    beyond = np.maximum(0.0, tokens - at[-1]) * slope
    return np.interp(tokens, at, time) + beyond
