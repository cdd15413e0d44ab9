"""Compiled features of the nodes of a cluster."""

from __future__ import annotations

from edgecloud_gym.simulator.compiled.engine import engine_blocks_used
from edgecloud_gym.simulator.compiled.inlining import merged
from edgecloud_gym.simulator.compiled.squash import squash
from edgecloud_gym.simulator.observation import NODES
from edgecloud_gym.simulator.parameters import ENGINE, SEQUENCES, SLOTS, STATIC_BATCHES

_NODE = NODES.positions


@merged
def write_nodes(p, lane, v, engines):
    """Reads the nodes: writes one row for each into `v.signals`."""
    out = v.signals
    at = 0
    for k in range(len(v.nodes)):
        spec = v.nodes[k]
        node = v.states[k]
        services = max(1, spec.services)
        room = max(1, spec.services * spec.capacity + spec.backlog)
        out[at + _NODE.static] = 1.0 if spec.kind == STATIC_BATCHES else 0.0
        out[at + _NODE.sequences] = 1.0 if spec.kind == SEQUENCES else 0.0
        out[at + _NODE.engine] = 1.0 if spec.kind == ENGINE else 0.0
        out[at + _NODE.slots] = 1.0 if spec.kind == SLOTS else 0.0
        out[at + _NODE.room] = max(0, node.room) / room
        out[at + _NODE.running] = min(1.0, node.busy / services)
        out[at + _NODE.backlog] = squash(node.queued, services * spec.capacity)
        out[at + _NODE.cache] = 0.0
        out[at + _NODE.speed] = spec.speed
        out[at + _NODE.rtt] = squash(spec.rtt, p.time_scale)
        out[at + _NODE.tokens] = squash(node.tokens, spec.token_scale)
        if engines is not None and spec.kind == ENGINE:
            _write_engine(lane, spec, node, engines, out, at)
        at += len(_NODE)


@merged
def _write_engine(lane, spec, node, engines, out, at):
    """Writes what an engine knows better: who runs, who queues, and how full its cache is."""
    m = engines.settings[spec.engine]
    e = engines.states[spec.engine]
    phases = engines.phases[spec.engine]
    waiting = node.queued + e.preempted + e.queued
    out[at + _NODE.running] = e.running / m.sequences
    out[at + _NODE.backlog] = squash(waiting, m.sequences)
    if m.blocks > 0:
        node.cache = engine_blocks_used(m, e, phases, lane.now) / m.blocks
        out[at + _NODE.cache] = node.cache
