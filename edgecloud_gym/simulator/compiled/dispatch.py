"""Compiled dispatch: sends waiting requests to nodes, as an action says or as they come."""

from __future__ import annotations

from edgecloud_gym.nodes import WAIT
from edgecloud_gym.simulator.compiled.backlog import must_queue, queue_request
from edgecloud_gym.simulator.compiled.engine_node import send_to_engine
from edgecloud_gym.simulator.compiled.inlining import inlined, merged
from edgecloud_gym.simulator.compiled.queueing import oldest_waiting
from edgecloud_gym.simulator.compiled.room import is_free, is_idle
from edgecloud_gym.simulator.compiled.slots import close, join
from edgecloud_gym.simulator.parameters import ENGINE, WAITING


@inlined
def take(p, lane, v, k, request):
    """Moves a request from the waiting queue to a node."""
    v.requests[request].dispatch = lane.now
    lane.queue_length -= 1
    lane.dispatched += 1
    if not p.pair:
        v.states[k].tokens += v.table[v.requests[request].row].tokens


@inlined
def _send(p, lane, v, served, engines, k, request):
    """Dispatches a waiting request to a node that is free for it.

    Returns its processing time (s), 0 as long as that is not known: while its batch gathers, and
    where it has to queue or is served by an engine.
    """
    spec = v.nodes[k]
    node = v.states[k]
    take(p, lane, v, k, request)
    if engines is not None and spec.kind == ENGINE:
        send_to_engine(lane, v, spec, node, served, engines, request)
        return 0.0
    if served is not None:
        if must_queue(spec, node):
            queue_request(v, spec, node, served, request)
            return 0.0
        served[request].admitted = lane.now
    join(v, spec, node, request)
    return close(lane, v, spec, node) if node.open == spec.capacity else 0.0


@inlined
def _close_all(lane, v):
    """Starts the batches that were gathered; returns the longest processing time (s)."""
    longest = 0.0
    for k in range(len(v.nodes)):
        if v.states[k].open > 0:
            longest = max(longest, close(lane, v, v.nodes[k], v.states[k]))
    return longest


@merged
def apply_action(p, lane, v, served, engines, action, step):
    """Dispatches what the action assigns, then fills idle services if none may be."""
    longest = 0.0
    for j in range(len(action)):
        choice = action[j]
        if choice == WAIT:
            continue
        k = choice - 1
        if j < lane.window_size and is_free(v.nodes[k], v.states[k]):
            longest = max(longest, _send(p, lane, v, served, engines, k, v.window[j]))
        else:
            step.invalid_assignments += 1
    longest = max(longest, _close_all(lane, v))
    if p.work_conserving:
        longest = max(longest, fill_idle(p, lane, v, served, engines, False))
    step.makespan = -longest


@inlined
def fill_idle(p, lane, v, served, engines, oldest_first):
    """Gives idle services, node by node, the candidates in order, or the oldest of all waiting.

    Returns the longest processing time (s) among those dispatched, 0 if there are none.
    """
    longest = 0.0
    k = 0
    j = 0
    while lane.queue_length > 0:
        while k < len(v.nodes) and not is_idle(v.nodes[k], v.states[k]):
            k += 1
        if k == len(v.nodes):
            break
        if oldest_first:
            request = oldest_waiting(lane, v.requests)
        else:
            while j < lane.window_size and v.requests[v.window[j]].slot != WAITING:
                j += 1
            if j == lane.window_size:
                break
            request = v.window[j]
        longest = max(longest, _send(p, lane, v, served, engines, k, request))
    return max(longest, _close_all(lane, v))
