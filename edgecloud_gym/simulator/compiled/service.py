"""Compiled service times: how long a node takes for what it is given.

Nothing else knows how requests slow each other down. A static batch takes its longest base latency
times the slowdown of its size. In continuous batching the edge has a virtual clock, the service
that each running request has attained: while n run it advances at rate 1 / s(n), so that a request
leaves when the clock has advanced by its base latency, whoever joins and leaves meanwhile. The
cloud serves each request on its own.
"""

from __future__ import annotations

import numba
import numpy as np

from edgecloud_gym.simulator.workload import MIN_CLOUD_TIME


@numba.njit
def start_edge(p, lane, slot, slowdown):
    """Starts an edge slot whose count and work are set; returns its processing time (s).

    ``lane.edge_busy`` does not count the slot yet. In continuous batching the time depends on who
    joins and leaves later; the one returned holds if nobody does.
    """
    slot.start = lane.now
    if p.continuous:
        _read_clock(lane, slowdown)
        slot.joined = lane.clock
        slot.mark = lane.clock + slot.work
        return slot.work * slowdown[lane.edge_busy]
    duration = slot.work * slowdown[slot.count - 1]
    slot.mark = lane.now + duration
    return duration


@numba.njit
def _read_clock(lane, slowdown):
    """Advances the virtual clock to now."""
    if lane.edge_busy == 0:
        lane.clock = 0.0  # restart, so that rounding does not accumulate
    else:
        lane.clock += (lane.now - lane.clock_time) / slowdown[lane.edge_busy - 1]
    lane.clock_time = lane.now


@numba.njit
def end_edge(p, lane, slot):
    """Takes note that an edge slot has finished now."""
    if p.continuous:
        # The clock reads exactly the finishing mark: no drift from the time's rounding.
        lane.clock = slot.mark
        lane.clock_time = lane.now


@numba.njit
def schedule_edge(p, lane, slots, slowdown):
    """Finds the time of the next edge completion."""
    if lane.edge_busy == 0:
        lane.next_edge = np.inf
        return
    mark = slots[slots[0].order].mark
    if p.continuous:
        left = max(0.0, mark - lane.clock)
        lane.next_edge = lane.clock_time + left * slowdown[lane.edge_busy - 1]
    else:
        lane.next_edge = mark


@numba.njit
def attain_edge(p, lane, slot, slowdown):
    """Works out how much service (s of base latency) an edge slot has attained by now."""
    if p.continuous:
        since = (lane.now - lane.clock_time) / slowdown[lane.edge_busy - 1]
        slot.attained = max(0.0, lane.clock + since - slot.joined)
    else:
        slot.attained = (lane.now - slot.start) / slowdown[slot.count - 1]


@numba.njit
def start_cloud(p, lane, slot):
    """Starts a cloud slot whose work is set; returns its processing time (s)."""
    duration = max(MIN_CLOUD_TIME, slot.work * p.multiplier) + p.rtt
    slot.start = lane.now
    slot.mark = lane.now + duration
    return duration
