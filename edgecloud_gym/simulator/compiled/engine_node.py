"""Compiled engine nodes: how a lane's events and an engine's steps are brought together.

A request reaches its engine a round trip after it was dispatched, and queues there.
"""

from __future__ import annotations

import numba

from edgecloud_gym.simulator.compiled.backlog import append, pop
from edgecloud_gym.simulator.compiled.engine import (
    engine_advance,
    engine_arrive,
    engine_settle,
)
from edgecloud_gym.simulator.compiled.views import one_engine


@numba.njit
def send_to_engine(lane, v, spec, node, served, engines, request):
    """Sends a request on its way to an engine that has been advanced to now."""
    v.requests[request].slot = spec.first_slot
    if spec.rtt > 0.0:
        append(node, served, request)
        return
    m, e, _, _ = one_engine(engines, spec.engine)
    engine_arrive(m, e, served, request, lane.now)
    node.busy += 1


@numba.njit
def schedule_engine(v, spec, node, served, engines):
    """Composes the step that is due, and finds the time of the engine's next event."""
    m, e, s, phases = one_engine(engines, spec.engine)
    engine_settle(m, e, s, phases, engines.curves, served)
    node.next = e.end
    if node.queued > 0:
        node.next = min(node.next, v.requests[node.head].dispatch + spec.rtt)


@numba.njit
def advance_engine(spec, node, served, engines, until):
    """Moves an engine to ``until`` or to the first finishes before; returns the latter's head."""
    m, e, s, phases = one_engine(engines, spec.engine)
    if engine_advance(m, e, s, phases, engines.curves, served, until):
        node.busy -= e.finished
        return e.finished_head
    return -1


@numba.njit
def receive(lane, v, spec, node, served, engines):
    """Hands an engine, advanced to now, the requests that have reached it."""
    m, e, _, _ = one_engine(engines, spec.engine)
    while node.queued > 0 and v.requests[node.head].dispatch + spec.rtt <= lane.now:
        engine_arrive(m, e, served, pop(node, served), lane.now)
        node.busy += 1
