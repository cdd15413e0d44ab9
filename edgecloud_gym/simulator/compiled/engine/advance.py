"""Compiled time of an engine: from one boundary between steps to the next, and over many."""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from edgecloud_gym.simulator.compiled.engine.compose import (
    admits,
    clear_step,
    compose,
    is_empty,
)
from edgecloud_gym.simulator.compiled.engine.layout import NONE
from edgecloud_gym.simulator.compiled.engine.sequences import is_limited, release
from edgecloud_gym.simulator.compiled.inlining import compiled

RUNS: Final = 0  # the step that runs
NEXT: Final = 1  # the one composed behind it


@compiled
def _computing(m, curves, tokens):
    """What computing a step's tokens takes (s), without overhead and context."""
    if m.curve_points == 0:
        return max(m.step_floor, m.token_time * tokens)
    first = m.curve_start
    last = first + m.curve_points - 1
    if tokens <= curves[first, 0]:
        return curves[first, 1]
    right = first + 1
    while right < last and tokens > curves[right, 0]:
        right += 1
    low = curves[right - 1, 0]
    start = curves[right - 1, 1]
    slope = (curves[right, 1] - start) / (curves[right, 0] - low)
    return start + slope * (tokens - low)


@compiled
def _step_time(m, e, curves, which):
    prompt = e.step_prompt[which]
    decoding = e.step_decoding[which]
    apart = not m.mixed_batches and prompt > 0 and decoding > 0
    time = m.step_overhead + _computing(m, curves, decoding if apart else decoding + prompt)
    if apart:
        time += _computing(m, curves, prompt)
    time += m.context_time * e.step_context[which]
    return e.pace * (max(m.prefill_overhead, time) if prompt > 0 else time)


@compiled
def _span_time(m, e, steps):
    """How long the first so many steps of the span take (s)."""
    n = e.decoding
    context = steps * e.span_context + n * (steps * (steps - 1) // 2)
    return e.pace * (steps * e.span_step + m.context_time * context)


@compiled
def _steps_until(m, e, time):
    """After how many steps of the span, at least, ``time`` is reached; at most the span's."""
    left = time - e.now
    if left <= 0:
        return 0
    # The root of the quadratic, and then the exact comparison, so that it agrees with the clock.
    a = 0.5 * m.context_time * e.decoding
    b = e.span_step + m.context_time * e.span_context - a
    work = left / e.pace
    guess = 2 * work / (b + math.sqrt(b * b + 4 * a * work))
    steps = e.span if guess >= e.span else math.ceil(guess)
    while steps > 0 and e.now + _span_time(m, e, steps - 1) >= time:
        steps -= 1
    while steps < e.span and e.now + _span_time(m, e, steps) < time:
        steps += 1
    return steps


@compiled
def _blocks_taken(m, e, phases, steps):
    """How many blocks the decoding sequences take in the next so many steps."""
    cycles = steps // m.block_size
    blocks = cycles * e.decoding
    phase = -e.clock % m.block_size
    for _ in range(steps - cycles * m.block_size):
        blocks += phases[phase]
        phase = _phase_after(m, phase)
    return blocks


@compiled
def _phase_after(m, phase):
    """Returns -(clock + 1) modulo the block size from -clock, without a division."""
    return (phase if phase > 0 else m.block_size) - 1


@compiled
def _steps_with_blocks(m, e, phases, limit):
    """For how many steps, up to a limit, there are blocks for all decoding sequences."""
    free = e.given - e.taken
    cycles = free // e.decoding
    steps = cycles * m.block_size
    if steps >= limit:
        return limit
    free -= cycles * e.decoding
    phase = -e.clock % m.block_size  # whole cycles leave it as it is
    while steps < limit:
        free -= phases[phase]
        if free < 0:
            break
        phase = _phase_after(m, phase)
        steps += 1
    return steps


@compiled
def _equal_steps(m, e, s, phases, requests):
    """How many steps can be composed alike: all decode, nobody comes, leaves or lacks a block."""
    if e.decoding == 0 or e.reading != NONE:
        return 0
    steps = s[s[0].heap].mark - e.clock - 1
    if steps <= 0 or admits(m, e, s, requests, m.batched_tokens - e.decoding):
        return 0
    if is_limited(m):
        # Whoever waits for blocks waits on: free ones only become fewer.
        steps = _steps_with_blocks(m, e, phases, steps)
    return steps


@compiled
def _begin_span(m, e, curves, steps, context):
    e.span = steps
    e.span_context = context
    e.span_step = m.step_overhead + _computing(m, curves, e.decoding)
    e.end = e.now + _span_time(m, e, steps)


@compiled
def _end_span(m, e, phases):
    """Composes what the span holds, all at once."""
    if is_limited(m):
        taken = _blocks_taken(m, e, phases, e.span)
        # Each of its steps takes its blocks at its start, and nearly as many as the others.
        mean = e.taken - e.given + m.blocks + 0.5 * taken * (1 + 1 / e.span)
        e.held += (e.end - e.now) * mean
        e.taken += taken
    e.clock += e.span
    e.context += e.span * e.decoding
    if m.lookahead:
        e.step_context[RUNS] = e.context - e.decoding
    e.span = 0


@compiled
def engine_settle(m, e, s, phases, curves, requests):
    """Composes the step that is due, with all that has arrived; `e.end` holds thereafter."""
    if not e.due:
        return
    e.due = 0
    e.pace = e.next_pace
    # With lookahead, the step behind the one that runs is composed.
    behind = m.lookahead and not is_empty(e, RUNS)
    if not m.lookahead or (behind and _decodes_alike(e)):
        steps = _equal_steps(m, e, s, phases, requests)
        if steps > 0:
            context = e.step_context[RUNS] if m.lookahead else e.context
            _begin_span(m, e, curves, steps, context)
            return
    if behind:
        e.end = e.now + _step_time(m, e, curves, RUNS)
    which = NEXT if behind else RUNS
    while True:  # one call, so that this much code is compiled once
        compose(m, e, s, phases, requests, which)
        if which == NEXT:
            return
        e.end = np.inf if is_empty(e, RUNS) else e.now + _step_time(m, e, curves, RUNS)
        if not m.lookahead or e.end == np.inf:
            return
        which = NEXT


@compiled
def _decodes_alike(e):
    """Whether all that decode are in the step that runs, and nothing else is."""
    alone = e.step_prompt[RUNS] == 0 and e.step_leaving[RUNS] == NONE
    return alone and e.step_decoding[RUNS] == e.decoding


@compiled
def _deliver(m, e, s, requests):
    """Tells first tokens and finishes of the step that ends now."""
    slot = e.step_first[RUNS]
    while slot != NONE:
        requests[s[slot].request].first_token = e.now
        slot = s[slot].next_first
    last = NONE
    slot = e.step_leaving[RUNS]
    while slot != NONE:
        request = s[slot].request
        requests[request].finish = e.now
        requests[request].queued_next = NONE
        if last == NONE:
            e.finished_head = request
        else:
            requests[last].queued_next = request
        last = request
        e.finished += 1
        behind = s[slot].next_leaving
        release(m, e, s, slot)
        slot = behind


@compiled
def _promote(e):
    """Makes the step that was composed the one that runs."""
    e.step_decoding[RUNS] = e.step_decoding[NEXT]
    e.step_context[RUNS] = e.step_context[NEXT]
    e.step_prompt[RUNS] = e.step_prompt[NEXT]
    e.step_first[RUNS] = e.step_first[NEXT]
    e.step_leaving[RUNS] = e.step_leaving[NEXT]
    e.step_last[RUNS] = e.step_last[NEXT]
    clear_step(e, NEXT)


@compiled
def engine_end_step(m, e, s, phases, requests):
    """Ends the step or span that ends at `e.end`, which is finite.

    What finished is in the list from `e.finished_head` by `queued_next`, `e.finished` requests, at
    time `e.now`; it holds until the next call. The step after is left to be composed.
    """
    e.finished = 0
    e.finished_head = NONE
    now = e.end
    if e.span > 0:
        _end_span(m, e, phases)
        e.now = now
    else:
        if is_limited(m):
            e.held += (now - e.now) * (e.taken - e.given + m.blocks)
        e.now = now
        _deliver(m, e, s, requests)
        if m.lookahead:
            _promote(e)
        else:
            clear_step(e, RUNS)
    e.due = 1


@compiled
def engine_advance(m, e, s, phases, curves, requests, until):
    """Ends steps up to and at ``until``, but stops behind the first in which a request finishes.

    What finished, `engine_end_step` says. A step due at ``until`` itself is left to be composed,
    so that what arrives at that time is in it.

    Returns:
        Whether it stopped because something finished.
    """
    e.finished = 0
    e.finished_head = NONE
    while True:
        if e.due:
            if e.now >= until:
                return False
            engine_settle(m, e, s, phases, curves, requests)
        if e.end > until or e.end == np.inf:
            return False
        engine_end_step(m, e, s, phases, requests)
        if e.finished > 0:
            return True


@compiled
def engine_arrive(m, e, requests, request, now):
    """Puts a request at the end of the queue, at a time to which the engine has been advanced.

    Its `admitted`, `first_token`, `finish` and `preemptions` are the caller's to clear.
    """
    requests[request].queued_next = NONE
    if e.queued == 0:
        e.queue_head = request
    else:
        requests[e.queue_tail].queued_next = request
    e.queue_tail = request
    e.queued += 1
    if e.due:
        return
    if e.end == np.inf:
        e.now = now
        e.due = 1
    elif e.span > 0 and e.queued + e.preempted == 1 and e.running < m.sequences:
        # It was not to be in the steps composed before now; it may be in the next.
        _cut_span(m, e, now)


@compiled
def engine_change_pace(m, e, now, pace):
    """Makes the steps that begin at ``now`` or later take ``pace`` times as long as by settings.

    The engine has been advanced to ``now``.
    """
    e.next_pace = pace
    if e.span > 0 and not e.due:
        _cut_span(m, e, now)


@compiled
def _cut_span(m, e, now):
    """Ends the span with the step that runs at ``now``."""
    e.span = _steps_until(m, e, now)
    e.end = e.now + _span_time(m, e, e.span)
    if e.span == 0:
        e.due = 1


@compiled
def engine_outstanding(e):
    """How many requests it has: running, preempted or queued."""
    return e.running + e.preempted + e.queued


@compiled
def engine_blocks_used(m, e, phases, now):
    """How many blocks of the cache are taken at a time within the present step or span.

    Those of composed steps count. 0 where the cache has no limit.
    """
    if not is_limited(m):
        return 0
    used = m.blocks - (e.given - e.taken)
    if e.span > 0 and not e.due:
        steps = _steps_until(m, e, now)
        if steps > 0 and e.now + _span_time(m, e, steps) > now:
            steps -= 1
        # One more step is composed than has passed.
        used += _blocks_taken(m, e, phases, steps + (1 if steps < e.span else 0))
    return used
