"""Compiled service times: how long a node takes for what it is given.

Nothing else knows how requests slow each other down. A static batch takes its longest base latency
times the slowdown of its size. Sequences have a virtual clock, the service that each running
request has attained: while n run it advances at rate 1 / s(n), so that a request leaves when the
clock has advanced by its work, whoever joins and leaves meanwhile. A slot serves its request on its
own. Engines have a package of their own.

All of that takes ``node.pace`` times as long, which is 1 unless the node's speed has changed; the
clock of batches and slots is the time that has passed, in seconds of work.
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
        read_clock(spec, node, curves, now)
        work = slot.work * spec.multiplier
        slot.joined = node.clock
        slot.mark = node.clock + work
        return work * (curves[spec.first_curve + node.busy] * node.pace)
    if spec.kind == STATIC_BATCHES:
        slot.joined = _worked(node, now)
        duration = slot.work * curves[spec.first_curve + slot.count - 1]
        duration = duration * spec.multiplier * node.pace + spec.rtt
    else:
        duration = max(MIN_CLOUD_TIME, slot.work * spec.multiplier) * node.pace + spec.rtt
    slot.mark = now + duration
    return duration


@compiled
def read_clock(spec, node, curves, now):
    """Advances a node's clock to now."""
    if spec.kind != SEQUENCES:
        node.clock = _worked(node, now)
    elif node.busy == 0:
        node.clock = 0.0  # restart, so that rounding does not accumulate
    else:
        node.clock += (now - node.clock_time) / _second(spec, node, curves)
    node.clock_time = now


@compiled
def _worked(node, now):
    """Returns what batches or slots would read on their clock now."""
    return node.clock + (now - node.clock_time) / node.pace


@compiled
def _second(spec, node, curves):
    """Returns how long each of the running sequences takes for a second of work (s)."""
    return curves[spec.first_curve + node.busy - 1] * node.pace


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
        node.next = node.clock_time + left * _second(spec, node, curves)
    else:
        node.next = mark


@compiled
def attain(spec, node, slot, curves, now):
    """Works out how much service (s of the longest member's work) a busy slot has attained."""
    if spec.kind == SEQUENCES:
        since = (now - node.clock_time) / _second(spec, node, curves)
        slot.attained = max(0.0, node.clock + since - slot.joined)
    else:
        worked = _worked(node, now) - slot.joined
        slot.attained = worked / curves[spec.first_curve + slot.count - 1]
