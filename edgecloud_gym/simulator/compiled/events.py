"""The compiled event loop: moves lanes from one decision epoch to the next.

Nothing here knows of Gymnasium. `step_lanes` is the only function called from Python; what it does
is chosen by stage flags, so that one compilation serves stepping, resetting and re-ranking, the
single environment and the vector environment.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numba
import numpy as np

from edgecloud_gym.simulator.compiled.cache import CompiledFunction
from edgecloud_gym.simulator.compiled.dispatch import apply_action, fill_idle
from edgecloud_gym.simulator.compiled.features import observe_lane, sample_history
from edgecloud_gym.simulator.compiled.prefetch import prefetch
from edgecloud_gym.simulator.compiled.queueing import admit, pop_busy, reorder
from edgecloud_gym.simulator.compiled.room import cloud_is_free, edge_is_free
from edgecloud_gym.simulator.compiled.service import end_edge, schedule_edge

# Stages of `step_lanes`.
APPLY: Final = 1  # the action
ADVANCE: Final = 2  # to the next decision epoch
OBSERVE: Final = 4  # admit the arrivals and write the observation
REORDER: Final = 8  # rank the waiting queue anew
HOLD: Final = 16  # a step in which nothing happens and no time passes
STEP: Final = APPLY | ADVANCE | OBSERVE
START: Final = ADVANCE | OBSERVE

AHEAD: Final = 4  # lanes between asking for memory and using it


@numba.njit
def _complete(p, lane, requests, finished, request, step):
    requests[request].finish = lane.now
    finished[lane.done] = request
    lane.done += 1
    step.completed += 1
    # The objective first: without one, the request's cold memory need not be read.
    if p.slo < np.inf and lane.now - requests[request].arrival > p.slo:
        step.slo_violations += 1


@numba.njit
def _process_events(p, lane, requests, finished, slots, members, slowdown, step):
    """Processes every completion and arrival that is due now."""
    step.arrivals = 0
    step.services_ended = 0
    while lane.edge_busy > 0 and lane.next_edge <= lane.now:
        slot = slots[0].order
        end_edge(p, lane, slots[slot])
        count = slots[slot].count
        for j in range(count):
            _complete(p, lane, requests, finished, members[slot, j], step)
        pop_busy(slots, 0, lane.edge_busy)
        lane.edge_busy -= 1
        lane.edge_requests -= count
        step.services_ended += 1
        schedule_edge(p, lane, slots, slowdown)
    first = p.edge_slots
    while lane.cloud_busy > 0 and slots[slots[first].order].mark <= lane.now:
        slot = pop_busy(slots, first, lane.cloud_busy)
        lane.cloud_busy -= 1
        step.services_ended += 1
        _complete(p, lane, requests, finished, slots[slot].request, step)
    while lane.arrived < lane.requests and requests[lane.arrived].arrival <= lane.now:
        lane.arrived += 1
        lane.queue_length += 1
        step.arrivals += 1


@numba.njit
def _next_event(p, lane, requests, slots):
    time = lane.next_edge
    if lane.cloud_busy > 0:
        time = min(time, slots[slots[p.edge_slots].order].mark)
    if lane.arrived < lane.requests:
        time = min(time, requests[lane.arrived].arrival)
    return time


@numba.njit
def _pass_time(p, lane, history, until, step):
    """Moves the clock to ``until``, over which nothing happens, and integrates."""
    if history.shape[0] > 0:
        while lane.next_sample <= until:
            sample_history(p, lane, history)
    passed = until - lane.now
    step.jct -= passed * (lane.queue_length + lane.edge_requests + lane.cloud_busy)
    step.cloud_seconds += passed * lane.cloud_busy
    lane.now = until


@numba.njit
def _is_epoch(p, lane):
    return lane.queue_length > 0 and (edge_is_free(p, lane) or cloud_is_free(p, lane))


@numba.njit
def _advance(
    p, lane, requests, finished, window, slots, members, history, table, slowdown, dispatched, step
):
    """Moves to the next decision epoch, or to the end of the episode.

    ``dispatched`` tells whether the action dispatched anything: if so, now may be an epoch again.
    """
    while not (dispatched and _is_epoch(p, lane)):
        time = _next_event(p, lane, requests, slots)
        if not p.drain and time > p.duration:
            _pass_time(p, lane, history, p.duration, step)
            step.truncated = True
            break
        if time == np.inf:
            if lane.queue_length == 0:
                step.terminated = True
                break
            waiting = lane.queue_length
            step.makespan -= fill_idle(
                p, lane, requests, window, slots, members, table, slowdown, True
            )
            step.forced_dispatches += waiting - lane.queue_length
        else:
            _pass_time(p, lane, history, time, step)
            _process_events(p, lane, requests, finished, slots, members, slowdown, step)
        dispatched = True


@numba.njit
def _begin_step(lane, step):
    step.arrivals = 0
    step.services_ended = 0
    step.invalid_assignments = 0
    step.forced_dispatches = 0
    step.jct = 0.0
    step.completed = 0
    step.cloud_seconds = 0.0
    step.slo_violations = 0
    step.makespan = 0.0
    step.terminated = False
    step.truncated = False
    lane.epoch_time = lane.now
    lane.done_before = lane.done


@numba.njit
def _end_step(stage, p, lane, step):
    if not stage & APPLY:
        # A reset cannot end an episode: one without arrivals ends at its first step.
        step.terminated = False
        step.truncated = False
    step.time = lane.now
    step.elapsed = lane.now - lane.epoch_time
    step.queue_length = lane.queue_length
    step.in_service = lane.edge_requests + lane.cloud_busy
    step.completed_total = lane.done
    step.reward = (
        p.weight_jct * step.jct
        + p.weight_makespan * step.makespan
        + p.weight_completed * step.completed
        + p.weight_cloud_seconds * step.cloud_seconds
        + p.weight_slo_violations * step.slo_violations
    )


@numba.njit
def _prefetch_requests(i, lanes, requests, finished, window):
    """Asks for what the next step of lane ``i`` reads and writes of its requests."""
    lane = lanes[i]
    if lane.arrived < requests.shape[1]:
        prefetch(requests, i, lane.arrived)
    if lane.done < finished.shape[1]:
        prefetch(finished, i, lane.done)
    if lane.window_size > 0:
        prefetch(requests, i, window[i, 0])


def _build(sources: str, cache: bool) -> Callable[..., Any]:
    # Nothing is allocated here, so that Numba's reference counting can be off: its atomic
    # operations on views were 60 % of a step.
    @numba.njit(cache=cache, nogil=True, error_model="numpy", _nrt=False)
    def step_lanes(
        stage,
        first,
        last,
        active,
        actions,
        parameters,
        slowdown,
        table,
        embeddings,
        lanes,
        requests,
        finished,
        window,
        heap,
        slots,
        members,
        history,
        steps,
        out,
        ids,
        masks,
    ):
        sources  # noqa: B018 - captured, so that it is part of the cache key
        p = parameters[0]
        for i in range(first, last):
            if i + AHEAD < last:
                _prefetch_requests(i + AHEAD, lanes, requests, finished, window)
            if not active[i]:
                continue
            lane = lanes[i]
            step = steps[i]
            queue = requests[i]
            done = finished[i]
            head = window[i]
            rest = heap[i]
            pool = slots[i]
            batch = members[i]
            ring = history[i]
            dispatched = False
            if stage & (APPLY | ADVANCE | HOLD):
                _begin_step(lane, step)
            if stage & APPLY:
                before = lane.queue_length
                apply_action(p, lane, queue, head, pool, batch, table, slowdown, actions[i], step)
                dispatched = lane.queue_length < before
            if stage & ADVANCE:
                _advance(
                    p, lane, queue, done, head, pool, batch, ring, table, slowdown, dispatched, step
                )
            if stage & (ADVANCE | HOLD):
                _end_step(stage, p, lane, step)
            if stage & REORDER:
                reorder(p, lane, queue, head, rest)
            if stage & OBSERVE:
                admit(p, lane, queue, table, head, rest)
                observe_lane(
                    p, lane, i, len(lanes), queue, head, pool, ring, table, slowdown, embeddings,
                    step, out, ids, masks,
                )  # fmt: skip

    compiled: Callable[..., Any] = step_lanes
    return compiled


step_lanes: Final = CompiledFunction(_build)
