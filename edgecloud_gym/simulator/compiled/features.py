"""Compiled feature writers: a lane's state as numbers of fixed scale.

All float observations of all lanes share one flat float32 buffer, one block per key, in the order
of `edgecloud_gym.simulator.observation.Layout`; a block holds the lanes one after the other.

Unbounded quantities x >= 0 are shown as x / (x + scale), which lies in [0, 1) and is one half at
the scale. Nothing here reads the base time of a request that is waiting or running.
"""

from __future__ import annotations

import numba
import numpy as np

from edgecloud_gym.simulator.compiled.queueing import oldest_waiting
from edgecloud_gym.simulator.state import (
    BY_ARRIVAL,
    BY_CALLABLE,
    CANDIDATE_FEATURES,
    CLOUD_FEATURES,
    EDGE_FEATURES,
    HISTORY_FEATURES,
    SYSTEM_FEATURES,
)

SCORE_LIMIT = 5.0  # standard deviations


@numba.njit
def squash(value, scale):
    """Maps [0, inf) to [0, 1); one half at ``scale``."""
    return value / (value + scale)


@numba.njit
def _copy(source, target):
    """Copies equally long arrays; unlike a slice assignment, without a temporary."""
    for k in range(len(target)):
        target[k] = source[k]


@numba.njit
def sample_history(p, lane, history):
    """Appends a telemetry sample to the ring ``history`` (H, features)."""
    row = history[lane.samples % history.shape[0]]
    row[0] = squash(lane.queue_length, p.candidates)
    row[1] = lane.edge_busy / max(1, p.edge_slots)
    row[2] = lane.cloud_busy / max(1, p.cloud_slots)
    row[3] = squash(lane.arrived - lane.sampled_arrived, p.count_scale)
    row[4] = squash(lane.done - lane.sampled_done, p.count_scale)
    lane.sampled_arrived = lane.arrived
    lane.sampled_done = lane.done
    lane.samples += 1
    lane.next_sample = (lane.samples + 1) * p.interval


@numba.njit
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


@numba.njit
def _write_candidates(p, lane, i, requests, window, table, out, ids, masks):
    size = lane.window_size
    edge_free = lane.edge_busy < p.edge_slots
    cloud_free = lane.cloud_busy < p.cloud_slots
    at = i * p.candidates * CANDIDATE_FEATURES
    end = at + p.candidates * CANDIDATE_FEATURES
    mask = masks[i]
    for j in range(size):
        request = requests[window[j]]
        out[at] = 1.0
        out[at + 1] = squash(lane.now - request.arrival, p.time_scale)
        out[at + 2] = table[request.row].prompt_tokens
        out[at + 3] = _standardised(p, lane, request.score)
        mask[j, 0] = 1
        mask[j, 1] = edge_free
        mask[j, 2] = cloud_free
        at += CANDIDATE_FEATURES
    out[at:end] = 0.0
    mask[size:, 0] = 1
    mask[size:, 1:] = 0
    if ids.shape[1] > 0:
        for j in range(size):
            ids[i, j] = requests[window[j]].row
        ids[i, size:] = -1


@numba.njit
def _write_embeddings(p, lane, requests, window, embeddings, out, at):
    width = embeddings.shape[1]
    end = at + p.candidates * width
    for j in range(lane.window_size):
        _copy(embeddings[requests[window[j]].row], out[at : at + width])
        at += width
    out[at:end] = 0.0


@numba.njit
def _write_edge(p, lane, slots, slowdown, out, at):
    for slot in range(p.edge_slots):
        count = slots[slot].count
        if count == 0:
            out[at : at + EDGE_FEATURES] = 0.0
        else:
            elapsed = lane.now - slots[slot].start
            if p.continuous:
                since = (lane.now - lane.clock_time) / slowdown[lane.edge_busy - 1]
                attained = max(0.0, lane.clock + since - slots[slot].joined)
            else:
                attained = elapsed / slots[slot].slowdown
            out[at] = 1.0
            out[at + 1] = count / p.batch_capacity
            out[at + 2] = squash(elapsed, p.time_scale)
            out[at + 3] = squash(attained, p.time_scale)
        at += EDGE_FEATURES


@numba.njit
def _write_cloud(p, lane, slots, out, at):
    for slot in range(p.edge_slots, p.edge_slots + p.cloud_slots):
        busy = slots[slot].count > 0
        out[at] = 1.0 if busy else 0.0
        out[at + 1] = squash(lane.now - slots[slot].start, p.time_scale) if busy else 0.0
        at += CLOUD_FEATURES


@numba.njit
def _write_system(p, lane, requests, step, out, at):
    out[at] = squash(lane.queue_length, p.candidates)
    out[at + 1] = lane.edge_busy / max(1, p.edge_slots)
    out[at + 2] = lane.cloud_busy / max(1, p.cloud_slots)
    out[at + 3] = min(1.0, lane.now / p.duration)
    out[at + 4] = 1.0 if lane.now >= p.duration else 0.0
    out[at + 5] = 0.0
    if lane.queue_length > 0:
        arrival = requests[oldest_waiting(lane, requests)].arrival
        out[at + 5] = squash(lane.now - arrival, p.time_scale)
    out[at + 6] = squash(step.elapsed, p.time_scale)


@numba.njit
def _write_history(lane, history, out, at):
    """Copies the ring, oldest sample first; rows before the first sample are zero."""
    length = history.shape[0]
    start = lane.samples % length
    middle = at + (length - start) * HISTORY_FEATURES
    end = at + length * HISTORY_FEATURES
    flat = history.reshape(-1)
    _copy(flat[start * HISTORY_FEATURES :], out[at:middle])
    _copy(flat[: start * HISTORY_FEATURES], out[middle:end])


@numba.njit
def observe_lane(
    p,
    lane,
    i,
    lanes,
    requests,
    window,
    slots,
    history,
    table,
    slowdown,
    embeddings,
    step,
    out,
    ids,
    masks,
):
    """Writes lane ``i`` of ``lanes`` into the buffers ``out``, ``ids`` and ``masks``."""
    _write_candidates(p, lane, i, requests, window, table, out, ids, masks)
    block = lanes * p.candidates * CANDIDATE_FEATURES
    _write_edge(p, lane, slots, slowdown, out, block + i * p.edge_slots * EDGE_FEATURES)
    block += lanes * p.edge_slots * EDGE_FEATURES
    _write_cloud(p, lane, slots, out, block + i * p.cloud_slots * CLOUD_FEATURES)
    block += lanes * p.cloud_slots * CLOUD_FEATURES
    _write_system(p, lane, requests, step, out, block + i * SYSTEM_FEATURES)
    block += lanes * SYSTEM_FEATURES
    length = history.shape[0]
    if length > 0:
        _write_history(lane, history, out, block + i * length * HISTORY_FEATURES)
        block += lanes * length * HISTORY_FEATURES
    width = embeddings.shape[1]
    if width > 0:
        at = block + i * p.candidates * width
        _write_embeddings(p, lane, requests, window, embeddings, out, at)
