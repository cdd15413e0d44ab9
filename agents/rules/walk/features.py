"""What is shown on the walk, of one lane: `edgecloud_gym.wrappers.walk_features`, compiled."""

from __future__ import annotations

from typing import Final

import numpy as np

from agents.rules.placement import fitting, time_among
from agents.rules.plan import places
from agents.rules.walk.packing import (
    FEATURES,
    LOG_OUTPUT,
    LOG_TIME,
    OUTPUT,
    PROMPT,
    SHOWN_PROMPT,
    TIME,
    candidate_size,
    placement_of,
)
from edgecloud_gym.simulator.compiled.inlining import compiled
from edgecloud_gym.simulator.observation import NODES
from edgecloud_gym.wrappers.forecast import FEATURE_LIMIT
from edgecloud_gym.wrappers.node_times import NEVER
from edgecloud_gym.wrappers.walk_features import CANDIDATE, WALK_NODES, WALK_SYSTEM

_C: Final = CANDIDATE.positions
_N: Final = WALK_NODES.positions
_S: Final = WALK_SYSTEM.positions
_SIGNALS: Final = len(NODES)
_COLUMNS: Final = len(WALK_NODES)
_CANDIDATE: Final = len(CANDIDATE)


@compiled
def _shown(value):
    """Returns a number as an observation shows it: a float32 within the limits."""
    return np.float64(np.float32(min(max(value, -FEATURE_LIMIT), FEATURE_LIMIT)))


@compiled
def show_candidate(d, at, out):
    """Writes what is known of the candidate at hand."""
    request = d.requests[d.window[at]]
    facts = d.facts[request.row]
    own = facts[LOG_TIME]
    waited = d.lane[0].now - request.arrival
    behind = 0.0
    size = d.lane[0].window_size
    for j in range(at + 1, size):
        behind += d.facts[d.requests[d.window[j]].row, LOG_TIME]
    count = size - at - 1
    gap = 0.0
    mean = own
    if count > 0:
        gap = d.facts[d.requests[d.window[at + 1]].row, LOG_TIME] - own
        mean = behind / count
    out[_C.time] = _shown(own)
    out[_C.output] = _shown(facts[LOG_OUTPUT])
    out[_C.prompt] = _shown(facts[SHOWN_PROMPT])
    out[_C.waited] = _shown(waited / (waited + d.settings[0].time_scale))
    out[_C.position] = _shown(at / len(d.window))
    out[_C.gap] = _shown(gap)
    out[_C.behind] = _shown(mean)
    for k in range(candidate_size(d.parameters) - _CANDIDATE):
        out[_CANDIDATE + k] = _shown(facts[FEATURES + k])


@compiled
def show_system(d, sent, out):
    """Writes what is known of the system, but for the closed nodes."""
    lane = d.lane[0]
    scale = d.settings[0].time_scale
    longest = 0.0
    if lane.queue_length > 0:
        oldest = d.requests[min(lane.oldest, len(d.requests) - 1)]
        longest = max(0.0, lane.now - oldest.arrival)
    others = lane.queue_length - 1
    room = 0.0
    for k in range(len(d.room)):
        others -= int(sent[k])
        room += d.room[k] / max(1, places(d, k))
    out[_S.queue] = _shown(np.log1p(float(max(0, others))))
    out[_S.requests] = _shown(np.log1p(float(lane.queue_length + lane.dispatched)))
    out[_S.longest] = _shown(longest / (longest + scale))
    out[_S.over] = 1.0 if lane.now >= d.settings[0].duration else 0.0
    out[_S.room] = _shown(room / len(d.room))


@compiled
def _show_signals(d, k, out):
    """Writes a node as a cluster's observation shows it; of a pair the same, now."""
    if d.settings[0].pair == 0:
        for column in range(_SIGNALS):
            out[column] = np.float64(d.signals[k * _SIGNALS + column])
        return
    spec = d.nodes[k]
    for column in range(_SIGNALS):
        out[column] = 0.0
    out[spec.kind] = 1.0
    out[_N.rtt] = _shown(spec.rtt / (spec.rtt + d.settings[0].time_scale))
    out[_N.speed] = _shown(spec.speed)
    out[_N.room] = _shown(d.room[k] / max(1, places(d, k)))
    out[_N.running] = _shown(min(1.0, d.states[k].busy / max(1, spec.services)))


@compiled
def _show_node(d, walk, k, facts, out):
    """Writes a node but for what compares it with others; returns the log of its time."""
    spec = d.nodes[k]
    base = facts[TIME]
    total = max(1, places(d, k))
    pair = d.settings[0].pair != 0
    _show_signals(d, k, out)
    seen = total * (1.0 - out[_N.room])
    occupied = np.rint(seen if pair else seen + walk.sent[k])  # of a pair `room` is exact
    walk.plain[k] = NEVER
    if spec.services > 0:
        walk.plain[k] = time_among(
            d, placement_of(d.parameters), k, occupied, base, facts[PROMPT], facts[OUTPUT]
        )
    time = np.log(walk.plain[k]) + walk.lag[k]
    there = occupied + 1.0
    cost = np.log((there / max(1e-9, spec.rate) + 2.0 * walk.plain[k]) / 3.0) + walk.lag[k]
    fits = max(1.0, fitting(d, placement_of(d.parameters), k))
    share = d.room[k] / total
    gathered = walk.sent[k] > 0 and spec.capacity > 1
    fill = (int(walk.sent[k]) - 1) % spec.capacity + 1 if gathered else 0
    out[_N.room] = _shown(share if pair else max(0.0, (total - occupied) / total))
    out[_N.open] = 1.0 if d.room[k] > 0 else 0.0
    out[_N.full] = 1.0 if occupied >= spec.services * spec.capacity else 0.0
    out[_N.sent] = _shown(min(1.0, walk.sent[k] / total))
    out[_N.fill] = _shown(fill / max(1, spec.capacity))
    out[_N.stretch] = _shown(np.log(base / walk.shortest[k])) if gathered else 0.0
    out[_N.time] = _shown(time)
    out[_N.crowded] = 1.0 if there > fits else 0.0
    out[_N.cost] = cost  # as it is, until it is compared
    out[_N.lag] = _shown(walk.lag[k])
    return time


@compiled
def show_nodes(d, walk, at, system):
    """Writes all nodes for the candidate at hand, and in ``system`` what closed ones tell."""
    nodes = len(d.room)
    facts = d.facts[d.requests[d.window[at]].row]
    closed = FEATURE_LIMIT
    least = cheapest = np.inf
    shares = 0.0
    opened = 0
    for k in range(nodes):
        time = _show_node(d, walk, k, facts, walk.shown[k * _COLUMNS : (k + 1) * _COLUMNS])
        walk.scores[1 + k] = time
        least = min(least, time)
        cheapest = min(cheapest, walk.shown[k * _COLUMNS + _N.cost])
        shares += d.room[k] / max(1, places(d, k))
        if d.room[k] > 0:
            opened += 1
        else:
            closed = min(closed, time)
    system[_S.closed] = _shown(closed)
    for k in range(nodes):
        out = walk.shown[k * _COLUMNS : (k + 1) * _COLUMNS]
        share = d.room[k] / max(1, places(d, k))
        out[_N.elsewhere] = _shown((shares - share) / max(1, nodes - 1))
        out[_N.only] = 1.0 if d.room[k] > 0 and opened == 1 else 0.0
        out[_N.cost] = _shown(out[_N.cost] - cheapest)
        out[_N.excess] = _shown(walk.scores[1 + k] - least)
