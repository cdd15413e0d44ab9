"""Compiled feature writers: a lane's state as numbers of fixed scale.

All float observations of all lanes share one flat float32 buffer, one block per key, in the order
of `ObservationLayout`; a block holds the lanes one after the other.

Unbounded quantities x >= 0 are shown as x / (x + scale), which lies in [0, 1) and is one half at
the scale. Nothing here reads the base time of a request that is waiting or running.
"""

from __future__ import annotations

import numpy as np

from edgecloud_gym.nodes import CLOUD_NODE, EDGE_NODE
from edgecloud_gym.simulator.compiled.inlining import inlined, merged
from edgecloud_gym.simulator.compiled.memory import copy
from edgecloud_gym.simulator.compiled.node_features import write_nodes
from edgecloud_gym.simulator.compiled.queueing import oldest_waiting
from edgecloud_gym.simulator.compiled.room import find_room
from edgecloud_gym.simulator.compiled.service import attain
from edgecloud_gym.simulator.compiled.squash import squash
from edgecloud_gym.simulator.observation import (
    CANDIDATES,
    CLOUD,
    CLUSTER,
    EDGE,
    HISTORY,
    SCORE_LIMIT,
    SYSTEM,
)
from edgecloud_gym.simulator.state import BY_ARRIVAL, BY_CALLABLE

# Positions by name, as constants of the compiled code.
_CANDIDATE = CANDIDATES.positions
_EDGE = EDGE.positions
_CLOUD = CLOUD.positions
_CLUSTER = CLUSTER.positions
_SYSTEM = SYSTEM.positions
_HISTORY = HISTORY.positions


@inlined
def _busy_share(v, k):
    """Which share of a node's services run."""
    return v.states[k].busy / max(1, v.nodes[k].services)


@inlined
def sample_history(p, lane, v):
    """Appends a telemetry sample of a pair to the ring ``v.history`` (H, features)."""
    row = v.history[lane.samples % v.history.shape[0]]
    row[_HISTORY.queue_length] = squash(lane.queue_length, p.candidates)
    row[_HISTORY.edge_busy] = _busy_share(v, EDGE_NODE)
    row[_HISTORY.cloud_busy] = _busy_share(v, CLOUD_NODE)
    row[_HISTORY.arrivals] = squash(lane.arrived - lane.sampled_arrived, p.count_scale)
    row[_HISTORY.completions] = squash(lane.done - lane.sampled_done, p.count_scale)
    lane.sampled_arrived = lane.arrived
    lane.sampled_done = lane.done
    lane.samples += 1
    lane.next_sample = (lane.samples + 1) * p.interval


@inlined
def _standardised(p, lane, score):
    if p.priority_mode == BY_ARRIVAL:
        return 0.0
    mean = p.score_mean
    std = p.score_std
    if p.priority_mode == BY_CALLABLE:
        mean = lane.score_mean
        std = np.sqrt(lane.score_m2 / max(1, lane.scored))
    if std <= 0.0:
        return 0.0
    return min(max((score - mean) / std, -SCORE_LIMIT), SCORE_LIMIT)


@inlined
def _write_candidates(p, lane, requests, window, table, out, at):
    end = at + p.candidates * len(_CANDIDATE)
    for j in range(lane.window_size):
        request = requests[window[j]]
        out[at + _CANDIDATE.present] = 1.0
        out[at + _CANDIDATE.waited] = squash(lane.now - request.arrival, p.time_scale)
        out[at + _CANDIDATE.prompt_tokens] = table[request.row].prompt_tokens
        score = request.score - p.ageing * request.arrival
        out[at + _CANDIDATE.score] = _standardised(p, lane, score)
        at += len(_CANDIDATE)
    out[at:end] = 0.0


@inlined
def _write_ids(lane, requests, window, ids):
    size = lane.window_size
    for j in range(size):
        ids[j] = requests[window[j]].row
    ids[size:] = -1


@inlined
def _write_mask(lane, states, shut, mask):
    """Marks what is possible: to wait always, a node with room for a candidate.

    ``shut`` is what is possible where no node has room: one copy, not a number of small writes.
    """
    copy(shut, 0, mask, 0, len(shut))
    for k in range(len(states)):
        if states[k].room > 0:
            for j in range(lane.window_size):
                mask[j, 1 + k] = 1


@inlined
def _write_embeddings(p, lane, requests, window, embeddings, out, at):
    width = embeddings.shape[1]
    end = at + p.candidates * width
    for j in range(lane.window_size):
        copy(embeddings, requests[window[j]].row * width, out, at, width)
        at += width
    out[at:end] = 0.0


@inlined
def _write_edge(p, lane, v, out, at):
    spec = v.nodes[EDGE_NODE]
    for index in range(spec.first_slot, spec.first_slot + spec.services):
        slot = v.slots[index]
        if slot.count == 0:
            out[at : at + len(_EDGE)] = 0.0
        else:
            attain(spec, v.states[EDGE_NODE], slot, v.curves, lane.now)
            out[at + _EDGE.busy] = 1.0
            out[at + _EDGE.fill] = slot.count / spec.capacity
            out[at + _EDGE.elapsed] = squash(lane.now - slot.start, p.time_scale)
            out[at + _EDGE.attained] = squash(slot.attained, p.time_scale)
        at += len(_EDGE)


@inlined
def _write_cloud(p, lane, v, out, at):
    spec = v.nodes[CLOUD_NODE]
    for index in range(spec.first_slot, spec.first_slot + spec.services):
        slot = v.slots[index]
        if slot.count > 0:
            out[at + _CLOUD.busy] = 1.0
            out[at + _CLOUD.elapsed] = squash(lane.now - slot.start, p.time_scale)
        else:
            out[at : at + len(_CLOUD)] = 0.0
        at += len(_CLOUD)


@inlined
def _longest_wait(lane, requests):
    if lane.queue_length == 0:
        return 0.0
    return lane.now - requests[oldest_waiting(lane, requests)].arrival


@merged
def _write_system(p, lane, v, step, out, at):
    out[at + _SYSTEM.queue_length] = squash(lane.queue_length, p.candidates)
    out[at + _SYSTEM.edge_busy] = _busy_share(v, EDGE_NODE)
    out[at + _SYSTEM.cloud_busy] = _busy_share(v, CLOUD_NODE)
    out[at + _SYSTEM.time] = min(1.0, lane.now / p.duration)
    out[at + _SYSTEM.arrivals_over] = 1.0 if lane.now >= p.duration else 0.0
    out[at + _SYSTEM.longest_wait] = squash(_longest_wait(lane, v.requests), p.time_scale)
    out[at + _SYSTEM.elapsed] = squash(step.elapsed, p.time_scale)


@merged
def _write_cluster(p, lane, v, step, out, at):
    """Writes the same of a cluster, whose nodes have a block of their own."""
    out[at + _CLUSTER.queue_length] = squash(lane.queue_length, p.candidates)
    out[at + _CLUSTER.time] = min(1.0, lane.now / p.duration)
    out[at + _CLUSTER.arrivals_over] = 1.0 if lane.now >= p.duration else 0.0
    out[at + _CLUSTER.longest_wait] = squash(_longest_wait(lane, v.requests), p.time_scale)
    out[at + _CLUSTER.elapsed] = squash(step.elapsed, p.time_scale)


@merged
def _write_history(lane, history, out, at):
    """Copies the ring, oldest sample first; rows before the first sample are zero."""
    size = history.size
    start = lane.samples % history.shape[0] * len(_HISTORY)
    copy(history, start, out, at, size - start)
    copy(history, 0, out, at + size - start, start)


@merged
def settle(p, lane, v, engines):
    """Reads what agents are told of the nodes: their room and, as often as they may, their rows."""
    find_room(v)
    if not p.pair and lane.now - lane.signal_time >= p.signal_age:
        write_nodes(p, lane, v, engines)
        lane.signal_time = lane.now


@merged
def observe_lane(p, lane, v, i, lanes, embeddings, shut, step, out, ids, masks):
    """Writes lane ``i`` of ``lanes``, settled, into the buffers ``out``, ``ids`` and ``masks``."""
    _write_mask(lane, v.states, shut, masks[i])
    if ids.shape[1] > 0:
        _write_ids(lane, v.requests, v.window, ids[i])
    at = lanes * p.start_candidates + i * p.candidates * len(_CANDIDATE)
    _write_candidates(p, lane, v.requests, v.window, v.table, out, at)
    if p.pair:
        at = lanes * p.start_edge + i * v.nodes[EDGE_NODE].services * len(_EDGE)
        _write_edge(p, lane, v, out, at)
        at = lanes * p.start_cloud + i * v.nodes[CLOUD_NODE].services * len(_CLOUD)
        _write_cloud(p, lane, v, out, at)
        _write_system(p, lane, v, step, out, lanes * p.start_system + i * len(_SYSTEM))
    else:
        at = lanes * p.start_nodes + i * len(v.signals)
        copy(v.signals, 0, out, at, len(v.signals))
        _write_cluster(p, lane, v, step, out, lanes * p.start_system + i * len(_CLUSTER))
    if len(v.history) > 0:
        at = lanes * p.start_history + i * len(v.history) * len(_HISTORY)
        _write_history(lane, v.history, out, at)
    if embeddings.shape[1] > 0:
        at = lanes * p.start_embeddings + i * p.candidates * embeddings.shape[1]
        _write_embeddings(p, lane, v.requests, v.window, embeddings, out, at)
