"""Compiled following: a lane that is told what happens, where others simulate it.

A live system's requests arrive, give tokens and finish by themselves. `follow_lane` writes what has
happened into the arrays that the simulator keeps, so that the queue, the observation and the
dispatch of a live system are the simulator's own: between two decisions it takes the place of
``ADVANCE`` in `edgecloud_gym.simulator.compiled.events`.

What nodes do is not simulated. Who is in service, who queues at a node, and how full its cache is,
follows from who is there, who has given a token and how many: `_fill_nodes` works it out anew after
each batch of events. ``at_nodes`` are those whom nodes have, in order of dispatch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numba
import numpy as np

from edgecloud_gym.simulator.compiled.backlog import append
from edgecloud_gym.simulator.compiled.cache import CompiledFunction
from edgecloud_gym.simulator.compiled.dispatch import fill_idle, take
from edgecloud_gym.simulator.compiled.engine import NONE
from edgecloud_gym.simulator.compiled.events import complete, end_step, pass_time
from edgecloud_gym.simulator.compiled.inlining import inlined, merged
from edgecloud_gym.simulator.compiled.queueing import requeue
from edgecloud_gym.simulator.compiled.room import any_is_free
from edgecloud_gym.simulator.compiled.views import Engines, View
from edgecloud_gym.simulator.parameters import ENGINE, SEQUENCES, SLOTS, WAITING

# What can happen.
ARRIVED: Final = 0  # the next request comes
FIRST_TOKEN: Final = 1
PROGRESS: Final = 2  # it has given `value` tokens so far
FINISHED: Final = 3
LEFT: Final = 4  # it goes without being done, whether it waits or is at a node
RETURNED: Final = 5  # its node failed it: it waits again
SENT: Final = 6  # somebody else has dispatched it to node `value`

EVENT_DTYPE: Final = np.dtype(
    [("time", "f8"), ("kind", "i4"), ("request", "i4"), ("value", "i4")], align=True
)
GONE: Final = -2  # `slot` of a request that has left


@inlined
def _node_of(v, request):
    """Returns which node a request was dispatched to."""
    k = len(v.nodes) - 1
    while k > 0 and v.requests[request].slot < v.nodes[k].first_slot:
        k -= 1
    return k


@inlined
def _note_dispatched(lane, v, at_nodes, known):
    """Adds to those at nodes whom the action dispatched; returns how many there are.

    The window is brought up to date when it is next observed: it still holds them.
    """
    if known < lane.dispatched:
        for j in range(lane.window_size):
            if v.requests[v.window[j]].slot >= 0:
                at_nodes[known] = v.window[j]
                known += 1
    return known


@merged
def _force(p, lane, v, served, engines, at_nodes, known, step):
    """Dispatches the oldest where nobody is at any node; returns how many there are then."""
    waiting = lane.queue_length
    first = lane.oldest
    fill_idle(p, lane, v, served, engines, True)
    step.forced_dispatches += waiting - lane.queue_length
    for request in range(first, lane.arrived):
        if v.requests[request].slot >= 0 and np.isnan(v.requests[request].finish):
            at_nodes[known] = request
            known += 1
    return known


@inlined
def _remove(at_nodes, known, request):
    """Takes a request from those at nodes, who stay in order of dispatch."""
    kept = 0
    for i in range(known):
        if at_nodes[i] != request:
            at_nodes[kept] = at_nodes[i]
            kept += 1
    return kept


@merged
def _happen(p, lane, v, heap, served, at_nodes, known, event, step):
    """Writes one event; returns how many requests are at nodes thereafter."""
    request = event.request
    if event.kind == ARRIVED:
        lane.arrived += 1
        lane.queue_length += 1
        step.arrivals += 1
    elif event.kind == FIRST_TOKEN:
        served[request].first_token = lane.now
        served[request].output_tokens = max(1, served[request].output_tokens)
    elif event.kind == PROGRESS:
        served[request].output_tokens = event.value
    elif event.kind == FINISHED:
        complete(p, lane, v, v.states[_node_of(v, request)], request, step)
        step.services_ended += 1
        known = _remove(at_nodes, known, request)
    elif event.kind == SENT:
        take(p, lane, v, event.value, request)
        v.requests[request].slot = v.nodes[event.value].first_slot
        at_nodes[known] = request
        known += 1
    else:
        waited = v.requests[request].slot == WAITING
        if waited:
            lane.queue_length -= 1
        else:
            lane.dispatched -= 1
            known = _remove(at_nodes, known, request)
        v.requests[request].slot = GONE
        if event.kind == RETURNED:
            lane.queue_length += 1
            v.requests[request].slot = WAITING
            v.requests[request].dispatch = np.nan
            served[request].admitted = np.nan
            served[request].first_token = np.nan
            served[request].output_tokens = 0
            requeue(p, lane, v.requests, v.window, heap, request)
            step.services_ended += 1
    return known


@inlined
def _is_there(lane, v, spec, served, request):
    """Whether a request has reached its node."""
    travels = spec.kind == ENGINE or spec.kind == SEQUENCES
    if not travels or served[request].first_token <= lane.now:
        return True
    return v.requests[request].dispatch + spec.rtt <= lane.now


@inlined
def _start(lane, served, request):
    if np.isnan(served[request].admitted):
        served[request].admitted = lane.now


@merged
def _fill_engine(lane, v, spec, served, engines, at_nodes, known, k):
    """Works out who runs in an engine, who queues there, and how full its cache is.

    Who has given a token runs. Of the others, those that came first, while there is a sequence and
    room in the cache.
    """
    m = engines.settings[spec.engine]
    e = engines.states[spec.engine]
    e.now = lane.now
    e.end = np.inf
    e.due = 0
    e.span = 0
    e.preempted = 0
    e.queued = 0
    e.running = 0
    blocks = 0
    for has_token in (True, False):
        for i in range(known):
            request = at_nodes[i]
            if _node_of(v, request) != k or not _is_there(lane, v, spec, served, request):
                continue
            if (served[request].first_token <= lane.now) != has_token:
                continue
            tokens = served[request].prompt_tokens + served[request].output_tokens
            need = (tokens + m.block_size - 1) // m.block_size
            fits = m.blocks < 0 or blocks + need <= m.blocks or e.running == 0
            if has_token or (e.running < m.sequences and fits and e.queued == 0):
                e.running += 1
                blocks += need
                _start(lane, served, request)
            else:
                e.queue_tail = request
                e.queued += 1
    e.running = min(e.running, m.sequences)
    e.given = max(0, m.blocks)
    e.taken = min(blocks, e.given)


@merged
def _fill_nodes(lane, v, served, engines, at_nodes, known, closed):
    """Writes what the nodes hold, from who is there; ``closed`` places of each take nobody."""
    lane.slots_busy = 0
    for k in range(len(v.nodes)):
        spec = v.nodes[k]
        node = v.states[k]
        node.busy = 0
        node.queued = 0
        node.open = 0
        node.tokens = 0
        node.head = NONE
        node.tail = NONE
        for i in range(known):
            request = at_nodes[i]
            if _node_of(v, request) != k:
                continue
            node.tokens += v.table[v.requests[request].row].tokens
            there = _is_there(lane, v, spec, served, request)
            if there and (spec.kind == ENGINE or node.busy < spec.services):
                node.busy += 1
                if spec.kind != ENGINE:
                    _start(lane, served, request)
            else:
                append(node, served, request)
        if spec.kind == ENGINE:
            if engines is not None:
                _fill_engine(lane, v, spec, served, engines, at_nodes, known, k)
        else:
            for i in range(spec.services):
                slot = v.slots[spec.first_slot + i]
                slot.order = spec.first_slot + i
                slot.count = 1 if i < node.busy else 0
                slot.mark = 0.0
        if spec.kind == SLOTS:
            lane.slots_busy += node.busy
        left = spec.places - node.busy - node.queued
        node.queued += max(0, min(closed[k], left))


def _build(sources: str, cache: bool) -> Callable[..., Any]:
    @numba.njit(cache=cache, nogil=True, error_model="numpy", _nrt=False)
    def follow_lane(
        events,
        until,
        force,
        closed,
        at_nodes,
        known,
        parameters,
        nodes,
        curves,
        changes,
        table,
        lanes,
        states,
        requests,
        finished,
        window,
        heap,
        slots,
        members,
        history,
        signals,
        steps,
        served,
        engines,
    ):
        sources  # noqa: B018 - captured, so that it is part of the cache key
        p = parameters[0]
        lane = lanes[0]
        step = steps[0]
        v = View(
            nodes, states[0], curves, changes, table, requests[0], finished[0], window[0],
            slots[0], members[0], history[0], signals[0],
        )  # fmt: skip
        ours = served[0]
        hosts = None
        if engines is not None:
            hosts = Engines(
                engines.settings, engines.curves, engines.states[0], engines.sequences[0],
                engines.phases[0],
            )  # fmt: skip
        known[0] = _note_dispatched(lane, v, at_nodes, known[0])
        i = 0
        while True:
            while i < len(events) and events[i].time <= lane.now:
                known[0] = _happen(p, lane, v, heap[0], ours, at_nodes, known[0], events[i], step)
                i += 1
            _fill_nodes(lane, v, ours, hosts, at_nodes, known[0], closed)
            time = events[i].time if i < len(events) else until
            if time > lane.now:
                pass_time(p, lane, v, time, step)
                if i < len(events):
                    step.arrivals = 0
                    step.services_ended = 0
            elif force and lane.dispatched == 0 and any_is_free(v):
                known[0] = _force(p, lane, v, ours, hosts, at_nodes, known[0], step)
                force = False
            else:
                break
        end_step(0, p, lane, step)

    compiled: Callable[..., Any] = follow_lane
    return compiled


follow_lane: Final = CompiledFunction(_build)
