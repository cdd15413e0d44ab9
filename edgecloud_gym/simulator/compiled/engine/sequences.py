"""Compiled bookkeeping of an engine's sequences: heap by finish, order of admission, preemption.

``m`` is the engine's settings, ``e`` its state, ``s`` its sequences, ``phases`` how many decoding
ones have an offset of each remainder by the block size: those that need a block next.
"""

from __future__ import annotations

from edgecloud_gym.simulator.compiled.engine.layout import (
    DECODING,
    FREE,
    LEAVING,
    NONE,
    READING,
    RELEASED,
)
from edgecloud_gym.simulator.compiled.inlining import compiled


@compiled
def blocks_of(m, tokens):
    """How many blocks hold so many tokens."""
    return (tokens + m.block_size - 1) // m.block_size


@compiled
def is_limited(m):
    """Whether the cache has a limit."""
    return m.blocks >= 0


@compiled
def _before(s, a, b):
    """Whether sequence ``a`` finishes before ``b``; together, the request of lower number first."""
    return s[a].mark < s[b].mark or (s[a].mark == s[b].mark and s[a].request < s[b].request)


@compiled
def _rise(s, place, slot):
    while place > 0:
        parent = (place - 1) >> 1
        other = s[parent].heap
        if not _before(s, slot, other):
            break
        s[place].heap = other
        s[other].place = place
        place = parent
    s[place].heap = slot
    s[slot].place = place


@compiled
def _sink(s, size, place, slot):
    while True:
        child = 2 * place + 1
        if child >= size:
            break
        if child + 1 < size and _before(s, s[child + 1].heap, s[child].heap):
            child += 1
        other = s[child].heap
        if not _before(s, other, slot):
            break
        s[place].heap = other
        s[other].place = place
        place = child
    s[place].heap = slot
    s[slot].place = place


@compiled
def start_decoding(m, e, s, phases, slot, left):
    """Counts a sequence whose prompt is in the cache among the decoding ones.

    It takes ``left`` tokens, at least 1, one in each step composed from now on.
    """
    q = s[slot]
    q.state = DECODING
    q.mark = e.clock + left
    q.offset = q.length - e.clock
    _rise(s, e.decoding, slot)
    e.decoding += 1
    e.context += q.length
    if is_limited(m):
        phases[q.offset % m.block_size] += 1


@compiled
def stop_decoding(m, e, s, phases, slot):
    """Takes a sequence out of the decoding ones; its cached tokens are in ``tokens``."""
    q = s[slot]
    q.tokens = q.offset + e.clock
    place = q.place
    e.decoding -= 1
    e.context -= q.tokens
    last = s[e.decoding].heap
    if last != slot:
        if place > 0 and _before(s, last, s[(place - 1) >> 1].heap):
            _rise(s, place, last)
        else:
            _sink(s, e.decoding, place, last)
    if is_limited(m):
        phases[q.offset % m.block_size] -= 1


@compiled
def enlist(e, s, slot):
    """Puts a sequence behind the others in order of admission."""
    s[slot].older = e.youngest
    s[slot].younger = NONE
    if e.youngest == NONE:
        e.oldest = slot
    else:
        s[e.youngest].younger = slot
    e.youngest = slot
    e.running += 1


@compiled
def _delist(e, s, slot):
    older = s[slot].older
    younger = s[slot].younger
    if older == NONE:
        e.oldest = younger
    else:
        s[older].younger = younger
    if younger == NONE:
        e.youngest = older
    else:
        s[younger].older = older
    e.running -= 1


@compiled
def _vacate(e, s, slot):
    s[slot].state = FREE
    s[slot].younger = e.vacant
    e.vacant = slot


@compiled
def release(m, e, s, slot):
    """Takes back what a sequence that has left at the end of its last step still holds."""
    if s[slot].state == LEAVING:  # else it was preempted meanwhile, and holds nothing
        _delist(e, s, slot)
        e.given += blocks_of(m, s[slot].tokens)
    _vacate(e, s, slot)


@compiled
def preempt_youngest(m, e, s, phases, requests):
    """Takes the blocks of the youngest sequence and puts its request before the queue.

    One whose last token is being computed needs no more: it only gives its blocks back early.
    """
    slot = e.youngest
    q = s[slot]
    generated = q.generated
    if q.state == DECODING:
        generated = requests[q.request].output_tokens - (q.mark - e.clock)
        stop_decoding(m, e, s, phases, slot)
    elif q.state == READING:
        e.reading = NONE
    _delist(e, s, slot)
    e.preemptions += 1
    requests[q.request].preemptions += 1
    start = e.given
    e.given += blocks_of(m, q.tokens)
    if q.state == LEAVING:
        q.state = RELEASED
        return
    put = s[e.preempted]
    put.put_request = q.request
    put.put_generated = generated
    put.put_full = q.tokens // m.block_size
    put.put_start = start
    put.put_end = e.given
    e.preempted += 1
    # Its record is not used again before its first token, if that is on its way, is told: a step
    # in which something was preempted admits nobody.
    _vacate(e, s, slot)


@compiled
def readable_blocks(m, e, s):
    """How many full blocks, from its head on, the cache still has of who was preempted last."""
    if not m.prefix_caching:
        return 0
    put = s[e.preempted - 1]
    left = put.put_end - max(e.taken, put.put_start)
    return max(0, min(put.put_full, left))
