"""What an experiment will take, from a short trial of each agent in each scenario."""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from agents.experiments.episode import play_steps
from agents.experiments.errors import error_of
from agents.experiments.runs import Run, agent_seed
from agents.threads import one_thread

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
    first = {(run.scenario.label, run.spec.label): run for run in reversed(runs)}
    limit = min(_TRIAL, max(_LEAST, _TRIALS / max(len(first), 1)))
    tried = {cell: try_run(run, limit) for cell, run in first.items()}
    costs = {run.digest: tried[run.scenario.label, run.spec.label] for run in runs}
    each = [cost.seconds for cost in costs.values()]
    most = max((cost.requests for cost in costs.values()), default=0)
    return Estimate(
        costs,
        max(sum(each) / processes, max(each, default=0.0)),
        peak_memory() + _MEMORY * most,
        sum(cost.disk for cost in costs.values()),
    )


def try_run(run: Run, limit: float) -> Cost:
    """Plays the beginning of a run and reckons what the whole takes.

    Args:
        run: The run.
        limit: Time to play (s).

    Raises:
        FileNotFoundError: If a file that the agent is made with is missing.
        TypeError: If the agent does not fit the environment; both are named.
        ValueError: Likewise.
    """
    begun = time.perf_counter()
    agent = run.spec.make()
    env = run.scenario.make(agent.work_conserving)
    steps = play_steps(env, agent, run.seed, agent_seed(run.seed), run.spec.explore)
    with one_thread():
        _begin(run, steps)
        making = time.perf_counter() - begun
        started = time.perf_counter()
        error_of(
            lambda: _play_until(steps, started + limit)
        )  # what goes wrong is the run's to tell
        playing = time.perf_counter() - started
    base: Any = env.unwrapped
    lane = base.simulator.state.lanes[0]
    requests = int(lane["requests"])
    share = max(int(lane["arrived"]), 1) / max(requests, 1)
    disk = _TABLES * requests * _bytes_per_row(base.request_log())
    env.close()
    return Cost(making + playing / share, requests, disk)


def _begin(run: Run, steps: Iterator[float]) -> None:
    try:
        next(steps)
    except (TypeError, ValueError) as error:
        label = run.spec.label
        raise type(error)(f"{label} does not fit {run.scenario.label}: {error}") from error
    except FileNotFoundError:
        raise  # it names the file; every run would fail for the lack of it
    except Exception:  # noqa: BLE001 - a fault in an agent's own code is for its runs to tell
        return


def _play_until(steps: Iterator[float], time_up: float) -> None:
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
