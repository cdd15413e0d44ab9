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

from edgecloud_gym.simulator.compiled.backlog import start_queued
from edgecloud_gym.simulator.compiled.cache import CompiledFunction
from edgecloud_gym.simulator.compiled.dispatch import apply_action, fill_idle
from edgecloud_gym.simulator.compiled.engine import NONE
from edgecloud_gym.simulator.compiled.engine_node import (
    end_due_step,
    receive,
    schedule_engine,
)
from edgecloud_gym.simulator.compiled.features import observe_lane, sample_history, settle
from edgecloud_gym.simulator.compiled.inlining import inlined, merged
from edgecloud_gym.simulator.compiled.memory import prefetch, word
from edgecloud_gym.simulator.compiled.queueing import admit, reorder
from edgecloud_gym.simulator.compiled.room import any_is_free
from edgecloud_gym.simulator.compiled.service import schedule
from edgecloud_gym.simulator.compiled.slots import free_next, member_of
from edgecloud_gym.simulator.compiled.speed import change_speeds
from edgecloud_gym.simulator.compiled.views import Engines, View
from edgecloud_gym.simulator.parameters import ENGINE

# Stages of `step_lanes`.
APPLY: Final = 1  # the action
ADVANCE: Final = 2  # to the next decision epoch
OBSERVE: Final = 4  # admit the arrivals and write the observation
REORDER: Final = 8  # rank the waiting queue anew
HOLD: Final = 16  # a step in which nothing happens and no time passes
SETTLE: Final = 32  # what `OBSERVE` changes, without writing what it shows
STEP: Final = APPLY | ADVANCE | OBSERVE
START: Final = ADVANCE | OBSERVE
UNSEEN_STEP: Final = APPLY | ADVANCE | SETTLE

AHEAD: Final = 4  # lanes between asking for memory and using it


@inlined
def complete(p, lane, v, node, request, step):
    """Takes note that a request is done."""
    done = v.requests[request]
    done.finish = lane.now
    v.finished[lane.done] = request
    lane.done += 1
    lane.dispatched -= 1
    step.completed += 1
    if not p.pair:
        node.tokens -= v.table[done.row].tokens
    # The objective first: without one, the request's cold memory need not be read.
    if p.slo < np.inf and lane.now - done.arrival > p.slo:
        step.slo_violations += 1


@merged
def _end_services(p, lane, v, served, k, step):
    """Ends the services of a node that are due now, and starts who queues there."""
    spec = v.nodes[k]
    node = v.states[k]
    if served is not None:
        schedule(spec, node, v.slots, v.curves)  # what was due may be that somebody has come
    while node.busy > 0 and node.next <= lane.now:
        slot, count = free_next(lane, v, spec, node)
        for j in range(count):
            complete(p, lane, v, node, member_of(v, spec, slot, j), step)
        step.services_ended += 1
    if served is not None:
        start_queued(lane, v, spec, node, served)


@merged
def _run_engine(p, lane, v, served, engines, k, step):
    """Ends the step of an engine that ends now, and hands it what has come."""
    spec = v.nodes[k]
    node = v.states[k]
    request = end_due_step(lane, spec, node, served, engines)
    while request != NONE:
        complete(p, lane, v, node, request, step)
        step.services_ended += 1
        request = served[request].queued_next
    receive(lane, v, spec, node, served, engines)


@merged
def _process_events(p, lane, v, served, engines, step):
    """Processes all that is due now; returns whether something was completed or has arrived."""
    step.arrivals = 0
    step.services_ended = 0
    for k in range(len(v.nodes)):
        if v.states[k].next > lane.now:
            continue
        if engines is not None and v.nodes[k].kind == ENGINE:
            _run_engine(p, lane, v, served, engines, k, step)
            continue
        _end_services(p, lane, v, served, k, step)
    change_speeds(lane, v, served, engines)
    while lane.arrived < lane.requests and v.requests[lane.arrived].arrival <= lane.now:
        lane.arrived += 1
        lane.queue_length += 1
        step.arrivals += 1
    return step.arrivals + step.services_ended > 0


@merged
def _next_event(lane, v, served, engines):
    time = np.inf
    for k in range(len(v.nodes)):
        if engines is not None and v.nodes[k].kind == ENGINE:
            schedule_engine(v, v.nodes[k], v.states[k], served, engines)
        time = min(time, v.states[k].next)
    if lane.arrived < lane.requests:
        time = min(time, v.requests[lane.arrived].arrival)
    return time


@merged
def pass_time(p, lane, v, until, step):
    """Moves the clock to ``until``, over which nothing happens, and integrates."""
    if v.history.shape[0] > 0:
        while lane.next_sample <= until:
            sample_history(p, lane, v)
    passed = until - lane.now
    step.jct -= passed * (lane.queue_length + lane.dispatched)
    step.cloud_seconds += passed * lane.slots_busy
    lane.now = until


@merged
def _advance(p, lane, v, served, engines, dispatched, step):
    """Moves to the next decision epoch, or to the end of the episode.

    ``dispatched`` tells whether the action dispatched anything: if so, now may be an epoch again.
    Otherwise the next one comes when something was completed or has arrived.
    """
    may_be_epoch = dispatched
    while not (may_be_epoch and lane.queue_length > 0 and any_is_free(v)):
        time = _next_event(lane, v, served, engines)
        if time < np.inf:  # a change of speed alone keeps no episode going
            time = min(time, lane.next_change)
        if not p.drain and time > p.duration:
            pass_time(p, lane, v, p.duration, step)
            step.truncated = True
            break
        if time == np.inf:
            if lane.queue_length == 0:
                step.terminated = True
                break
            waiting = lane.queue_length
            step.makespan -= fill_idle(p, lane, v, served, engines, True)
            step.forced_dispatches += waiting - lane.queue_length
            may_be_epoch = True
        else:
            pass_time(p, lane, v, time, step)
            may_be_epoch |= _process_events(p, lane, v, served, engines, step)


@inlined
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


@inlined
def end_step(stage, p, lane, step):
    """Writes what the step that ends now has yielded."""
    if not stage & APPLY:
        # A reset cannot end an episode: one without arrivals ends at its first step.
        step.terminated = False
        step.truncated = False
    step.time = lane.now
    step.elapsed = lane.now - lane.epoch_time
    step.queue_length = lane.queue_length
    step.in_service = lane.dispatched
    step.completed_total = lane.done
    step.reward = (
        p.weight_jct * step.jct
        + p.weight_makespan * step.makespan
        + p.weight_completed * step.completed
        + p.weight_cloud_seconds * step.cloud_seconds
        + p.weight_slo_violations * step.slo_violations
    )


@merged
def _run_lane(stage, p, lane, v, served, engines, action, rest, step):
    """Runs the stages of one lane but `OBSERVE`."""
    dispatched = False
    if stage & (APPLY | ADVANCE | HOLD):
        _begin_step(lane, step)
    if stage & APPLY:
        before = lane.queue_length
        apply_action(p, lane, v, served, engines, action, step)
        dispatched = lane.queue_length < before
    if stage & ADVANCE:
        _advance(p, lane, v, served, engines, dispatched, step)
    if stage & (ADVANCE | HOLD):
        end_step(stage, p, lane, step)
    if stage & REORDER:
        reorder(p, lane, v.requests, v.window, rest)


@inlined
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
        nodes,
        curves,
        changes,
        table,
        embeddings,
        shut,
        lanes,
        states,
        requests,
        finished,
        window,
        heap,
        slots,
        members,
        history,
        signals,
        steps,
        served,
        engines,
        out,
        ids,
        masks,
        told,
    ):
        sources  # noqa: B018 - captured, so that it is part of the cache key
        p = parameters[0]
        for i in range(first, last):
            if i + AHEAD < last:
                _prefetch_requests(i + AHEAD, lanes, requests, finished, window)
            if not active[i]:
                continue
            v = View(
                nodes, states[i], curves, changes, table, requests[i], finished[i], window[i],
                slots[i], members[i], history[i], signals[i],
            )  # fmt: skip
            ours = None if served is None else served[i]
            hosts = None
            if engines is not None:
                hosts = Engines(
                    engines.settings, engines.curves, engines.states[i], engines.sequences[i],
                    engines.phases[i],
                )  # fmt: skip
            _run_lane(stage, p, lanes[i], v, ours, hosts, actions[i], heap[i], steps[i])
            if stage & (OBSERVE | SETTLE):
                admit(p, lanes[i], v.requests, table, v.window, heap[i])
                settle(p, lanes[i], v, hosts)
            if stage & OBSERVE:
                observe_lane(
                    p, lanes[i], v, i, len(lanes), embeddings, shut, steps[i], out, ids, masks
                )
                for k in range(len(told)):
                    told[k, i] = word(steps, i, k)

    compiled: Callable[..., Any] = step_lanes
    return compiled


step_lanes: Final = CompiledFunction(_build)
