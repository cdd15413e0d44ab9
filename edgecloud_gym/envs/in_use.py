"""One thread at a time."""

from __future__ import annotations

import os
import threading


class InUse:
    """A block that one thread at a time may be in; another one is told so instead of waiting.

    A copy, and a process that is forked, are in no block.

    Raises:
        RuntimeError: On entry, if another thread is in the block.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._home = os.getpid()

    def __enter__(self) -> None:
        if self._home != os.getpid():  # a fork: whoever had it then is not here
            self._lock, self._home = threading.RLock(), os.getpid()
        if not self._lock.acquire(blocking=False):
            raise RuntimeError(
                "another thread is in reset(), step() or close() of this vector environment: give "
                "each thread an environment of its own, and close it when none steps it"
            )

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def __reduce__(self) -> tuple[type[InUse], tuple[()]]:
        return InUse, ()
