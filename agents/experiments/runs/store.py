"""The runs that are kept in an experiment's folder, which several processes may play at once.

A run is a folder that is complete or absent; one that failed is a small file beside. Whoever plays
a run holds its lock, which the operating system takes away from a process that dies: what such a
process left half-written is removed by the next one that gets the lock, and by nobody else.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Protocol
from uuid import uuid4

from filelock import FileLock, Timeout

from agents.experiments.identity.fingerprint import file_digest
from agents.experiments.runs.errors import RunError, writing
from edgecloud_gym.files import replacing

RUNS: Final = "runs"
SUMMARY_FILE: Final = "summary.json"
PLAYED_FILE: Final = "played.json"
REQUESTS_FILE: Final = "requests.parquet"
TIMESERIES_FILE: Final = "timeseries.parquet"
RUN_FILES: Final = (REQUESTS_FILE, TIMESERIES_FILE, SUMMARY_FILE, PLAYED_FILE)
_DIGESTS: Final = "digests.json"
_DIGITS: Final = 20  # of a run's digest
_LOCKS: Final = ".locks"
_RESULTS: Final = "results"  # the lock on everything that is not of one run


class Run(Protocol):
    """What is kept here: a run, known by the digest of all that defines it."""

    @property
    def digest(self) -> str:
        """See `agents.experiments.runs.run.Run.digest`."""


class RunStore:
    """The runs kept in the folder of an experiment.

    Attributes:
        output: The folder of the experiment.
    """

    def __init__(self, output: Path) -> None:
        """Opens the runs of a folder, which need not exist yet."""
        self.output = output
        self._held: dict[str, FileLock] = {}
        self._done: set[str] = set()  # runs whose files have been looked at

    def folder(self, digest: str) -> Path:
        """Returns where the results of a run are kept."""
        return self.output / RUNS / digest

    def is_done(self, digest: str) -> bool:
        """Tells whether a run has finished, and its files are what was written."""
        if digest not in self._done and is_intact(self.folder(digest)):
            self._done.add(digest)
        return digest in self._done

    def failure(self, digest: str) -> RunError | None:
        """Returns what went wrong in a run, if it failed."""
        try:
            kept = json.loads(self._failure_file(digest).read_bytes())
            return RunError(str(kept["message"]), str(kept["traceback"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def take(self, run: Run) -> bool:
        """Takes a run for this process to play; returns whether no other process has it."""
        lock = self._lock(run.digest)
        try:
            lock.acquire(blocking=False)
        except Timeout:
            return False
        self._held[run.digest] = lock
        for left in (self.output / RUNS).glob(f".{run.digest}.*"):
            shutil.rmtree(left, ignore_errors=True)
        return True

    def discard(self, run: Run) -> bool:
        """Removes the damaged results of a run that was taken; returns whether there were any."""
        folder = self.folder(run.digest)
        if not folder.exists():
            return False
        shutil.rmtree(folder)
        return True

    def keep(self, run: Run, files: Mapping[str, bytes]) -> None:
        """Keeps the files of a run that was played elsewhere."""
        with run_folder(self.folder(run.digest)) as folder:
            for name, content in files.items():
                (folder / name).write_bytes(content)

    def keep_failure(self, run: Run, error: RunError) -> None:
        """Keeps what went wrong in a run."""
        text = json.dumps(error._asdict())  # ASCII: half characters of file names are spelt out
        path = self._failure_file(run.digest)
        with writing(path.parent), replacing(path) as temporary:
            temporary.write_text(text)

    def forget_failures(self, runs: Iterable[Run]) -> None:
        """Makes failed runs as if they had never been played."""
        for run in runs:
            self._failure_file(run.digest).unlink(missing_ok=True)

    def release(self, run: Run) -> None:
        """Gives back a run that was taken."""
        self._held.pop(run.digest).release()

    def release_all(self) -> None:
        """Gives back all runs that were taken."""
        while self._held:
            self._held.popitem()[1].release()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Waits until no other process writes what belongs to the whole experiment."""
        with self._lock(_RESULTS):
            yield

    def others(self) -> int:
        """Returns how many runs other processes are playing in this folder."""
        count = 0
        for path in (self.output / RUNS / _LOCKS).glob("*"):
            if path.name == _RESULTS or path.name in self._held:
                continue
            try:
                with FileLock(path, blocking=False):
                    pass
            except Timeout:
                count += 1
        return count

    def tidy(self) -> None:
        """Removes what processes that were cut off have left, if nobody is playing."""
        if self.others() > 0:
            return
        for left in (self.output / RUNS).glob(f".{'?' * _DIGITS}.*"):
            shutil.rmtree(left, ignore_errors=True)
        # Should one be taken at this very moment, a run would be played twice, with one result.
        for lock in (self.output / RUNS / _LOCKS).glob("?" * _DIGITS):
            lock.unlink(missing_ok=True)

    def clear(self) -> None:
        """Removes all runs, and nothing else."""
        for path in (self.output / RUNS).glob("*"):
            if len(path.name.lstrip(".").partition(".")[0]) != _DIGITS:
                continue
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()

    def _failure_file(self, digest: str) -> Path:
        return self.output / RUNS / f"{digest}.failed.json"

    def _lock(self, name: str) -> FileLock:
        path = self.output / RUNS / _LOCKS / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return FileLock(path)


@contextmanager
def run_folder(folder: Path) -> Iterator[Path]:
    """Yields a folder for the files of a run, which appears as ``folder`` if the block succeeds.

    If another process has been quicker, what it wrote stays.

    Raises:
        UnwritableError: If it cannot be written.
    """
    with writing(folder.parent), _aside(folder) as temporary:
        yield temporary


@contextmanager
def _aside(folder: Path) -> Iterator[Path]:
    folder.parent.mkdir(parents=True, exist_ok=True)
    # A name of its own for each writer, on whatever machine.
    temporary = folder.with_name(f".{folder.name}.{uuid4().hex[:12]}")
    temporary.mkdir()
    try:
        yield temporary
        digests = {path.name: file_digest(path) for path in sorted(temporary.iterdir())}
        (temporary / _DIGESTS).write_text(json.dumps(digests))
        try:
            temporary.replace(folder)
        except OSError:
            if not is_intact(folder):
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def is_intact(folder: Path) -> bool:
    """Tells whether a run's folder holds what was written there, byte by byte."""
    try:
        digests = json.loads((folder / _DIGESTS).read_bytes())
        return {*digests} == {*RUN_FILES} and all(
            file_digest(folder / name) == expected for name, expected in digests.items()
        )
    except (OSError, ValueError, TypeError, AttributeError):
        return False


def read_summary(folder: Path) -> dict[str, Any]:
    """Returns the summary of a finished run."""
    summary: dict[str, Any] = json.loads((folder / SUMMARY_FILE).read_bytes())
    return summary


def read_played(folder: Path) -> dict[str, Any]:
    """Returns with which settings a finished run was played, defaults included."""
    played: dict[str, Any] = json.loads((folder / PLAYED_FILE).read_bytes())
    return played
