"""The threads of a team: how they are started and stopped."""

from __future__ import annotations

import ctypes
import os
import threading
import time
import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecloud_gym.simulator.team import rounds


class Team:
    """Threads that step lanes: the caller of `run`, who leads, and followers that are started here.

    Followers hold nothing but what they step with, and end when the team is no longer used. They
    do not survive a fork: a child process needs a team of its own.
    """

    def __init__(self, threads: int, step_address: int, example: tuple[Any, ...]) -> None:
        """Starts the followers.

        Args:
            threads: How many threads step lanes, at least 2, the leader among them.
            step_address: Where the machine code of `step_lanes` is.
            example: What `run` is going to be given as ``work``: arrays of these types.
        """
        like = _empty_like(example)  # followers live long, and must not keep arrays alive
        team = np.zeros(rounds.FIRST_MEMBER + threads * rounds.LINE, np.int64)
        team[rounds.ACQUIRE] = _address("PyThread_acquire_lock")
        team[rounds.RELEASE] = _address("PyThread_release_lock")
        team[rounds.STEP_LANES] = step_address
        team[rounds.BACK] = _closed_lock()
        for k in range(1, threads):
            team[rounds.FIRST_MEMBER + k * rounds.LINE + rounds.LOCK] = _closed_lock()
        self._team = team
        self._lead = rounds.lead.compiled_for((team, 0, 0, example))
        follow = rounds.follow.compiled_for((team, 0, like))
        dismiss = rounds.dismiss.compiled_for((team,))
        followers = [
            threading.Thread(
                target=follow, args=(team, k, like), name=f"edgecloud-lanes-{k}", daemon=True
            )
            for k in range(1, threads)
        ]
        for follower in followers:
            follower.start()
        self.close = weakref.finalize(self, _end, dismiss, team, followers, os.getpid())

    def run(self, stage: int, lanes: int, work: tuple[Any, ...]) -> None:
        """Runs stages of `compiled.events` on all lanes.

        Args:
            stage: Flags of `compiled.events`.
            lanes: How many there are.
            work: The arguments of `step_lanes` behind ``last``, of the example's types.
        """
        self._lead(self._team, stage, lanes, work)


def _empty_like(value: Any) -> Any:
    """Returns a value of the same type for compiled code, whose arrays are empty."""
    if isinstance(value, tuple):
        parts = map(_empty_like, value)
        return type(value)(*parts) if hasattr(value, "_fields") else tuple(parts)
    if not isinstance(value, np.ndarray):
        return value
    empty = np.empty((0,) * value.ndim, value.dtype)
    empty.setflags(write=value.flags.writeable)
    return empty


def _end(
    dismiss: Any, team: NDArray[np.int64], followers: Sequence[threading.Thread], home: int
) -> None:
    if os.getpid() != home:  # a fork: nobody is here
        return
    dismiss(team)
    for follower in followers:
        follower.join()
    # A leader may be in a round all the same, such as a daemon thread's when the interpreter ends,
    # and asleep on a lock. The rounds after this one have no followers, and so use none.
    while team[rounds.GATE] != 0:
        time.sleep(1e-4)
    for lock in (team[rounds.BACK], *team[rounds.FIRST_MEMBER + rounds.LINE + rounds.LOCK :: 8]):
        ctypes.pythonapi.PyThread_free_lock(ctypes.c_void_p(int(lock)))


def _address(name: str) -> int:
    """Returns where a C function of Python's is; these two need no interpreter."""
    address = ctypes.cast(getattr(ctypes.pythonapi, name), ctypes.c_void_p).value
    assert address is not None
    return address


def _closed_lock() -> int:
    """Returns a new lock that the next who wants it has to wait for."""
    allocate = ctypes.pythonapi.PyThread_allocate_lock
    allocate.restype = ctypes.c_void_p
    lock: int | None = allocate()
    if lock is None:
        raise MemoryError("no lock could be made")
    ctypes.pythonapi.PyThread_acquire_lock(ctypes.c_void_p(lock), 1)
    return lock
