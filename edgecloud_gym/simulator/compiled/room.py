"""Compiled room: how many requests each node takes now."""

from __future__ import annotations

from edgecloud_gym.simulator.compiled.inlining import inlined


@inlined
def is_free(spec, node):
    """Whether a node takes a request: into service or into its backlog."""
    return node.busy + node.queued < spec.places


@inlined
def is_idle(spec, node):
    """Whether a service could start on a node that nobody is there for."""
    return node.busy + node.queued < spec.services


@inlined
def any_is_free(v):
    """Whether any node takes a request."""
    for k in range(len(v.nodes)):  # noqa: SIM110 - Numba knows no generators
        if is_free(v.nodes[k], v.states[k]):
            return True
    return False


@inlined
def find_room(v):
    """Writes how many requests each node takes: a free batch slot its full capacity."""
    for k in range(len(v.nodes)):
        spec = v.nodes[k]
        node = v.states[k]
        free = (spec.services - node.busy) * spec.capacity
        node.room = free + spec.backlog - node.queued
