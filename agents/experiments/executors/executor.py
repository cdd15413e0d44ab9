"""Playing runs on an executor of the user's, whose workers need to share nothing with this process.

Any `concurrent.futures.Executor` will do: of the standard library, loky, mpi4py, joblib or Dask.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    CancelledError,
    Executor,
    Future,
    wait,
)
from typing import Any, Final

from agents.experiments.executors.parcel import Answer, Packer, play_parcel
from agents.experiments.executors.workers import Played
from agents.experiments.runs.errors import RunError, as_text
from agents.experiments.runs.run import Run
from agents.experiments.runs.store import RunStore

_IN_FLIGHT: Final = 128  # runs handed over at a time: enough for as many workers, few to take back
_PATIENCE: Final = 10.0  # s, until it is asked whether anybody plays at all
_ATTEMPTS: Final = 3  # of a run that workers refuse
_LOST: Final = (BrokenExecutor, CancelledError, ConnectionError, EOFError)

Freight = Callable[[Mapping[str, bytes]], Mapping[str, Any]]


class ExecutorError(RuntimeError):
    """An executor cannot play: it is shut down, has broken down, or its workers have other code."""


def play_on(
    executor: Executor,
    runs: Iterator[Run],
    store: RunStore,
    freight: Freight = dict,
    watch: Callable[[], None] = lambda: None,
) -> Played:
    """Plays runs on an executor; see `agents.experiments.executors.workers.Player`.

    Args:
        executor: Who plays; it is not shut down.
        runs: What to play.
        store: Where it is kept, by this process.
        freight: Makes of a cargo what is given to the executor in its place.
        watch: Called now and then while nothing comes back; raises if nothing will.

    Raises:
        ExecutorError: If it takes no runs, or loses them.
    """
    flight = _Flight(executor, freight)
    following = next(runs, None)
    try:
        while following is not None or flight.under_way:
            while following is not None and len(flight.under_way) < _IN_FLIGHT:
                unfit = flight.send(following)
                if unfit is not None:
                    yield following, unfit
                following = next(runs, None)
            landed = wait(flight.under_way, _PATIENCE, FIRST_COMPLETED).done
            if not landed:
                watch()
            for future in landed:
                run, answer = flight.take(future)
                if answer is None:
                    continue
                if answer.files is not None:
                    store.keep(run, answer.files)
                yield run, answer.error
    finally:
        for future in flight.under_way:
            future.cancel()


class _Flight:
    """The runs that are with an executor.

    Attributes:
        under_way: Each run, and how often it was sent.
    """

    def __init__(self, executor: Executor, freight: Freight) -> None:
        self._executor = executor
        self._freight = freight
        self._packer = Packer()
        self.under_way: dict[Future[Answer], tuple[Run, int]] = {}

    def send(self, run: Run, attempt: int = 1) -> RunError | None:
        """Sends a run; returns what keeps it from travelling, if anything does."""
        try:
            parcel, cargo = self._packer.pack(run)
        except Exception as error:  # noqa: BLE001 - pickling runs code of the agent's
            return as_text(error)
        try:
            future = self._executor.submit(play_parcel, parcel, self._freight(cargo))
        except ExecutorError:
            raise
        except Exception as error:
            raise ExecutorError(f"executor={self._executor!r}: takes no runs: {error}") from error
        self.under_way[future] = run, attempt
        return None

    def take(self, future: Future[Answer]) -> tuple[Run, Answer | None]:
        """Takes a run back, with what came of it; with nothing if it was sent again."""
        run, attempt = self.under_way.pop(future)
        answer = answer_of(future, run.title)
        if not answer.refused:
            return run, answer
        if attempt == _ATTEMPTS:
            raise ExecutorError(f"{run.title}: no worker could take it: {answer.refused}")
        self.send(run, attempt + 1)
        return run, None


def answer_of(future: Future[Answer], title: str) -> Answer:
    """Returns what came back for a run or training.

    Raises:
        ExecutorError: If the executor lost it.
    """
    try:
        return future.result()
    except _LOST as error:
        raise ExecutorError(
            f"the executor broke down while it played {title} ({type(error).__name__}: "
            f"{error}); finished runs are kept, and the same call goes on from there"
        ) from error
    except Exception as error:  # noqa: BLE001 - what kept one run from being played there
        if type(error).__name__ == "KilledWorker":  # Dask's, which need not be installed
            return Answer(error=RunError("its process ended, on each worker that tried"))
        return Answer(error=as_text(error))
