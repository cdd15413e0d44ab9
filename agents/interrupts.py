"""Ctrl-C is for the process that a user has started, not for those that it has started itself."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def blocked_in_children() -> Iterator[None]:
    """Keeps SIGINT from processes that this thread starts inside, from their first moment on.

    One that ignores it only once its code runs may have shown a traceback before. Windows has no
    signal masks: nothing happens there.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
