"""Servers on one machine that stand for machines of their own: each computes in its time slice.

Three servers on two cores that compute whenever they can slow each other down, and the more the
busier they are: what was measured of one alone would not hold beside the others. Here each has a
core for a fixed part of every period and is stopped for the rest (SIGSTOP, SIGCONT), and no two
slices of a core overlap: a server is as fast alone as beside the others, but for what they take of
caches and memory. The shares also make the servers unequal, and the last core keeps a part of its
time for the gateway and the client.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Final, NamedTuple

PERIOD: Final = 0.02  # s: about a step, so that no request waits long for its server's slice


class Slice(NamedTuple):
    """When a server computes.

    Attributes:
        core: Which of the two cores, 0 or 1.
        begin, end: Parts of the period.
    """

    core: int
    begin: float
    end: float


SLICES: Final[Mapping[str, Slice]] = {
    "edge-a": Slice(0, 0.0, 0.6),
    "edge-b": Slice(0, 0.6, 1.0),
    "cloud": Slice(1, 0.0, 0.5),
}


def two_cores() -> tuple[int, int]:
    """Returns two cores that this process may use.

    Raises:
        SystemExit: If there is only one.
    """
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise SystemExit("two cores are needed: three servers share them in time slices")
    return cores[0], cores[-1]


@contextmanager
def on_core(core: int) -> Iterator[None]:
    """Lets this thread, and what it starts, run on one core until the block ends."""
    usual = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, usual)


@contextmanager
def yielding() -> Iterator[None]:
    """Lets this thread, and those that it starts, compute when no server on its core wants to.

    Only who may take it back at the end does so.
    """
    usual = os.getpriority(os.PRIO_PROCESS, 0)
    os.setpriority(os.PRIO_PROCESS, 0, 19)
    try:
        yield
    finally:
        with suppress(PermissionError):
            os.setpriority(os.PRIO_PROCESS, 0, usual)


@contextmanager
def sliced(processes: Sequence[tuple[int, Slice]]) -> Iterator[None]:
    """Lets processes run in their slices alone until the block ends."""
    arguments = [f"{process}:{part.begin}:{part.end}" for process, part in processes]
    pacer = subprocess.Popen([sys.executable, "-m", __name__, *arguments])
    try:
        yield
    finally:
        pacer.terminate()
        pacer.wait()
        for process, _ in processes:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGCONT)


def switches(slices: Sequence[tuple[int, float, float]]) -> list[tuple[float, int, signal.Signals]]:
    """Returns at which part of a period whom is sent what, in order; who stops goes first."""
    found = []
    for process, begin, end in slices:
        found += [(begin % 1.0, process, signal.SIGCONT), (end % 1.0, process, signal.SIGSTOP)]
    return sorted(found, key=lambda switch: (switch[0], switch[2] != signal.SIGSTOP))


def pace(slices: Sequence[tuple[int, float, float]]) -> None:
    """Sends the signals until it is stopped, or a process or who started it is gone."""
    with suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, -10)  # punctual, if it may be
    plan = switches(slices)
    begun = time.monotonic()
    parent = os.getppid()
    while os.getppid() == parent:
        for part, process, what in plan:
            time.sleep(max(0.0, begun + part * PERIOD - time.monotonic()))
            try:
                os.kill(process, what)
            except ProcessLookupError:
                return
        begun = max(begun + PERIOD, time.monotonic() - PERIOD)  # what is late is not made up for
    for process, *_ in slices:
        os.kill(process, signal.SIGCONT)


if __name__ == "__main__":
    given = [argument.split(":") for argument in sys.argv[1:]]
    with suppress(KeyboardInterrupt):  # of a terminal: who started it is told as well
        pace([(int(process), float(begin), float(end)) for process, begin, end in given])
