"""Compiled play of neural bandits: decisions and learning without a step of Python.

What `Bandit.play` and a `NeuralBandit` do between two steps of the system is done here for those
that explore by lot or by a width: the same decisions, on the same random numbers. A test plays both
and compares them. Every function takes ``d``, a `Decision`, or ``b``, a `Learner`, or both.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numba
import numpy as np

from agents.rules.draws import below, several_below, uniform
from agents.rules.kept import RULES
from agents.rules.plan import batch_room, candidates, row_of, takes_call
from agents.schedulers.bandits.compiled.learner import BY_LOT, BY_WIDTH, NOT_AT_ALL, Counts, Sums
from agents.schedulers.bandits.compiled.loops import copy
from agents.schedulers.bandits.compiled.lowest import choose_lowest
from agents.schedulers.bandits.compiled.network import (
    ADD_PRECISION,
    FOLDER,
    PREDICT,
    PREDICT_WIDTHS,
    TRAIN,
)
from edgecloud_gym.nodes import CLOUD_NODE, EDGE_NODE
from edgecloud_gym.simulator.compiled.cache import CompiledFunction
from edgecloud_gym.simulator.compiled.decision import begin_plan
from edgecloud_gym.simulator.compiled.events import ADVANCE, APPLY, SETTLE
from edgecloud_gym.simulator.compiled.inlining import compiled
from edgecloud_gym.simulator.compiled.pointers import call

# Places by name, as constants of the compiled code.
_COUNT: Final = Counts()
_SUM: Final = Sums()
_ONE = np.float32(1.0)


@compiled
def _has_learnt(b):
    return b.counts[_COUNT.seen] >= b.train_every


@compiled
def _ask(b, task, rows):
    """Lets the network do a task with dataset rows (n,)."""
    call(
        b.run,
        (task, b.net, b.table, rows, b.ones, b.nothing, b.outputs, b.widths, _ONE, _ONE),
    )


@compiled
def _predict(b, count):
    """Fills ``means`` for the first ``count`` rows; what the present network said is known."""
    version = b.counts[_COUNT.version]
    fresh = 0
    for j in range(count):
        if b.known[b.rows[j]] != version:
            b.fresh[fresh] = b.rows[j]
            fresh += 1
    learnt = _has_learnt(b)
    if fresh > 0 and learnt:
        _ask(b, PREDICT, b.fresh[:fresh])
    for j in range(fresh):
        b.known[b.fresh[j]] = version
        b.remembered[b.fresh[j]] = b.outputs[j] if learnt else 0.0
    for j in range(count):
        b.means[j] = b.remembered[b.rows[j]]


@compiled
def _score(b, count):
    """Fills ``scores`` for the first ``count`` rows, whose means are there."""
    for j in range(count):
        b.scores[j] = b.means[j]
    if b.exploration.way == BY_WIDTH and _has_learnt(b):
        _ask(b, PREDICT_WIDTHS, b.rows[:count])
        for j in range(count):
            b.scores[j] -= b.exploration.bonus * b.widths[j]


@compiled
def _lot_decides(d, b):
    return b.exploration.way == BY_LOT and uniform(d.random) < b.exploration.epsilon


@compiled
def _decide(d, b):
    """Fills a plan: the lowest scores go to the edge, then the lowest predictions to the cloud."""
    count = candidates(d)
    if not takes_call(d) or count == 0:
        return
    for j in range(count):
        b.rows[j] = row_of(d, j)
    _predict(b, count)
    edge = batch_room(d)
    cloud = min(d.room[CLOUD_NODE], count - edge)
    if edge > 0:
        if _lot_decides(d, b):
            several_below(d.random, count, edge, b.fresh)
            for j in range(edge):
                d.action[b.fresh[j]] = 1 + EDGE_NODE
        else:
            _score(b, count)
            choose_lowest(b.scores[:count], edge, 1 + EDGE_NODE, d.action)
    choose_lowest(b.means[:count], cloud, 1 + CLOUD_NODE, d.action)
    _note(d, b, count)


@compiled
def _note(d, b, count):
    """Notes down who was sent and what was predicted; the statistics take them in."""
    mean, std = b.moments[_SUM.mean], _deviation(b)
    picked = 0
    for j in range(count):
        if d.action[j] == 0:
            continue
        b.fresh[picked] = b.rows[j]
        picked += 1
        at = b.counts[_COUNT.sent]
        b.sent[at] = d.window[j]
        b.log_times[at] = mean + std * b.means[j]
        if b.moments[_SUM.weight] == 0.0:
            b.log_times[at] = np.nan
        b.counts[_COUNT.sent] += 1
    if picked > 0 and b.exploration.way == BY_WIDTH:
        _ask(b, ADD_PRECISION, b.fresh[:picked])


@compiled
def _score_arrivals(d, b):
    """Scores the requests that arrived since the last time, as many at once as there is room."""
    lane = d.lane[0]
    for first in range(lane.admitted, lane.arrived, len(b.rows)):
        count = min(len(b.rows), lane.arrived - first)
        for j in range(count):
            b.rows[j] = d.requests[first + j].row
        _predict(b, count)
        _score(b, count)
        for j in range(count):
            d.requests[first + j].score = b.scores[j]


@compiled
def _deviation(b):
    """Returns the standard deviation of the log times, as `RunningMoments.std`."""
    if b.moments[_SUM.deviations] <= 0.0:
        return 1.0
    return np.sqrt(b.moments[_SUM.deviations] / b.moments[_SUM.weight])


@compiled
def _take_in(b, log):
    """Updates the moments, as `RunningMoments.update`."""
    m = b.moments
    m[_SUM.weight] = b.discount * m[_SUM.weight] + 1.0
    deviation = log - m[_SUM.mean]
    m[_SUM.mean] += deviation / m[_SUM.weight]
    m[_SUM.deviations] *= b.discount
    m[_SUM.deviations] += deviation * (log - m[_SUM.mean])


@compiled
def _learn(d, b):
    """Learns from what finished in the last step, as `LatencyEstimator.add`."""
    lane = d.lane[0]
    if b.exploration.way == NOT_AT_ALL:
        return
    for k in range(lane.done_before, lane.done):
        _take_in(b, b.logs[d.requests[d.finished[k]].row])
    for k in range(lane.done_before, lane.done):
        row = d.requests[d.finished[k]].row
        place = b.counts[_COUNT.seen] % len(b.held)
        copy(b.table[row], b.contexts[place])
        b.held[place] = b.logs[row]
        b.counts[_COUNT.seen] += 1
        if b.counts[_COUNT.seen] % b.train_every == 0:
            _train(b)
    b.counts[_COUNT.completed] += lane.done - lane.done_before


@compiled
def _train(b):
    """Takes a training step on samples of what is kept, as `MLP.train`."""
    held = min(b.counts[_COUNT.seen], len(b.held))
    mean, std = b.moments[_SUM.mean], _deviation(b)
    for i in range(len(b.batch)):
        b.batch[i] = below(b.random, held)
        b.targets[i] = (b.held[b.batch[i]] - mean) / std
    b.counts[_COUNT.steps] += 1
    step = np.float64(b.counts[_COUNT.steps])
    rate = np.float32(b.learning_rate / (1.0 - 0.9**step))
    correction = np.float32(1.0 / np.sqrt(1.0 - 0.999**step))
    call(
        b.run,
        (TRAIN, b.net, b.contexts, b.batch, b.ones, b.targets, b.outputs, b.widths, rate,
         correction),
    )  # fmt: skip
    b.counts[_COUNT.version] += 1


def _build(sources: str, cache: bool) -> Callable[..., Any]:
    @numba.njit(cache=cache, nogil=True, error_model="numpy", _nrt=False)
    def play_learner(step_lanes, d, b, rewards, active, actions, rest):
        """Plays until the episode ends, a ranking is due or no room is left to note it down.

        Args:
            step_lanes: Address of the machine code of `events.step_lanes`.
            d: A `Decision`.
            b: A `Learner`.
            rewards: Filled with the steps' rewards, float64 (any,).
            active: As `events.step_lanes` takes it, as all that follow.
            actions: The decision's action.
            rest: Further arguments.

        Returns:
            How many steps were taken.
        """
        sources  # noqa: B018 - captured, so that it is part of the cache key
        step = d.step[0]
        played = 0
        while played < len(rewards) and b.counts[_COUNT.sent] + len(d.action) <= len(b.sent):
            begin_plan(d)
            _decide(d, b)
            call(step_lanes, (APPLY | ADVANCE, 0, 1, active, actions, *rest))
            _score_arrivals(d, b)
            call(step_lanes, (SETTLE, 0, 1, active, actions, *rest))
            rewards[played] = step.reward
            played += 1
            _learn(d, b)
            due = b.counts[_COUNT.completed] >= b.counts[_COUNT.ranking]
            if step.terminated or step.truncated or due:
                break
        return played

    compiled: Callable[..., Any] = play_learner
    return compiled


play_learner: Final = CompiledFunction(_build, FOLDER, RULES)
