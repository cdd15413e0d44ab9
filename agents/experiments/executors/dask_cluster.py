"""Playing runs on a Dask cluster, one that runs or one that is started here (extra ``dask``)."""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from functools import partial
from typing import Any, Final

from agents.experiments.executors.executor import ExecutorError, play_on
from agents.experiments.executors.parcel import code_here, differing_code
from agents.experiments.executors.workers import Player

LOCAL: Final = "local"
_PATIENCE: Final = 10  # s, for a scheduler to answer
# Dask has workers give memory back at once, which makes a run a sixth slower, and samples their
# stacks all the time.
_LOCAL_CONFIG: Final = {
    "distributed.nanny.pre-spawn-environ": {
        "MALLOC_TRIM_THRESHOLD_": 1 << 30,
        "MALLOC_MMAP_THRESHOLD_": 1 << 25,
        "OMP_NUM_THREADS": 1,
    },
    "distributed.worker.profile.enabled": False,
}
_WORKERS_WITHIN: Final = 30  # s, until a cluster has a worker

Tell = Callable[[str], None]


@contextmanager
def dask_player(scheduler: str, workers: int, tell: Tell) -> Iterator[tuple[Player, int]]:
    """Yields who plays on a cluster, and how many runs at a time; nothing is left there after.

    Workers need the versions of packages that this process has, and no disk in common with it.
    Those with others are named and not used.

    Args:
        scheduler: Its address, such as "tcp://host:8786", or "local" for a cluster of this machine.
        workers: Processes of a local one.
        tell: Told what a user should know.

    Raises:
        ExecutorError: If the scheduler cannot be reached, or has no worker that can be used; or if
            Dask is not installed.
    """
    with dask_executor(scheduler, workers, tell) as executor:
        player = partial(play_on, executor, freight=executor.ship, watch=executor.watch)
        yield player, executor.count


@contextmanager
def dask_executor(scheduler: str, workers: int, tell: Tell) -> Iterator[DaskExecutor]:
    """Yields the workers of a cluster; see `dask_player`."""
    with _client(scheduler, workers) as client:
        yield DaskExecutor(client, tell)


@contextmanager
def _client(scheduler: str, workers: int) -> Iterator[Any]:
    try:
        import dask
        from distributed import Client, LocalCluster
    except ModuleNotFoundError as error:
        hint = "pip install 'edgecloud-gym[dask]'"
        raise ExecutorError(
            f"{error.name} is not installed, which a cluster needs: {hint}"
        ) from error
    if scheduler == LOCAL:
        quiet = logging.CRITICAL  # of workers that are ended while they play
        with (
            dask.config.set(_LOCAL_CONFIG),
            LocalCluster(
                n_workers=workers,
                processes=True,
                threads_per_worker=1,
                dashboard_address="127.0.0.1:0",
                silence_logs=quiet,
            ) as cluster,
            Client(cluster) as client,
        ):
            client.register_worker_callbacks(setup=_ignore_interrupts)
            yield client
        return
    try:
        client = Client(scheduler, timeout=_PATIENCE)
    except (OSError, TimeoutError, ValueError) as error:
        raise ExecutorError(
            f"scheduler {scheduler!r}: cannot be reached ({error}); it must be the address of a "
            f"Dask scheduler, such as tcp://host:8786, or {LOCAL!r}"
        ) from error
    with client:
        yield client


def _ignore_interrupts() -> None:
    """Leaves Ctrl-C, which reaches every process of a terminal, to the one that began."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


class DaskExecutor(Executor):
    """The workers of a Dask cluster that have the same code as this process.

    Args:
        client: Of the cluster.
        tell: Told what a user should know.
    """

    def __init__(self, client: Any, tell: Tell) -> None:
        self._client = client
        self._tell = tell
        self._fit: dict[str, bool] = {}  # workers that were asked, by address
        self._shipped: dict[str, Any] = {}
        try:
            client.wait_for_workers(1, timeout=_WORKERS_WITHIN)
        except TimeoutError:
            raise ExecutorError(f"the scheduler has no workers after {_WORKERS_WITHIN} s") from None
        self.watch()

    @property
    def count(self) -> int:
        """How many workers can play."""
        return sum(self._fit.values())

    def submit(self, function: Any, /, *arguments: Any, **named: Any) -> Future[Any]:
        """Has a worker call a function."""
        with self._reached():
            self._ask()
            return self._send(function, *arguments, **named)

    def _send(self, function: Any, /, *arguments: Any, **named: Any) -> Future[Any]:
        chosen = [address for address, fit in self._fit.items() if fit]
        # By address only where it must be: a worker that starts again has another one.
        only = None if all(self._fit.values()) else chosen
        pool = self._client.get_executor(pure=False, workers=only)
        future: Future[Any] = pool.submit(function, *arguments, **named)
        return future

    def ship(self, cargo: Mapping[str, bytes]) -> dict[str, Any]:
        """Sends what runs have in common to the workers, once; returns what stands for it."""
        for name, content in cargo.items():
            shipped = self._shipped.get(name)
            if shipped is None or shipped.status != "finished":
                workers = [address for address, fit in self._fit.items() if fit]
                with self._reached():
                    self._shipped[name] = self._client.scatter(
                        content, workers=workers, broadcast=True, hash=False
                    )
        return {name: self._shipped[name] for name in cargo}

    def watch(self) -> None:
        """Looks at who is there.

        Raises:
            ExecutorError: If nobody is who can play, or the scheduler is gone.
        """
        with self._reached():
            self._ask()
        if not any(self._fit.values()):
            raise ExecutorError(
                "the cluster has no worker that can play; what has finished is kept"
            )

    @contextmanager
    def _reached(self) -> Iterator[None]:
        """Says in one way that the scheduler is gone, which Dask says in several."""
        from distributed.client import ClosedClientError

        try:
            yield
        except ExecutorError:
            raise
        except (OSError, RuntimeError, TimeoutError, ClosedClientError) as error:
            raise ExecutorError(
                f"the scheduler cannot be reached any more ({error}); finished runs are kept, and "
                "the same call goes on from there"
            ) from error

    def _ask(self) -> None:
        """Asks workers that have come for their code, and forgets those that have gone."""
        workers = self._client.scheduler_info(n_workers=-1).get("workers")
        if workers is None:  # the client has given up
            raise ConnectionError("connection closed")
        self._fit = {address: fit for address, fit in self._fit.items() if address in workers}
        new = [address for address in workers if address not in self._fit]
        if not new:
            return
        wanted = code_here()
        answers = self._client.run(code_here, workers=new, on_error="return")
        for address, there in answers.items():
            if isinstance(there, BaseException):
                problem = f"it cannot load edgecloud-gym ({type(there).__name__}: {there})"
            else:
                problem = differing_code(wanted, there)
            self._fit[address] = not problem
            if problem:
                self._tell(f"worker {address} is not used: {problem}")
            elif workers[address]["nthreads"] > 1:
                self._tell(f"worker {address} plays one run at a time, whatever its threads")
