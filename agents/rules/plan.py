"""Compiled helpers for rules: looking at a decision's nodes and filling its plan.

Every function takes ``d``, a `Decision`. Nodes and candidates are numbered from 0; where there is
none, `NONE` is returned.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from edgecloud_gym.nodes import CLOUD_NODE, EDGE_NODE
from edgecloud_gym.simulator.compiled.inlining import compiled, inlined
from edgecloud_gym.simulator.observation import NODES
from edgecloud_gym.simulator.parameters import SLOTS, STATIC_BATCHES

NONE: Final = -1
_NODE = NODES.positions


@compiled
def calls_left(left, elapsed, events):
    """Returns how many calls a scheduler has at a moment; ``left`` is -1 before the first.

    The paper's simulators call the scheduler once per arrival and per completion, and a call starts
    at most one edge batch. The environment offers another decision at the same moment after each
    dispatch (no time has elapsed then); a scheduler that keeps to the paper's rules takes as many
    of them as there were events at that moment, which is one unless several coincide.
    """
    return max(1, events) if left < 0 or elapsed > 0.0 else left


@inlined
def takes_call(d):
    """Takes a call, if one is left at this decision; tells whether there was one."""
    step = d.step[0]
    left = calls_left(d.calls[0], step.elapsed, step.arrivals + step.services_ended)
    d.calls[0] = max(0, left - 1)
    return left > 0


@inlined
def candidates(d):
    """Returns how many candidates there are."""
    return d.lane[0].window_size


@inlined
def row_of(d, candidate):
    """Returns a candidate's row of the dataset, and so of ``d.facts``."""
    return d.requests[d.window[candidate]].row


@inlined
def next_waiting(d, candidate):
    """Returns the first candidate from one on that is not assigned yet, or `NONE`."""
    for j in range(candidate, d.lane[0].window_size):
        if d.unassigned[j]:
            return j
    return NONE


@inlined
def is_open(d, node):
    """Whether a node still takes a request."""
    return d.room[node] > 0


@inlined
def first_open(d):
    """Returns the first node that takes a request, or `NONE`."""
    for k in range(len(d.room)):
        if d.room[k] > 0:
            return k
    return NONE


@inlined
def is_cloud(d, node):
    """Whether a node is slots."""
    return d.nodes[node].kind == SLOTS


@inlined
def send(d, candidate, node):
    """Assigns a candidate, which is not assigned yet, to a node that is open."""
    d.action[candidate] = 1 + node
    d.unassigned[candidate] = False
    d.room[node] -= 1


@inlined
def places(d, node):
    """Returns how many requests a node takes when it is idle."""
    spec = d.nodes[node]
    return spec.services * spec.capacity + spec.backlog


@inlined
def occupied(d, node):
    """Returns how many places of a node are taken, in service and in its backlog.

    As agents see them (``signal_age``), with what this plan sends besides. A batch that runs takes
    all places of its own.
    """
    total = places(d, node)
    seen = float(d.states[node].room)
    if len(d.signals) > 0:
        seen = np.rint(d.signals[node * len(_NODE) + _NODE.room] * total)
    return total - seen + (d.states[node].room - d.room[node])


@inlined
def load(d, node):
    """Returns how long a node is busy with what it has and one request more (s)."""
    return (occupied(d, node) + 1) / d.nodes[node].rate


@inlined
def cache_use(d, node):
    """Returns the share of a node's cache that is taken; of its places, if that is more."""
    used = occupied(d, node) / max(1, places(d, node))
    if len(d.signals) == 0:
        return max(0.0, used)
    return max(np.float64(d.signals[node * len(_NODE) + _NODE.cache]), used)


@inlined
def is_static(d):
    """Whether the edge of a pair serves static batches."""
    return d.nodes[EDGE_NODE].kind == STATIC_BATCHES


@inlined
def waiting(d):
    """Returns how many candidates are not assigned yet."""
    count = 0
    for j in range(d.lane[0].window_size):
        count += d.unassigned[j]
    return count


@inlined
def batch_room(d):
    """Returns how many waiting candidates the next batch on the edge of a pair can take.

    In continuous batching there are no batches to gather: its free sequences are filled.
    """
    room = d.room[EDGE_NODE]
    if is_static(d):
        room = min(room, d.nodes[EDGE_NODE].capacity)
    return min(room, waiting(d))


@inlined
def send_first(d, node, count):
    """Assigns the first candidates that wait, of which there are as many, to a node."""
    j = 0
    for _ in range(count):
        j = next_waiting(d, j)
        send(d, j, node)


@inlined
def close_batch(d, count):
    """Starts a static batch of the edge that ``count`` candidates were assigned to."""
    if count > 0 and is_static(d):
        d.room[EDGE_NODE] -= d.nodes[EDGE_NODE].capacity - count


@inlined
def batch_to_edge(d, count):
    """Sends the first candidates to the edge of a pair, as one batch if it is static."""
    send_first(d, EDGE_NODE, count)
    close_batch(d, count)


@inlined
def fill_cloud(d):
    """Sends the first candidates to the cloud of a pair, while it has room."""
    send_first(d, CLOUD_NODE, min(d.room[CLOUD_NODE], waiting(d)))
