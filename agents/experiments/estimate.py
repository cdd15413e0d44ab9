"""What an experiment will take, from a short trial of each agent in each scenario."""

from __future__ import annotations

import io
import math
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from agents.experiments.runs.errors import error_of
from agents.experiments.runs.groups import Group, grouped
from agents.experiments.runs.run import Run
from agents.threads import one_thread
from edgecloud_gym.results.records import request_log

if TYPE_CHECKING:
    import pandas as pd

_TRIAL: Final = 0.2  # s of playing, at most
_TRIALS: Final = 10.0  # s of playing, all trials together
_LEAST: Final = 0.02  # s of playing, for a rate that means something
# Bytes per request of a run that is being played: its record, its row of the log, the file of it.
_MEMORY: Final = 400
_TABLES: Final = 2  # a request is written to the file of its run, then to that of all


@dataclass(frozen=True)
class Cost:
    """What one run takes.

    Attributes:
        seconds: Time of one process (s).
        requests: How many arrive.
        disk: Bytes of its files, with its rows in the CSVs.
    """

    seconds: float
    requests: int
    disk: int


@dataclass(frozen=True)
class Estimate:
    """What the runs that are left will take.

    Attributes:
        costs: Of each run, by its digest.
        seconds: Time on so many processes (s).
        memory: Bytes of one process.
        disk: Bytes of all files.
    """

    costs: Mapping[str, Cost]
    seconds: float
    memory: int
    disk: int


def estimate(runs: Sequence[Run], processes: int) -> Estimate:
    """Tries each agent in each scenario for a moment, and reckons what the runs take.

    Args:
        runs: What is to be played.
        processes: How many play at a time.

    Raises:
        FileNotFoundError: If a file that an agent is made with is missing.
        TypeError: If an agent does not fit its environment.
        ValueError: Likewise.
    """
    first: dict[tuple[str, str], Group] = {}
    for group in grouped(iter(runs)):
        first.setdefault(group.cell, group)
    limit = min(_TRIAL, max(_LEAST, _TRIALS / max(len(first), 1)))
    tried = {cell: _try(group, limit) for cell, group in first.items()}
    costs = {run.digest: tried[Group((run,)).cell] for run in runs}
    each = [cost.seconds for cost in costs.values()]
    most = max((cost.requests for cost in costs.values()), default=0)
    return Estimate(
        costs,
        max(sum(each) / processes, max(each, default=0.0)),
        peak_memory() + _MEMORY * most,
        sum(cost.disk for cost in costs.values()),
    )


def _try(group: Group, limit: float) -> Cost:
    """Plays the beginning of a group's runs for so long (s) and reckons what each of them takes.

    Raises:
        FileNotFoundError: If a file that the agent is made with is missing.
        TypeError: If the agent does not fit the environment; both are named.
        ValueError: Likewise.
    """
    begun = time.perf_counter()
    base, steps = group.begin()
    with one_thread():
        _begin(group.runs[0], steps)
        making = time.perf_counter() - begun
        started = time.perf_counter()
        error_of(
            lambda: _play_until(steps, started + limit)
        )  # what goes wrong is the run's to tell
        playing = time.perf_counter() - started
    lanes = base.simulator.state.lanes
    requests = int(lanes["requests"].sum())
    share = max(int(lanes["arrived"].sum()), 1) / max(requests, 1)
    each = math.ceil(requests / len(lanes))
    disk = _TABLES * each * _bytes_per_row(request_log(base.simulator, 0))
    base.close()
    return Cost((making + playing / share) / len(lanes), each, disk)


def _begin(run: Run, steps: Iterator[object]) -> None:
    try:
        next(steps)
    except (TypeError, ValueError) as error:
        label = run.spec.label
        raise type(error)(f"{label} does not fit {run.scenario.label}: {error}") from error
    except FileNotFoundError:
        raise  # it names the file; every run would fail for the lack of it
    except Exception:  # noqa: BLE001 - a fault in an agent's own code is for its runs to tell
        return


def _play_until(steps: Iterator[object], time_up: float) -> None:
    for _ in steps:
        if time.perf_counter() > time_up:
            return


def peak_memory() -> int:
    """Returns the most memory that this process has held (bytes); 0 where it cannot be told."""
    try:
        import resource
    except ModuleNotFoundError:  # Windows
        return 0
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _bytes_per_row(log: pd.DataFrame) -> int:
    """Returns how long a line of a request log is as CSV."""
    if len(log) == 0:
        return 0
    text = io.StringIO()
    log.head(100).to_csv(text, index=False, header=False)
    return text.tell() // min(len(log), 100)
