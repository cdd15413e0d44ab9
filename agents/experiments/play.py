"""Playing what is missing of an experiment in a folder, which other processes may play as well."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from agents.experiments.executors.workers import Player
from agents.experiments.results.folder import is_claimed_by
from agents.experiments.results.result import ExperimentResult, Failure
from agents.experiments.runs.definition import as_record
from agents.experiments.runs.errors import UnwritableError, writing
from agents.experiments.runs.run import Run
from agents.experiments.runs.store import RunStore
from agents.experiments.shard import Shard

_LOG = logging.getLogger(__name__)
_WAIT: Final = 0.5  # s, between looks at what other processes have finished


@dataclass(frozen=True)
class ExperimentProgress:
    """What a progress callback is told at the start, after each run, and of what is remarkable.

    Attributes:
        done: Runs finished, those of an earlier call included.
        total: Runs in all.
        run: The latest one; ``None`` at the start.
        error: What went wrong in it, if anything did.
        note: Something that the user should know.
    """

    done: int
    total: int
    run: Run | None = None
    error: str | None = None
    note: str | None = None


Tell = Callable[[ExperimentProgress], None]


def play(
    runs: Sequence[Run],
    output: Path,
    player: Player,
    progress: Tell | None = None,
    *,
    shard: Shard | None = None,
    retry_failed: bool = False,
    tables: bool = True,
) -> ExperimentResult:
    """Plays the runs that a folder lacks, and writes the results of all of them.

    Args:
        runs: The experiment.
        output: Its folder, which is claimed for it.
        player: Who plays.
        progress: Told at the start, after every run, and of what is remarkable.
        shard: Which part of the runs to play; all by default. The results are written by whoever
            finds all of them finished.
        retry_failed: Whether to play runs again that failed in an earlier call.
        tables: Whether to write ``timeseries.csv`` and ``requests.csv``, too.

    Raises:
        UnwritableError: If results cannot be written; the runs concerned count as not played.
    """
    store = RunStore(output)
    mine = runs if shard is None else shard.of(runs)
    if retry_failed:
        store.forget_failures(mine)
    left = _Left(mine, store, progress or _log)
    left.begin()
    try:
        while left.runs:
            before = len(left.runs)
            with closing(player(left.take(), store)) as played:
                for run, error in played:
                    if error is not None and error.unwritable:
                        raise UnwritableError(error.message)
                    failed = error is not None and not store.is_done(run.digest)
                    if error is not None and failed:
                        store.keep_failure(run, error)
                    store.release(run)
                    left.end(run, error.message if error is not None and failed else None)
            if len(left.runs) == before:
                time.sleep(_WAIT)
    finally:
        store.release_all()
    return conclude(runs, store, tables)


def conclude(runs: Sequence[Run], store: RunStore, tables: bool = True) -> ExperimentResult:
    """Returns what there is of an experiment, and writes the results if that is all of it."""
    finished, failures = [], []
    with store.alone():
        for run in runs:
            error = None if store.is_done(run.digest) else store.failure(run.digest)
            if error is not None:
                failures.append(Failure(run, error.message, error.traceback))
            elif store.is_done(run.digest):
                finished.append(run)
        missing = len(runs) - len(finished) - len(failures)
        result = ExperimentResult(store.output, tuple(finished), tuple(failures), missing)
        # Another process may have added to the experiment: what it writes has everything.
        if not missing and is_claimed_by(store.output, as_record(runs)):
            with writing(store.output):
                result.write(tables)
            store.tidy()
    return result


class _Left:
    """The runs that are left to play.

    Attributes:
        runs: The runs, by digest.
    """

    def __init__(self, runs: Sequence[Run], store: RunStore, tell: Tell) -> None:
        self._total = len(runs)
        self._store = store
        self._tell = tell
        self.runs = {run.digest: run for run in runs if not store.is_done(run.digest)}

    def begin(self) -> None:
        """Tells how many are done; those that failed in an earlier call are."""
        failed = [name for name in self.runs if self._store.failure(name) is not None]
        for name in failed:
            del self.runs[name]
        self._say()
        if failed:
            self._say(
                note=f"{len(failed)} of the runs failed in an earlier call and are not repeated "
                "unless that is asked for (retry_failed, --retry-failed)"
            )

    def take(self) -> Iterator[Run]:
        """Yields the runs that no other process plays, each taken for this one."""
        for run in list(self.runs.values()):
            if not self._store.take(run):
                continue
            # Another process may have ended it since this one looked.
            if self._store.is_done(run.digest) or self._store.failure(run.digest) is not None:
                self._store.release(run)
                self.end(run)
                continue
            if self._store.discard(run):
                self._say(note=f"{run.title}: its files were damaged; it is played again")
            yield run

    def end(self, run: Run, error: str | None = None) -> None:
        """Notes that a run has ended."""
        del self.runs[run.digest]
        self._say(run, error)

    def _say(
        self, run: Run | None = None, error: str | None = None, note: str | None = None
    ) -> None:
        done = self._total - len(self.runs)
        self._tell(ExperimentProgress(done, self._total, run, error, note))


def _log(progress: ExperimentProgress) -> None:
    if progress.note is not None:
        _LOG.warning(progress.note)
