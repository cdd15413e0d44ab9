"""Compiled service times: how long a node takes for what it is given.

Nothing else knows how requests slow each other down. A static batch takes its longest base latency
times the slowdown of its size. Sequences have a virtual clock, the service that each running
request has attained: while n run it advances at rate 1 / s(n), so that a request leaves when the
clock has advanced by its work, whoever joins and leaves meanwhile. A slot serves its request on its
own. Engines have a package of their own.
"""

from __future__ import annotations

import numpy as np

from edgecloud_gym.simulator.compiled.inlining import compiled
from edgecloud_gym.simulator.parameters import SEQUENCES, STATIC_BATCHES
from edgecloud_gym.simulator.workload import MIN_CLOUD_TIME


@compiled
def start_service(spec, node, slot, curves, now):
    """Starts a slot whose count and work are set; returns its processing time (s).

    ``node.busy`` does not count the slot yet. Of sequences the time depends on who joins and leaves
    later; the one returned holds if nobody does.
    """
    slot.start = now
    if spec.kind == SEQUENCES:
        _read_clock(spec, node, curves, now)
        work = slot.work * spec.multiplier
        slot.joined = node.clock
        slot.mark = node.clock + work
        return work * curves[spec.first_curve + node.busy]
    if spec.kind == STATIC_BATCHES:
        duration = slot.work * curves[spec.first_curve + slot.count - 1]
        duration = duration * spec.multiplier + spec.rtt
    else:
        duration = max(MIN_CLOUD_TIME, slot.work * spec.multiplier) + spec.rtt
    slot.mark = now + duration
    return duration


@compiled
def _read_clock(spec, node, curves, now):
    """Advances the virtual clock to now."""
    if node.busy == 0:
        node.clock = 0.0  # restart, so that rounding does not accumulate
    else:
        node.clock += (now - node.clock_time) / curves[spec.first_curve + node.busy - 1]
    node.clock_time = now


@compiled
def end_service(spec, node, slot, now):
    """Takes note that a slot has finished now."""
    if spec.kind == SEQUENCES:
        # The clock reads exactly the finishing mark: no drift from the time's rounding.
        node.clock = slot.mark
        node.clock_time = now


@compiled
def schedule(spec, node, slots, curves):
    """Finds the time of a node's next completion."""
    if node.busy == 0:
        node.next = np.inf
        return
    mark = slots[slots[spec.first_slot].order].mark
    if spec.kind == SEQUENCES:
        left = max(0.0, mark - node.clock)
        node.next = node.clock_time + left * curves[spec.first_curve + node.busy - 1]
    else:
        node.next = mark


@compiled
def attain(spec, node, slot, curves, now):
    """Works out how much service (s of the longest member's work) a busy slot has attained."""
    if spec.kind == SEQUENCES:
        since = (now - node.clock_time) / curves[spec.first_curve + node.busy - 1]
        slot.attained = max(0.0, node.clock + since - slot.joined)
    else:
        slot.attained = (now - slot.start) / curves[spec.first_curve + slot.count - 1]
