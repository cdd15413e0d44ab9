"""Compiled engine nodes: how a lane's events and an engine's steps are brought together.

A request reaches its engine a round trip after it was dispatched, and queues there.
"""

from __future__ import annotations

from edgecloud_gym.simulator.compiled.backlog import append, pop
from edgecloud_gym.simulator.compiled.engine import (
    NONE,
    engine_arrive,
    engine_end_step,
    engine_settle,
)
from edgecloud_gym.simulator.compiled.inlining import compiled, merged


@compiled
def send_to_engine(lane, v, spec, node, served, engines, request):
    """Sends a request on its way to an engine that has been advanced to now."""
    v.requests[request].slot = spec.first_slot
    if spec.rtt > 0.0:
        append(node, served, request)
        return
    m = engines.settings[spec.engine]
    e = engines.states[spec.engine]
    engine_arrive(m, e, served, request, lane.now)
    node.busy += 1


@merged
def schedule_engine(v, spec, node, served, engines):
    """Composes the step that is due, and finds the time of the engine's next event."""
    m = engines.settings[spec.engine]
    e = engines.states[spec.engine]
    s = engines.sequences[spec.engine]
    phases = engines.phases[spec.engine]
    engine_settle(m, e, s, phases, engines.curves, served)
    node.next = e.end
    if node.queued > 0:
        node.next = min(node.next, v.requests[node.head].dispatch + spec.rtt)


@merged
def end_due_step(lane, spec, node, served, engines):
    """Ends the step that ends now, if one does; returns who finished first in it, or `NONE`."""
    e = engines.states[spec.engine]
    if e.due or e.end > lane.now:
        return NONE
    m = engines.settings[spec.engine]
    engine_end_step(m, e, engines.sequences[spec.engine], engines.phases[spec.engine], served)
    node.busy -= e.finished
    return e.finished_head


@merged
def receive(lane, v, spec, node, served, engines):
    """Hands an engine, advanced to now, the requests that have reached it."""
    m = engines.settings[spec.engine]
    e = engines.states[spec.engine]
    while node.queued > 0 and v.requests[node.head].dispatch + spec.rtt <= lane.now:
        engine_arrive(m, e, served, pop(node, served), lane.now)
        node.busy += 1
