"""Compiled slots: who is in the services of a node, and who has left."""

from __future__ import annotations

from edgecloud_gym.simulator.compiled.inlining import inlined
from edgecloud_gym.simulator.compiled.queueing import pop_busy, push_busy
from edgecloud_gym.simulator.compiled.service import end_service, schedule, start_service
from edgecloud_gym.simulator.parameters import SLOTS


@inlined
def _member(spec, slot):
    """Where the members of a slot begin, in nodes whose services take several requests."""
    return spec.first_member + (slot - spec.first_slot) * spec.capacity


@inlined
def member_of(v, spec, slot, j):
    """Returns who is the j-th request in a slot."""
    if spec.capacity == 1:
        return v.slots[slot].request
    return v.members[_member(spec, slot) + j]


@inlined
def join(v, spec, node, request):
    """Puts a request into the free slot that the next `close` starts."""
    index = v.slots[spec.first_slot + node.busy].order
    slot = v.slots[index]
    latency = v.table[v.requests[request].row].base_latency
    if spec.capacity == 1:
        slot.request = request
        slot.work = latency
    else:
        v.members[_member(spec, index) + slot.count] = request
        slot.work = max(slot.work, latency) if slot.count > 0 else latency
    slot.count += 1
    v.requests[request].slot = index
    node.open += 1


@inlined
def close(lane, v, spec, node):
    """Starts what `join` gathered; returns its processing time (s)."""
    index = v.slots[spec.first_slot + node.busy].order
    duration = start_service(spec, node, v.slots[index], v.curves, lane.now)
    push_busy(v.slots, spec.first_slot, node.busy, index)
    node.busy += 1
    node.open = 0
    if spec.kind == SLOTS:
        lane.slots_busy += 1
    schedule(spec, node, v.slots, v.curves)
    return duration


@inlined
def free_next(lane, v, spec, node):
    """Frees the slot that finishes now.

    Returns it and how many requests leave it; `member_of` tells who, until the next `join`.
    """
    slot = v.slots[spec.first_slot].order
    count = v.slots[slot].count
    end_service(spec, node, v.slots[slot], lane.now)
    pop_busy(v.slots, spec.first_slot, node.busy)
    node.busy -= 1
    if spec.kind == SLOTS:
        lane.slots_busy -= 1
    schedule(spec, node, v.slots, v.curves)
    return slot, count
