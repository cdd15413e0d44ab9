"""Compiled dispatch: puts waiting requests into free slots, as an action says or as they come."""

from __future__ import annotations

import numba

from edgecloud_gym.nodes import TO_CLOUD, TO_EDGE, WAIT
from edgecloud_gym.simulator.compiled.queueing import oldest_waiting, push_busy
from edgecloud_gym.simulator.compiled.room import cloud_is_free, edge_is_free
from edgecloud_gym.simulator.compiled.service import schedule_edge, start_cloud, start_edge
from edgecloud_gym.simulator.state import WAITING


@numba.njit
def _take(lane, requests, request, slot):
    """Moves a request from the queue to a slot."""
    requests[request].slot = slot
    requests[request].dispatch = lane.now
    lane.queue_length -= 1


@numba.njit
def _join_edge(lane, requests, slots, members, table, request):
    """Puts a request into the free edge slot that the next `_close_edge` starts."""
    index = slots[lane.edge_busy].order
    slot = slots[index]
    latency = table[requests[request].row].base_latency
    slot.work = max(slot.work, latency) if slot.count > 0 else latency
    members[index, slot.count] = request
    slot.count += 1
    _take(lane, requests, request, index)
    lane.edge_requests += 1


@numba.njit
def _close_edge(p, lane, slots, slowdown):
    """Starts what `_join_edge` gathered; returns its processing time (s)."""
    index = slots[lane.edge_busy].order
    duration = start_edge(p, lane, slots[index], slowdown)
    push_busy(slots, 0, lane.edge_busy, index)
    lane.edge_busy += 1
    schedule_edge(p, lane, slots, slowdown)
    return duration


@numba.njit
def _send_cloud(p, lane, requests, slots, table, request):
    """Starts a request in a free cloud slot; returns its processing time (s)."""
    index = slots[p.edge_slots + lane.cloud_busy].order
    slot = slots[index]
    slot.work = table[requests[request].row].base_latency
    slot.count = 1
    slot.request = request
    _take(lane, requests, request, index)
    duration = start_cloud(p, lane, slot)
    push_busy(slots, p.edge_slots, lane.cloud_busy, index)
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
        if j < lane.window_size and choice == TO_EDGE and edge_is_free(p, lane):
            _join_edge(lane, requests, slots, members, table, window[j])
            filled += 1
            if filled == p.batch_capacity:
                duration = _close_edge(p, lane, slots, slowdown)
                longest = max(longest, duration)
                filled = 0
        elif j < lane.window_size and choice == TO_CLOUD and cloud_is_free(p, lane):
            duration = _send_cloud(p, lane, requests, slots, table, window[j])
            longest = max(longest, duration)
        else:
            step.invalid_assignments += 1
    if filled > 0:
        duration = _close_edge(p, lane, slots, slowdown)
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
        to_edge = edge_is_free(p, lane)
        if not to_edge and not cloud_is_free(p, lane):
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
            _join_edge(lane, requests, slots, members, table, request)
            filled += 1
            if filled == p.batch_capacity:
                duration = _close_edge(p, lane, slots, slowdown)
                longest = max(longest, duration)
                filled = 0
        else:
            longest = max(longest, _send_cloud(p, lane, requests, slots, table, request))
    if filled > 0:
        duration = _close_edge(p, lane, slots, slowdown)
        longest = max(longest, duration)
    return longest
