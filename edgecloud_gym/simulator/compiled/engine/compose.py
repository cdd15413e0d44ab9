"""Compiled composition of an engine's steps: who computes how many tokens in the next one."""

from __future__ import annotations

from edgecloud_gym.simulator.compiled.engine.layout import LEAVING, NONE, READING
from edgecloud_gym.simulator.compiled.engine.sequences import (
    blocks_of,
    enlist,
    is_limited,
    preempt_youngest,
    readable_blocks,
    start_decoding,
    stop_decoding,
)
from edgecloud_gym.simulator.compiled.inlining import compiled


@compiled
def is_empty(e, which):
    """Whether a step computes nothing."""
    return e.step_decoding[which] == 0 and e.step_prompt[which] == 0


@compiled
def clear_step(e, which):
    """Makes a step one that computes nothing."""
    e.step_decoding[which] = 0
    e.step_context[which] = 0
    e.step_prompt[which] = 0
    e.step_first[which] = NONE
    e.step_leaving[which] = NONE
    e.step_last[which] = NONE


@compiled
def compose(m, e, s, phases, requests, which):
    """Composes a step: the running in order of admission, then the waiting."""
    clear_step(e, which)
    before = e.preemptions
    if is_limited(m):
        _take_blocks(m, e, s, phases, requests)
    e.step_decoding[which] = e.decoding
    e.step_context[which] = e.context
    if e.decoding > 0:
        e.clock += 1
        e.context += e.decoding
        _mark_leaving(m, e, s, phases, which)
    budget = m.batched_tokens - e.step_decoding[which]
    if e.reading != NONE:
        # There is one at most, and nobody is younger: its last piece took the whole budget.
        q = s[e.reading]
        piece = min(q.length - q.tokens, budget)
        need = blocks_of(m, q.tokens + piece) - blocks_of(m, q.tokens)
        if is_limited(m) and need > e.given - e.taken:
            preempt_youngest(m, e, s, phases, requests)
        else:
            e.taken += need
            budget -= piece
            _read(m, e, s, phases, requests, e.reading, piece, which)
    if e.preemptions == before:
        while budget > 0 and e.running < m.sequences and e.preempted + e.queued > 0:
            piece = _admit(m, e, s, phases, requests, budget, which)
            if piece == 0:
                break
            budget -= piece


@compiled
def _take_blocks(m, e, s, phases, requests):
    """Takes the blocks that decoding sequences need for their next token."""
    # The oldest take theirs first, so who is preempted, the youngest, has none of this step's yet:
    # whatever the order, it ends with as many preempted as it takes for the others to have theirs.
    due = -e.clock % m.block_size
    while phases[due] > e.given - e.taken:
        preempt_youngest(m, e, s, phases, requests)
    e.taken += phases[due]


@compiled
def _mark_leaving(m, e, s, phases, which):
    """Moves those whose last token is in the step from the decoding to the leaving."""
    while e.decoding > 0 and s[s[0].heap].mark == e.clock:
        slot = s[0].heap
        stop_decoding(m, e, s, phases, slot)
        _leave(e, s, slot, which)


@compiled
def _leave(e, s, slot, which):
    s[slot].state = LEAVING
    s[slot].next_leaving = NONE
    if e.step_last[which] == NONE:
        e.step_leaving[which] = slot
    else:
        s[e.step_last[which]].next_leaving = slot
    e.step_last[which] = slot


@compiled
def _read(m, e, s, phases, requests, slot, piece, which):
    """Computes a piece of a prompt in the step."""
    q = s[slot]
    q.tokens += piece
    e.step_prompt[which] += piece
    if q.tokens < q.length:
        e.reading = slot
        return
    e.reading = NONE
    if q.generated == 0:
        q.next_first = e.step_first[which]
        e.step_first[which] = slot
    left = requests[q.request].output_tokens - q.generated - 1
    if left > 0:
        start_decoding(m, e, s, phases, slot, left)
    else:
        _leave(e, s, slot, which)


@compiled
def _found(m, requests, request):
    """How many tokens at the head of a prompt are in the cache already; the last one never is."""
    found = requests[request].cached_tokens
    if found < 0:
        found = m.shared_prefix
    return max(0, min(found, requests[request].prompt_tokens - 1))


@compiled
def _first_piece(m, e, s, requests, budget):
    """What is known of the request at the head of the queue, and whether it may be admitted.

    Returns:
        Request, answer so far, blocks that the cache still has of it, tokens that need not be
        computed, tokens of its first piece; 0 of these if there are too few blocks.
    """
    if e.preempted > 0:
        put = s[e.preempted - 1]
        request = put.put_request
        generated = put.put_generated
        hits = readable_blocks(m, e, s)
    else:
        request = e.queue_head
        generated = 0
        hits = 0
    length = requests[request].prompt_tokens + generated
    cached = max(hits * m.block_size, _found(m, requests, request))
    piece = min(length - cached, budget)
    if is_limited(m):
        # What is cached lies among the free blocks, so it counts on both sides.
        need = blocks_of(m, length if m.reserve_prompt else cached + piece)
        if need > e.given - e.taken:
            piece = 0
    return request, generated, hits, cached, piece


@compiled
def admits(m, e, s, requests, budget):
    """Whether a step with so many tokens left would admit somebody from the queue."""
    if budget <= 0 or e.running == m.sequences or e.preempted + e.queued == 0:
        return False
    return _first_piece(m, e, s, requests, budget)[4] > 0


@compiled
def _admit(m, e, s, phases, requests, budget, which):
    """Admits the head of the queue; returns the tokens of its first piece, 0 if it must wait."""
    request, generated, hits, cached, piece = _first_piece(m, e, s, requests, budget)
    if piece == 0:
        return 0
    if e.preempted > 0:
        # Its blocks leave the line of free ones. Who was preempted before lies ahead of them.
        e.given -= hits
        e.preempted -= 1
    else:
        e.queue_head = requests[request].queued_next
        e.queued -= 1
        requests[request].admitted = e.now
    slot = e.vacant
    e.vacant = s[slot].younger
    enlist(e, s, slot)
    q = s[slot]
    q.state = READING
    q.request = request
    q.generated = generated
    q.length = requests[request].prompt_tokens + generated
    q.tokens = cached
    e.taken += blocks_of(m, q.tokens + piece) - hits
    _read(m, e, s, phases, requests, slot, piece, which)
    return piece
