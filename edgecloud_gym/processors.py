"""How many processors this process may use."""

from __future__ import annotations

import os


def available_processors() -> int:
    """Returns how many processors the process may run on, at least 1.

    Fewer than the machine has where a container or a batch system has set an affinity. Systems
    without affinities (macOS, Windows) tell the machine's number.
    """
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return os.cpu_count() or 1
