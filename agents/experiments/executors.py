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

from agents.experiments.errors import RunError, as_text
from agents.experiments.parcel import Answer, pack, play_parcel
from agents.experiments.runs import Run
from agents.experiments.store import RunStore
from agents.experiments.workers import Played

_IN_FLIGHT: Final = 128  # runs handed over at a time: enough for as many workers, few to take back
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
) -> Played:
    """Plays runs on an executor; see `agents.experiments.workers.Player`.

    Args:
        executor: Who plays; it is not shut down.
        runs: What to play.
        store: Where it is kept, by this process.
        freight: Makes of a cargo what is given to the executor in its place.

    Raises:
        ExecutorError: If it takes no runs, or loses them.
    """
    under_way: dict[Future[Answer], tuple[Run, int]] = {}

    def submit(run: Run, attempt: int) -> RunError | None:
        try:
            parcel, cargo = pack(run)
        except Exception as error:  # noqa: BLE001 - pickling runs code of the agent's
            return as_text(error)
        try:
            future = executor.submit(play_parcel, parcel, freight(cargo))
        except RuntimeError as error:
            raise ExecutorError(f"executor={executor!r}: takes no runs: {error}") from error
        under_way[future] = run, attempt
        return None

    try:
        left = True
        while left or under_way:
            while left and len(under_way) < _IN_FLIGHT:
                run = next(runs, None)
                left = run is not None
                unfit = None if run is None else submit(run, 1)
                if run is not None and unfit is not None:
                    yield run, unfit
            for future in wait(under_way, return_when=FIRST_COMPLETED).done:
                run, attempt = under_way.pop(future)
                answer = _answer(future, run)
                if answer.refused and attempt < _ATTEMPTS:
                    submit(run, attempt + 1)
                    continue
                if answer.refused:
                    raise ExecutorError(f"{run.title}: no worker could take it: {answer.refused}")
                if answer.files is not None:
                    store.keep(run, answer.files)
                yield run, answer.error
    finally:
        for future in under_way:
            future.cancel()


def _answer(future: Future[Answer], run: Run) -> Answer:
    """Returns what came back for a run.

    Raises:
        ExecutorError: If the executor lost it.
    """
    try:
        return future.result()
    except _LOST as error:
        raise ExecutorError(
            f"the executor broke down while it played {run.title} ({type(error).__name__}: "
            f"{error}); finished runs are kept, and the same call goes on from there"
        ) from error
    except Exception as error:  # noqa: BLE001 - what kept one run from being played there
        return Answer(error=as_text(error))
