"""Jobs in other processes, so that one that fails takes no other with it.

A worker is handed one job at a time over a pipe and answers with the job's error as text, or with
none. If it ends without an answer, that job has failed, and another worker takes its place: the
other jobs never know.
"""

from __future__ import annotations

import multiprocessing
import pickle
import signal
import sys
import warnings
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

from agents.experiments.runs.errors import RunError, as_text, error_of
from agents.interrupts import blocked_in_children
from edgecloud_gym.files import NamesakeWarning

_STARTUP_HINT: Final = (
    "a worker process ended before it could play anything (its own message is above); with more "
    "than one worker the calling script needs the usual `if __name__ == '__main__':`"
)
_PATIENCE: Final = 10.0  # s, for a process that has been asked to end


class Job(Protocol):
    """Work that leaves a file or a folder."""

    def play(self, path: Path, /) -> None:
        """Does the work."""


JobT = TypeVar("JobT", bound=Job)


def refuse_while_starting() -> None:
    """Refuses to play while a worker imports the script that started it, which lacks its guard.

    `multiprocessing` refuses that only when a process is started, but runs are taken before.

    Raises:
        RuntimeError: If this process is such a worker.
    """
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise RuntimeError(_STARTUP_HINT)


class _Worker:
    """A process that does jobs, one at a time."""

    def __init__(self, context: Any) -> None:
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_work, args=(theirs,))
        with _startable_main(), blocked_in_children():
            self.process.start()
        theirs.close()
        self.ready = False
        self.job: Job | None = None

    def hand(self, job: tuple[Job, Path]) -> RunError | None:
        """Hands it a job; returns what keeps the job from travelling, if anything does."""
        try:
            packed = _packed(job)
        except Exception as error:  # noqa: BLE001 - pickling runs code of the agent's
            return as_text(error)
        self.job = job[0]
        with suppress(OSError):  # killed while it waited: the pipe's end, its answer, will tell
            self.connection.send_bytes(packed)
        return None

    def end(self) -> None:
        """Ends the process; one that still starts or plays is given up."""
        self.connection.close()
        if self.job is not None or not self.ready:
            self.process.terminate()
        self.process.join(_PATIENCE)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()


def do_in_processes(
    jobs: Iterator[tuple[JobT, Path]], count: int
) -> Generator[tuple[JobT, RunError | None]]:
    """Does jobs in so many processes; yields each, as it ends, with its error or none.

    Raises:
        RuntimeError: If worker processes do not start.
    """
    context = multiprocessing.get_context("spawn")  # threads do not survive a fork
    following = next(jobs, None)
    workers: list[_Worker] = []
    try:
        workers += [_Worker(context) for _ in range(count)]
        while workers:
            by_connection = {worker.connection: worker for worker in workers}
            for connection in wait(list(by_connection)):
                worker = by_connection[connection]
                ended, error, alive = _answer(worker)
                if not alive:
                    workers.remove(worker)
                    worker.end()
                    if following is not None:
                        workers.append(_Worker(context))
                if ended is not None:
                    yield ended, error
                while alive and following is not None and worker.job is None:
                    job, following = following, next(jobs, None)
                    refused = worker.hand(job)
                    if refused is not None:
                        yield job[0], refused
                if alive and worker.job is None:
                    workers.remove(worker)
                    worker.end()
    finally:
        for worker in workers:
            worker.end()


def _answer(worker: _Worker) -> tuple[Any, RunError | None, bool]:
    """Returns which job a worker has finished, its error, and whether the worker lives on.

    Raises:
        RuntimeError: If it ended before it could play anything.
    """
    job, worker.job = worker.job, None
    try:
        error = worker.connection.recv()
    except (EOFError, OSError):
        worker.process.join()
        if not worker.ready:
            raise RuntimeError(_STARTUP_HINT) from None
        code = worker.process.exitcode
        how = f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
        return job, RunError(f"its process ended ({how})"), False
    worker.ready = True
    return job, error, True


def _work(connection: Connection) -> None:
    """Does what comes over the pipe until it is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # where it could not be blocked
    warnings.simplefilter("ignore", NamesakeWarning)  # the parent has said it
    connection.send(None)  # ready
    while True:
        try:
            packed = connection.recv_bytes()
        except (EOFError, OSError):
            return
        try:
            job, path = pickle.loads(packed)
            error = error_of(lambda: job.play(path))  # noqa: B023 - called now
        except Exception as failed:  # noqa: BLE001 - what a pickle needs may be missing here
            error = as_text(failed)
        try:
            connection.send(error)
        except OSError:  # nobody is there any more; what was played is kept
            return


def _packed(job: tuple[Job, Path]) -> bytes:
    """Returns a job as bytes; classes of a notebook or of standard input go along by value."""
    if _main_file() is not None:
        try:
            return pickle.dumps(job)
        except (pickle.PicklingError, AttributeError, TypeError):
            pass  # a lambda, or a class within a function
    import cloudpickle  # type: ignore[import-untyped, unused-ignore]  # comes with Stable-Baselines3

    packed: bytes = cloudpickle.dumps(job)
    return packed


def _main_file() -> Path | None:
    """Returns the script that runs, if there is one that another process can read."""
    main = sys.modules["__main__"]
    if getattr(main, "__spec__", None) is not None:
        return Path(main.__spec__.origin or "") if main.__spec__ else None
    file = getattr(main, "__file__", None)
    return Path(file) if file is not None and Path(file).is_file() else None


@contextmanager
def _startable_main() -> Iterator[None]:
    """Keeps a new process from looking for a script where there is none (standard input)."""
    main = sys.modules["__main__"]
    file = getattr(main, "__file__", None)
    if file is None or getattr(main, "__spec__", None) is not None or Path(file).is_file():
        yield
        return
    del main.__file__
    try:
        yield
    finally:
        main.__file__ = file
