"""Compiled dispatch: puts waiting requests into free slots, as an action says or as they come."""

from __future__ import annotations

from typing import Final

import numba
import numpy as np

from edgecloud_gym.simulator.compiled.queueing import oldest_waiting, push_busy
from edgecloud_gym.simulator.state import WAITING
from edgecloud_gym.simulator.workload import MIN_CLOUD_TIME

# What an action says of a candidate.
WAIT: Final = 0
EDGE: Final = 1
CLOUD: Final = 2


@numba.njit
def _join_edge(lane, requests, slots, members, request):
    """Puts a request into the free edge slot that the next `_close_edge` starts."""
    slot = slots[lane.edge_busy].order
    members[slot, slots[slot].count] = request
    slots[slot].count += 1
    requests[request].slot = slot
    requests[request].dispatch = lane.now
    lane.queue_length -= 1
    lane.edge_requests += 1


@numba.njit
def _close_edge(p, lane, requests, slots, members, table, slowdown):
    """Starts what `_join_edge` gathered; returns its processing time (s).

    In continuous batching that time depends on who joins and leaves later; the one returned holds
    if nobody does.
    """
    slot = slots[lane.edge_busy].order
    count = slots[slot].count
    work = 0.0
    for j in range(count):
        work = max(work, table[requests[members[slot, j]].row].latency)
    slots[slot].start = lane.now
    if p.continuous:
        _read_clock(lane, slowdown, lane.edge_busy)
        slots[slot].joined = lane.clock
        slots[slot].mark = lane.clock + work
        duration = work * slowdown[lane.edge_busy]
    else:
        slots[slot].slowdown = slowdown[count - 1]
        duration = work * slowdown[count - 1]
        slots[slot].mark = lane.now + duration
    push_busy(slots, 0, lane.edge_busy, slot)
    lane.edge_busy += 1
    schedule_edge(p, lane, slots, slowdown)
    return duration


@numba.njit
def _read_clock(lane, slowdown, running):
    """Advances the virtual clock to now, ``running`` requests having shared the edge since."""
    if running == 0:
        lane.clock = 0.0  # restart, so that rounding does not accumulate
    else:
        lane.clock += (lane.now - lane.clock_time) / slowdown[running - 1]
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
def _start_cloud(p, lane, requests, slots, table, request):
    """Sends a request to a free cloud slot; returns its processing time (s)."""
    first = p.edge_slots
    slot = slots[first + lane.cloud_busy].order
    latency = table[requests[request].row].latency
    duration = max(MIN_CLOUD_TIME, latency * p.multiplier) + p.rtt
    slots[slot].start = lane.now
    slots[slot].mark = lane.now + duration
    slots[slot].count = 1
    slots[slot].request = request
    requests[request].slot = slot
    requests[request].dispatch = lane.now
    lane.queue_length -= 1
    push_busy(slots, first, lane.cloud_busy, slot)
    lane.cloud_busy += 1
    return duration


@numba.njit
def apply_action(p, lane, requests, window, slots, members, table, slowdown, action, step):
    """Dispatches what the action assigns, then fills idle slots if none may be."""
    longest = 0.0
    filled = 0  # requests gathered for the open edge slot
    for j in range(len(action)):
        choice = action[j]
        if choice == WAIT:
            continue
        if j < lane.window_size and choice == EDGE and lane.edge_busy < p.edge_slots:
            _join_edge(lane, requests, slots, members, window[j])
            filled += 1
            if filled == p.batch_capacity:
                duration = _close_edge(p, lane, requests, slots, members, table, slowdown)
                longest = max(longest, duration)
                filled = 0
        elif j < lane.window_size and choice == CLOUD and lane.cloud_busy < p.cloud_slots:
            duration = _start_cloud(p, lane, requests, slots, table, window[j])
            longest = max(longest, duration)
        else:
            step.invalid_assignments += 1
    if filled > 0:
        duration = _close_edge(p, lane, requests, slots, members, table, slowdown)
        longest = max(longest, duration)
    if p.work_conserving:
        duration = fill_idle(p, lane, requests, window, slots, members, table, slowdown, False)
        longest = max(longest, duration)
    step.makespan = -longest


@numba.njit
def fill_idle(p, lane, requests, window, slots, members, table, slowdown, oldest_first):
    """Gives idle slots, the edge's first, the candidates in order, or the oldest of all waiting.

    Returns the longest processing time (s) among those dispatched, 0 if there are none.
    """
    longest = 0.0
    filled = 0
    j = 0
    while lane.queue_length > 0:
        to_edge = lane.edge_busy < p.edge_slots
        if not to_edge and lane.cloud_busy == p.cloud_slots:
            break
        if oldest_first:
            request = oldest_waiting(lane, requests)
        else:
            while j < lane.window_size and requests[window[j]].slot != WAITING:
                j += 1
            if j == lane.window_size:
                break
            request = window[j]
        if to_edge:
            _join_edge(lane, requests, slots, members, request)
            filled += 1
            if filled == p.batch_capacity:
                duration = _close_edge(p, lane, requests, slots, members, table, slowdown)
                longest = max(longest, duration)
                filled = 0
        else:
            longest = max(longest, _start_cloud(p, lane, requests, slots, table, request))
    if filled > 0:
        duration = _close_edge(p, lane, requests, slots, members, table, slowdown)
        longest = max(longest, duration)
    return longest
