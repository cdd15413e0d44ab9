"""Playing runs, in this process or in others, so that one that fails takes no other with it.

A worker is handed one run at a time over a pipe and answers with the run's error as text, or with
none. If it ends without an answer, that run has failed, and another worker takes its place: the
other runs never know.
"""

from __future__ import annotations

import multiprocessing
import pickle
import signal
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Final, NamedTuple

from agents.experiments.runs import Run

_STARTUP_HINT: Final = (
    "a worker process ended before it could play anything (its own message is above); with more "
    "than one worker the calling script needs the usual `if __name__ == '__main__':`"
)


_PATIENCE: Final = 10.0  # s, for a process that has been asked to end


class RunError(NamedTuple):
    """What went wrong in a run, as text: exceptions themselves may not travel.

    Attributes:
        message: The kind of exception and its message.
        traceback: Where it was raised; empty if a process ended without a word.
    """

    message: str
    traceback: str = ""


def play_all(
    runs: Sequence[Run], output: Path, workers: int
) -> Iterator[tuple[Run, RunError | None]]:
    """Plays runs; yields each, as it ends, with its error or ``None``.

    Args:
        runs: What to play.
        output: The folder of the experiment.
        workers: Processes; with one, the runs are played in this process.

    Raises:
        RuntimeError: If worker processes do not start.
    """
    jobs = [(run, run.folder(output)) for run in runs]
    if min(workers, len(jobs)) <= 1:
        for run, folder in jobs:
            yield run, _error_of(run, folder)
        return
    yield from _play_in_workers(jobs, min(workers, len(jobs)))


def _error_of(run: Run, folder: Path) -> RunError | None:
    """Plays a run; returns what went wrong."""
    try:
        run.play(folder)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 - an agent's code may raise anything, SystemExit
        return _as_text(error)
    return None


def _as_text(error: BaseException) -> RunError:
    try:
        message = str(error)
    except Exception:  # noqa: BLE001 - an exception's own __str__ may fail
        message = "(its message cannot be shown)"
    trace = "".join(traceback.format_exception(error))
    return RunError(f"{type(error).__name__}: {message}".rstrip(": "), trace)


class _Worker:
    """A process that plays runs, one at a time."""

    def __init__(self, context: Any) -> None:
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_work, args=(theirs,))
        with _startable_main():
            self.process.start()
        theirs.close()
        self.ready = False
        self.run: Run | None = None

    def hand(self, job: tuple[Run, Path]) -> RunError | None:
        """Hands it a run; returns what keeps the run from travelling, if anything does."""
        try:
            packed = _packed(job)
        except Exception as error:  # noqa: BLE001 - pickling runs code of the agent's
            return _as_text(error)
        self.run = job[0]
        self.connection.send_bytes(packed)
        return None

    def end(self) -> None:
        """Ends the process; one that still starts or plays is given up."""
        self.connection.close()
        if self.run is not None or not self.ready:
            self.process.terminate()
        self.process.join(_PATIENCE)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()


def _play_in_workers(
    jobs: Sequence[tuple[Run, Path]], count: int
) -> Iterator[tuple[Run, RunError | None]]:
    context = multiprocessing.get_context("spawn")  # threads do not survive a fork
    left = list(reversed(jobs))
    workers: list[_Worker] = []
    try:
        workers += [_Worker(context) for _ in range(count)]
        while workers:
            by_connection = {worker.connection: worker for worker in workers}
            for connection in wait(list(by_connection)):
                worker = by_connection[connection]
                run, error, alive = _answer(worker)
                if not alive:
                    workers.remove(worker)
                    worker.end()
                    if left:
                        workers.append(_Worker(context))
                if run is not None:
                    yield run, error
                while alive and left and worker.run is None:
                    job = left.pop()
                    refused = worker.hand(job)
                    if refused is not None:
                        yield job[0], refused
                if alive and worker.run is None:
                    workers.remove(worker)
                    worker.end()
    finally:
        for worker in workers:
            worker.end()


def _answer(worker: _Worker) -> tuple[Run | None, RunError | None, bool]:
    """Returns which run a worker has finished, its error, and whether the worker lives on.

    Raises:
        RuntimeError: If it ended before it could play anything.
    """
    run, worker.run = worker.run, None
    try:
        error = worker.connection.recv()
    except (EOFError, OSError):
        worker.process.join()
        if not worker.ready:
            raise RuntimeError(_STARTUP_HINT) from None
        code = worker.process.exitcode
        how = f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
        return run, RunError(f"its process ended ({how})"), False
    worker.ready = True
    return run, error, True


def _work(connection: Connection) -> None:
    """Plays what comes over the pipe until it is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent to handle
    connection.send(None)  # ready
    while True:
        try:
            packed = connection.recv_bytes()
        except (EOFError, OSError):
            return
        try:
            run, folder = pickle.loads(packed)
            error = _error_of(run, folder)
        except Exception as failed:  # noqa: BLE001 - what a pickle needs may be missing here
            error = _as_text(failed)
        connection.send(error)


def _packed(job: tuple[Run, Path]) -> bytes:
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
