"""The compiled rounds of a team: how a leader and its followers share the lanes of a step.

A round is one call of `lead`. The leader lays out what is to be done, opens the round, steps lanes
like everybody, closes the round and waits for the followers that are in it. Who comes too late
misses it, and nobody waits for them: a thread that sleeps, or whose core computes something else,
delays nothing but its own lanes, which the others take over.

The lanes are in as many parts as there are threads. A thread takes its own first, some at a time,
so that their memory stays in its cache, and then what is left of the others'. Lanes know nothing
of each other, so results do not depend on who steps them.

Followers watch for the next round for some tens of microseconds, then sleep on a lock. It is
Python's own, from C, so that nobody needs the interpreter.

``team`` is int64, laid out as below; the words that are written most lie in cache lines of their
own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numba

from edgecloud_gym.simulator.compiled.cache import CompiledFunction
from edgecloud_gym.simulator.compiled.inlining import compiled, inlined
from edgecloud_gym.simulator.compiled.pointers import call
from edgecloud_gym.simulator.team.atomics import add, address_of, call_c, read, swap, value_at

LINE: Final = 8  # words of a cache line

# What is written once: the C functions, and where a step's machine code is.
ACQUIRE: Final = 0
RELEASE: Final = 1
STEP_LANES: Final = 2
BACK: Final = 3  # the lock that the leader sleeps on
# What there is to do in the round.
WORK: Final = LINE
STAGE: Final = LINE + 1
# Who is in it: followers, and the two flags.
GATE: Final = 2 * LINE
OPEN: Final = 1 << 32
WAITING: Final = 1 << 33  # the leader sleeps until the last of them has left
ROUND: Final = 3 * LINE  # counted; below 0: the team is dismissed
FIRST_MEMBER: Final = 4 * LINE
# Of each thread, the leader first, a line:
NEXT: Final = 0  # first lane of its part that nobody has taken
LAST: Final = 1  # one past the last
SLEEPS: Final = 2
LOCK: Final = 3  # what it sleeps on

TAKEN: Final = 32  # lanes at a time
LOOKS: Final = 50_000  # at a word, before a thread sleeps: some 80 us


@inlined
def _member(k):
    return FIRST_MEMBER + k * LINE


@inlined
def _step(team, me, work):
    """Steps lanes, a few at a time, until all are taken."""
    threads = (len(team) - FIRST_MEMBER) // LINE
    for k in range(threads):
        part = _member((me + k) % threads)
        last = team[part + LAST]
        while True:
            first = add(team, part + NEXT, TAKEN)
            if first >= last:
                break
            end = min(first + TAKEN, last)
            call(team[STEP_LANES], (team[STAGE], first, end, *work))


@compiled
def wake(team):
    """Wakes the followers that sleep."""
    for at in range(_member(1), len(team), LINE):
        if swap(team, at + SLEEPS, 1, 0):
            call_c(team[RELEASE], (team[at + LOCK],))


@compiled
def _close(team):
    """Closes the round, and waits until everybody has left it."""
    inside = add(team, GATE, -OPEN) - OPEN
    for _ in range(LOOKS):
        if inside == 0:
            return
        inside = read(team, GATE)
    if add(team, GATE, WAITING) > 0:
        call_c(team[ACQUIRE], (team[BACK], 1))
    add(team, GATE, -WAITING)


@compiled
def _enter(team):
    """Enters the round if it is open; returns whether it was."""
    while True:
        gate = read(team, GATE)
        if not gate & OPEN:
            return False
        if swap(team, GATE, gate, gate + 1):
            return True


@compiled
def _leave(team):
    if add(team, GATE, -1) == WAITING + 1:
        call_c(team[RELEASE], (team[BACK],))


@compiled
def _await_round(team, me, before):
    """Waits for another round than ``before``; returns its number."""
    at = _member(me)
    while True:
        for _ in range(LOOKS):
            number = read(team, ROUND)
            if number != before:
                return number
        add(team, at + SLEEPS, 1)
        # Whoever opens a round after this sees that we sleep, and wakes us.
        if read(team, ROUND) == before or not swap(team, at + SLEEPS, 1, 0):
            call_c(team[ACQUIRE], (team[at + LOCK], 1))


def _build_lead(sources: str, cache: bool) -> Callable[..., Any]:
    @numba.njit(cache=cache, nogil=True, error_model="numpy", _nrt=False)
    def lead(team, stage, lanes, work):
        sources  # noqa: B018 - captured, so that it is part of the cache key
        threads = (len(team) - FIRST_MEMBER) // LINE
        for k in range(threads):
            team[_member(k) + NEXT] = lanes * k // threads
            team[_member(k) + LAST] = lanes * (k + 1) // threads
        team[STAGE] = stage
        team[WORK] = address_of(work)
        add(team, GATE, OPEN)
        add(team, ROUND, 1)
        wake(team)
        _step(team, 0, work)
        _close(team)

    compiled: Callable[..., Any] = lead
    return compiled


def _build_follow(sources: str, cache: bool) -> Callable[..., Any]:
    @numba.njit(cache=cache, nogil=True, error_model="numpy", _nrt=False)
    def follow(team, me, like):
        sources  # noqa: B018 - captured, so that it is part of the cache key
        number = 0
        while True:
            number = _await_round(team, me, number)
            if number < 0:
                break
            if _enter(team):
                _step(team, me, value_at(team[WORK], like))
                _leave(team)

    compiled: Callable[..., Any] = follow
    return compiled


def _build_dismiss(sources: str, cache: bool) -> Callable[..., Any]:
    @numba.njit(cache=cache, nogil=True, error_model="numpy", _nrt=False)
    def dismiss(team):
        sources  # noqa: B018 - captured, so that it is part of the cache key
        add(team, ROUND, -(1 << 62))
        wake(team)

    compiled: Callable[..., Any] = dismiss
    return compiled


lead: Final = CompiledFunction(_build_lead)
follow: Final = CompiledFunction(_build_follow)
dismiss: Final = CompiledFunction(_build_dismiss)
