"""Compiled queue operations: the waiting queue with its candidate window, and pools of slots.

The waiting queue is a window of the first M requests, kept in order, and the rest behind it. In
arrival order the rest is a range of request ids; ordered by priority it is a binary heap. Either
way a step touches M requests and O((new + removed) log rest) more, however many wait.

A pool is a permutation of slot indices: the busy slots come first, as a binary heap by finish
mark, the free ones follow.

Every function takes one lane's arrays; see `edgecloud_gym.simulator.state` for the fields.
"""

from __future__ import annotations

from edgecloud_gym.simulator.compiled.inlining import compiled, inlined
from edgecloud_gym.simulator.parameters import WAITING
from edgecloud_gym.simulator.state import BY_ARRIVAL, BY_CALLABLE, BY_TABLE


@compiled
def _ranks_before(requests, a, b):
    """Whether request ``a`` ranks before ``b``: lower score first, then earlier arrival."""
    score_a = requests[a].score
    score_b = requests[b].score
    return score_a < score_b or (score_a == score_b and a < b)


@compiled
def _heap_push(lane, requests, heap, request):
    child = lane.heap_size
    lane.heap_size += 1
    while child > 0:
        parent = (child - 1) >> 1
        if not _ranks_before(requests, request, heap[parent]):
            break
        heap[child] = heap[parent]
        child = parent
    heap[child] = request


@compiled
def _heap_pop(lane, requests, heap):
    top = heap[0]
    lane.heap_size -= 1
    size = lane.heap_size
    moved = heap[size]
    hole = 0
    while True:
        child = 2 * hole + 1
        if child >= size:
            break
        if child + 1 < size and _ranks_before(requests, heap[child + 1], heap[child]):
            child += 1
        if not _ranks_before(requests, heap[child], moved):
            break
        heap[hole] = heap[child]
        hole = child
    heap[hole] = moved
    return top


@compiled
def _insert_by_priority(lane, requests, window, heap, request):
    """Places a request in the window, which is full or has nothing behind it."""
    size = lane.window_size
    if size == len(window):
        last = window[size - 1]
        if not _ranks_before(requests, request, last):
            _heap_push(lane, requests, heap, request)
            return
        _heap_push(lane, requests, heap, last)
        size -= 1
    position = size
    while position > 0 and _ranks_before(requests, request, window[position - 1]):
        window[position] = window[position - 1]
        position -= 1
    window[position] = request
    lane.window_size = size + 1


# This one and `admit` run at every step: called, they were handed some forty words of arrays,
# and a step of 1,024 lanes took 1.15 times as long.
@inlined
def refill(p, lane, requests, window, heap):
    """Drops the dispatched from the window, then fills it from the rest of the queue."""
    kept = 0
    for j in range(lane.window_size):
        request = window[j]
        if requests[request].slot == WAITING:
            window[kept] = request
            kept += 1
    if p.priority_mode == BY_ARRIVAL:
        # Everything before `admitted` has been in the window; the rest are those after it.
        while kept < len(window) and lane.admitted < lane.arrived:
            if requests[lane.admitted].slot == WAITING:
                window[kept] = lane.admitted
                kept += 1
            lane.admitted += 1
    else:
        while kept < len(window) and lane.heap_size > 0:
            request = _heap_pop(lane, requests, heap)
            if requests[request].slot == WAITING:
                window[kept] = request
                kept += 1
    lane.window_size = kept


@inlined
def admit(p, lane, requests, table, window, heap):
    """Brings the window up to date with dispatches and arrivals."""
    refill(p, lane, requests, window, heap)
    if p.priority_mode == BY_ARRIVAL:
        return
    while lane.admitted < lane.arrived:
        request = lane.admitted
        lane.admitted += 1
        if requests[request].slot != WAITING:
            continue  # it has left before it was seen, as in live systems
        if p.priority_mode == BY_TABLE:
            score = table[requests[request].row].score
            requests[request].score = score + p.ageing * requests[request].arrival
        else:
            _update_moments(lane, requests[request].score)
        _insert_by_priority(lane, requests, window, heap, request)


@compiled
def _update_moments(lane, score):
    """Welford's running mean and sum of squared deviations of the scores given."""
    lane.scored += 1
    deviation = score - lane.score_mean
    lane.score_mean += deviation / lane.scored
    lane.score_m2 += deviation * (score - lane.score_mean)


@compiled
def reorder(p, lane, requests, window, heap):
    """Ranks every waiting request anew, after their scores have changed."""
    lane.window_size = 0
    lane.heap_size = 0
    if p.priority_mode == BY_CALLABLE:
        lane.scored = 0
        lane.score_mean = 0.0
        lane.score_m2 = 0.0
    for request in range(lane.oldest, lane.admitted):
        if requests[request].slot == WAITING:
            if p.priority_mode == BY_CALLABLE:
                _update_moments(lane, requests[request].score)
            _insert_by_priority(lane, requests, window, heap, request)


@compiled
def requeue(p, lane, requests, window, heap, request):
    """Puts a request that had been dispatched back where it was in the waiting queue."""
    lane.oldest = min(lane.oldest, request)
    if p.priority_mode != BY_ARRIVAL:
        # As long as it does not wait: the window may still have it from before.
        refill(p, lane, requests, window, heap)
    requests[request].slot = WAITING
    if p.priority_mode == BY_ARRIVAL:
        # Those before `admitted` are taken for having been in the window: it is filled anew.
        lane.window_size = 0
        lane.admitted = lane.oldest
    else:
        _insert_by_priority(lane, requests, window, heap, request)


@compiled
def oldest_waiting(lane, requests):
    """Returns the waiting request that arrived first; there must be one."""
    while requests[lane.oldest].slot != WAITING:
        lane.oldest += 1
    return lane.oldest


@compiled
def push_busy(slots, first, busy, slot):
    """Adds a slot, whose mark is set, to the heap of the ``busy`` busy ones of its pool."""
    child = busy
    mark = slots[slot].mark
    while child > 0:
        parent = (child - 1) >> 1
        other = slots[first + parent].order
        if slots[other].mark <= mark:
            break
        slots[first + child].order = other
        child = parent
    slots[first + child].order = slot


@compiled
def pop_busy(slots, first, busy):
    """Frees the busy slot of the lowest mark and returns it; ``busy`` counts it still."""
    top = slots[first].order
    size = busy - 1
    moved = slots[first + size].order
    mark = slots[moved].mark
    hole = 0
    while True:
        child = 2 * hole + 1
        if child >= size:
            break
        low = slots[first + child].order
        if child + 1 < size:
            right = slots[first + child + 1].order
            if slots[right].mark < slots[low].mark:
                child += 1
                low = right
        if mark <= slots[low].mark:
            break
        slots[first + hole].order = low
        hole = child
    slots[first + hole].order = moved
    slots[first + size].order = top
    slots[top].count = 0
    return top
