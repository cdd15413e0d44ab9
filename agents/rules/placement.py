"""How soon each node would finish a request, as far as one can know before it is sent.

A node's own model turns the request's base latency, or its tokens, into time among those that are
there already; what has to wait first waits at the rate at which the node finishes.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from agents.rules.kept import kept_rule
from agents.rules.plan import NONE, candidates, is_open, occupied, row_of, send
from edgecloud_gym.dataset import RequestDataset
from edgecloud_gym.nodes import Engine
from edgecloud_gym.simulator.compiled.inlining import compiled
from edgecloud_gym.simulator.parameters import ENGINE, SLOTS, STATIC_BATCHES
from edgecloud_gym.simulator.simulator import Simulator
from edgecloud_gym.simulator.workload import MIN_CLOUD_TIME

# The columns of the facts about a dataset row.
BASE: Final = 0  # its base latency (s), known or predicted
PROMPT: Final = 1  # tokens
OUTPUT: Final = 2  # tokens, known or predicted

# The parameters: tokens that a sequence has in the cache on average, where each node's numbers
# begin, and these.
_CONTEXT: Final = 0
_FIRST: Final = 1
_MOST: Final = 0  # sequences that find room in the cache
_BUDGET: Final = 1  # tokens of a step
_OVERHEAD: Final = 2
_FLOOR: Final = 3
_TOKEN: Final = 4
_LOOKED_BACK: Final = 5
_PREFILL: Final = 6
_SHARED: Final = 7  # tokens of every prompt that are in the cache
_MIXED: Final = 8  # whether prompt tokens are computed together with others
_KNOTS: Final = 9  # of the curve that takes the place of floor and token: tokens and time of each


def true_facts(dataset: RequestDataset) -> NDArray[np.float64]:
    """Returns what is true of each row, float64 (rows, 3)."""
    counts = (dataset.prompt_tokens, dataset.response_tokens)
    known = [np.zeros(len(dataset)) if count is None else count for count in counts]
    return np.column_stack([dataset.base_latency, *known]).astype(np.float64)


def placement_parameters(simulator: Simulator) -> NDArray[np.float64]:
    """Returns what the functions below read of the nodes, float64 (n,)."""
    # The length of the mean answer is what an operator knows of the service.
    context = simulator.workload.mean_prompt + simulator.workload.mean_output / 2
    nodes = simulator.config.nodes
    numbers = [_engine_numbers(node, context) if isinstance(node, Engine) else [] for node in nodes]
    starts = np.cumsum([_FIRST + len(nodes), *map(len, numbers)])[:-1]
    return np.concatenate([[context], starts, *numbers])


def _engine_numbers(node: Engine, context: float) -> list[float]:
    model = node.engine
    most = float(model.sequences)
    if model.kv_tokens is not None:
        most = min(most, max(1.0, model.kv_tokens / max(1.0, context)))
    curve: Any = model.step_times or ()
    return [
        most,
        model.batched_tokens,
        model.step_overhead,
        model.step_floor,
        model.token_time,
        model.context_time,
        model.prefill_overhead,
        model.shared_prefix,
        model.mixed_batches,
        len(curve),
        *(number for knot in curve for number in knot),
    ]


@compiled
def _computing(e, tokens):
    """Returns what a step takes to compute tokens (s); see `EngineModel.step_time`."""
    knots = int(e[_KNOTS])
    if knots == 0:
        return max(e[_FLOOR], e[_TOKEN] * tokens)
    curve = e[_KNOTS + 1 :]
    if tokens <= curve[0]:
        return curve[1]
    right = 1
    while right < knots - 1 and tokens > curve[2 * right]:
        right += 1
    low, start = curve[2 * right - 2], curve[2 * right - 1]
    high, end = curve[2 * right], curve[2 * right + 1]
    return start + (end - start) * (tokens - low) / (high - low)


@compiled
def _step_time(e, decoding, context, prompt):
    """Returns how long a step takes (s); see `EngineModel.step_time`."""
    apart = e[_MIXED] == 0 and prompt > 0 and decoding > 0
    time = e[_OVERHEAD] + _computing(e, decoding if apart else decoding + prompt)
    if apart:
        time += _computing(e, prompt)
    time += e[_LOOKED_BACK] * context
    return max(e[_PREFILL], time) if prompt > 0 else time


@compiled
def fitting(d, parameters, node):
    """Returns how many requests a node serves side by side, as far as its cache holds them."""
    spec = d.nodes[node]
    if spec.kind == ENGINE:
        return parameters[int(parameters[_FIRST + node]) + _MOST]
    return float(spec.services * spec.capacity)


@compiled
def _engine_time(e, spec, taken, context, prompt, output):
    running = min(taken + 1.0, e[_MOST])
    queueing = max(0.0, taken + 1 - e[_MOST]) / spec.rate
    others = (running - 1) * context  # tokens that these look back on
    read = max(min(1.0, prompt), prompt - e[_SHARED])
    piece = min(read, e[_BUDGET])
    reading = _step_time(e, running - 1, others, piece)
    step = _step_time(e, running, others + prompt + output / 2, 0.0)
    pieces = math.ceil(read / e[_BUDGET])
    return queueing + pieces * reading + max(0.0, output - 1) * step + spec.rtt


@compiled
def time_among(d, parameters, node, taken, base, prompt, output):
    """Returns the time until a request would be done on a node that serves anybody (s).

    Args:
        d: Where the nodes are.
        parameters: See `placement_parameters`.
        node: The node.
        taken: How many of its places are.
        base: The request's base latency (s), known or predicted.
        prompt: Its prompt (tokens).
        output: Its answer (tokens), known or predicted.
    """
    spec = d.nodes[node]
    if spec.kind == ENGINE:
        e = parameters[int(parameters[_FIRST + node]) :]
        return _engine_time(e, spec, taken, parameters[_CONTEXT], prompt, output)
    together = spec.services * spec.capacity
    queueing = max(0.0, taken + 1 - together) / spec.rate
    if spec.kind == SLOTS:
        return queueing + max(MIN_CLOUD_TIME, spec.multiplier * base) + spec.rtt
    beside = spec.capacity
    if spec.kind != STATIC_BATCHES:
        beside = int(min(taken + 1, together))
    slowdown = d.curves[spec.first_curve + beside - 1]
    return queueing + spec.multiplier * base * slowdown + spec.rtt


@compiled
def time_on(d, parameters, node, base, prompt, output):
    """Returns the same for what else is sent, infinity on a node that serves nobody."""
    if d.nodes[node].services == 0:
        return np.inf
    return time_among(d, parameters, node, occupied(d, node), base, prompt, output)


@kept_rule
def soonest(d):
    """The node that finishes each request soonest; ``facts`` are `BASE`, `PROMPT`, `OUTPUT`."""
    for j in range(candidates(d)):
        if not d.unassigned[j]:
            continue
        facts = d.facts[row_of(d, j)]
        best = NONE
        least = np.inf
        for k in range(len(d.room)):
            if not is_open(d, k):
                continue
            time = time_on(d, d.parameters, k, facts[BASE], facts[PROMPT], facts[OUTPUT])
            if best == NONE or time < least:
                best = k
                least = time
        if best == NONE:
            return
        send(d, j, best)
