"""The walk along the queue as a rule; see `edgecloud_gym.wrappers.walk.QueueWalk`."""

from __future__ import annotations

import numpy as np

from agents.rules.kept import kept_rule
from agents.rules.plan import NONE, first_open, send
from agents.rules.walk.features import show_candidate, show_nodes, show_system
from agents.rules.walk.network import score_choices
from agents.rules.walk.packing import (
    SKIPS,
    TIME,
    candidate_size,
    walk_of,
    weights_of,
)
from edgecloud_gym.simulator.compiled.inlining import compiled
from edgecloud_gym.wrappers.walk import MEMORY


@compiled
def _learn(d, walk):
    """Compares what has finished since the last step with what was predicted of it."""
    for i in range(d.lane[0].done_before, d.lane[0].done):
        who = d.finished[i]
        done = d.requests[who]
        lag = np.log((done.finish - done.dispatch) / walk.expected[who])
        if np.isfinite(lag):
            node = 0
            while node + 1 < len(d.nodes) and d.nodes[node + 1].first_slot <= done.slot:
                node += 1
            walk.lag[node] += MEMORY * (lag - walk.lag[node])


@compiled
def _may_wait(d, walk):
    """Tells whether the candidate may wait: no service stays idle that it could have."""
    if d.settings[0].work_conserving == 0:
        return True
    for k in range(len(d.room)):
        spec, state = d.nodes[k], d.states[k]
        begun = -(-int(walk.sent[k]) // max(1, spec.capacity))
        if d.room[k] > 0 and spec.services - state.busy - state.queued - begun > 0:
            return False
    return True


@compiled
def _likeliest(d, walk):
    """Returns the legal choice of the highest score: 0 to wait, or 1 + node."""
    best = 0
    most = walk.scores[0] if _may_wait(d, walk) else -np.inf
    for k in range(len(d.room)):
        if d.room[k] > 0 and walk.scores[1 + k] > most:
            best = 1 + k
            most = walk.scores[1 + k]
    return best


@kept_rule
def walk_rule(d):
    """Takes the likeliest choice for one candidate after the other.

    ``facts`` are those of `walk_facts`, parameters and memory those of `walk_parameters` and
    `walk_memory`.
    """
    walk = walk_of(d.memory, d.parameters, len(d.room))
    weights = weights_of(d.parameters)
    columns = candidate_size(d.parameters)
    candidate, system = walk.rest[:columns], walk.rest[columns:]
    _learn(d, walk)
    for k in range(len(d.room)):
        walk.sent[k] = 0.0
        walk.shortest[k] = np.inf
    skipped = 0
    for at in range(d.lane[0].window_size):
        if skipped > d.parameters[SKIPS] or first_open(d) == NONE:
            return
        show_candidate(d, at, candidate)
        show_system(d, walk.sent, system)
        show_nodes(d, walk, at, system)
        score_choices(d.parameters, weights, walk, system)
        choice = _likeliest(d, walk)
        if choice == 0:
            skipped += 1
            continue
        node = choice - 1
        who = d.window[at]
        walk.expected[who] = walk.plain[node]
        walk.shortest[node] = min(walk.shortest[node], d.facts[d.requests[who].row, TIME])
        walk.sent[node] += 1.0
        send(d, at, node)
