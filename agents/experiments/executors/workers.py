"""Playing runs, in this process or in others of this machine."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Generator, Iterator
from itertools import chain, islice
from typing import TypeAlias

from agents.experiments.executors.processes import do_in_processes, refuse_while_starting
from agents.experiments.runs.errors import RunError, error_of
from agents.experiments.runs.groups import Group, grouped
from agents.experiments.runs.run import Run
from agents.experiments.runs.store import RunStore

# Plays runs as it takes them from an iterator, and yields each, as it ends, with its error or none.
Played: TypeAlias = Generator[tuple[Run, RunError | None]]
Player: TypeAlias = Callable[[Iterator[Run], RunStore], Played]


def play_here(runs: Iterator[Run], store: RunStore) -> Played:
    """Plays runs in this process; see `Player`."""
    return _play_here(grouped(runs), store)


def _play_here(groups: Iterator[Group], store: RunStore) -> Played:
    for group in groups:
        error = error_of(lambda: group.play(store.output))  # noqa: B023 - called now
        yield from ((run, error) for run in group.runs)


def play_in_processes(workers: int, runs: Iterator[Run], store: RunStore) -> Played:
    """Plays runs in processes of this machine; see `Player`.

    Args:
        workers: Processes; with one, or a single run, this process plays. So it does where it is
            a worker that may not start processes, such as one of `multiprocessing.Pool` or Dask.
        runs: What to play.
        store: Where it is kept.

    Raises:
        RuntimeError: If worker processes do not start.
    """
    if workers > 1:
        refuse_while_starting()
    groups = grouped(runs)
    first = list(islice(groups, workers))
    everything = chain(first, groups)
    if len(first) <= 1 or multiprocessing.current_process().daemon:
        yield from _play_here(everything, store)
        return
    jobs = ((group, store.output) for group in everything)
    for group, error in do_in_processes(jobs, len(first)):
        yield from ((run, error) for run in group.runs)
