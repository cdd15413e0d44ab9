"""Experiments: scenarios x agents x seeds under common random numbers, in parallel, resumable."""

from __future__ import annotations

import json
import multiprocessing
import platform
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from agents.base import Agent
from agents.experiments.fingerprint import describe
from agents.experiments.runs import (
    AgentSpec,
    Run,
    Scenario,
    cached_dataset,
    discard_unfinished,
    read_summary,
)
from edgecloud_gym.files import replacing

if TYPE_CHECKING:
    import pandas as pd

TABLES: Final = ("timeseries", "requests")
_PACKAGES: Final = ("edgecloud-gym", "gymnasium", "numpy", "numba", "pandas", "pyarrow", "torch")


@dataclass(frozen=True)
class Progress:
    """What a progress callback is told after each run.

    Attributes:
        done: Runs finished, those of an earlier call included.
        total: Runs in all.
        run: The latest one; ``None`` at the start.
        error: What went wrong in it, if anything did.
    """

    done: int
    total: int
    run: Run | None = None
    error: BaseException | None = None


@dataclass(frozen=True)
class Failure:
    """A run that raised an error."""

    run: Run
    error: BaseException

    def __str__(self) -> str:
        return f"{self.run.title}: {type(self.error).__name__}: {self.error}"


@dataclass(frozen=True)
class ExperimentResult:
    """The results of an experiment, read from its folder.

    Attributes:
        output: The folder.
        runs: The runs that finished, in the order scenario, agent, seed.
        failures: The runs that did not.
    """

    output: Path
    runs: tuple[Run, ...]
    failures: tuple[Failure, ...] = ()

    @cached_property
    def summary(self) -> pd.DataFrame:
        """One row per run: ``env``, ``agent``, ``seed`` and the metrics."""
        import pandas as pd

        return pd.DataFrame([read_summary(run.folder(self.output)) for run in self.runs])

    @cached_property
    def timeseries(self) -> pd.DataFrame:
        """One row per run and telemetry sample."""
        return self._table("timeseries")

    @cached_property
    def requests(self) -> pd.DataFrame:
        """One row per run and request."""
        return self._table("requests")

    def _table(self, name: str) -> pd.DataFrame:
        import pandas as pd

        return pd.concat(self._parts(name), ignore_index=True)

    def _parts(self, name: str) -> Iterator[pd.DataFrame]:
        import pandas as pd

        for run in self.runs:
            yield pd.read_parquet(run.folder(self.output) / f"{name}.parquet")

    def write(self) -> None:
        """Writes ``summary.csv``, ``timeseries.csv``, ``requests.csv`` and ``run.json``."""
        with replacing(self.output / "summary.csv") as path:
            self.summary.to_csv(path, index=False)
        for name in TABLES:
            with replacing(self.output / f"{name}.csv") as path:
                _write_csv(path, self._parts(name))
        with replacing(self.output / "run.json") as path:
            path.write_text(json.dumps(self._record(), indent=2) + "\n")

    def _record(self) -> dict[str, Any]:
        scenarios = {run.scenario.label: run.scenario for run in self.runs}
        specs = {run.spec.label: run.spec for run in self.runs}
        return {
            "scenarios": [
                {"label": label, "env": s.env_id, "settings": describe(s.settings)}
                for label, s in scenarios.items()
            ],
            "agents": [
                {
                    "label": label,
                    "agent": describe(s.agent),
                    "settings": describe(s.settings),
                    "checkpoint": s.checkpoint,
                    "explore": s.explore,
                }
                for label, s in specs.items()
            ],
            "seeds": sorted({run.seed for run in self.runs}),
            "failures": [str(failure) for failure in self.failures],
            "versions": {"python": platform.python_version(), **_versions()},
            "machine": platform.platform(),
        }


class ExperimentError(RuntimeError):
    """Some runs of an experiment failed; the others are kept.

    Attributes:
        result: What the others yielded.
    """

    def __init__(self, result: ExperimentResult) -> None:
        self.result = result
        failed = "\n".join(f"  {failure}" for failure in result.failures)
        count = len(result.failures)
        super().__init__(f"{count} of {count + len(result.runs)} runs failed:\n{failed}")


def run_experiment(
    env_id: str | Sequence[str | Scenario],
    agents: Sequence[str | type[Agent] | AgentSpec],
    seeds: int | Sequence[int],
    env_kwargs: Mapping[str, Any] | None = None,
    output_dir: str | Path = "results",
    *,
    workers: int = 1,
    progress: Callable[[Progress], None] | None = None,
) -> ExperimentResult:
    """Plays every agent on the same request streams and writes the results.

    All agents meet the same requests at the same times for the same seed. Slots may stay idle
    (``work_conserving=False``) unless the settings say otherwise. Every finished run is kept in
    ``output_dir/runs``, under a digest of all that defines it: a call with the same arguments
    goes on where an earlier one was interrupted, and repeats nothing. The files do not depend on
    the number of workers.

    Args:
        env_id: One environment id, or several ids or `Scenario` objects.
        agents: Names, subclasses of `Agent`, or `AgentSpec` objects.
        seeds: The seeds, or how many: 0, 1, ...
        env_kwargs: Settings of every environment; those of a `Scenario` go before them.
        output_dir: Where the results go.
        workers: Processes; with more than one, the calling script needs the usual
            ``if __name__ == "__main__"``.
        progress: Called in this process at the start and after every run.

    Returns:
        The results, which are in the folder as well: ``summary.csv``, ``timeseries.csv``,
        ``requests.csv`` and ``run.json``, each complete or absent.

    Raises:
        ExperimentError: If runs failed, after the results of the others have been written.
        ValueError: If an agent is unknown, or labels or seeds repeat.
    """
    output = Path(output_dir)
    cached_dataset.cache_clear()  # files may have changed since an earlier call
    runs = _plan(env_id, agents, seeds, env_kwargs or {})
    if workers < 1:
        raise ValueError(f"workers={workers!r}: must be at least 1")
    discard_unfinished(output)
    tell = progress or (lambda _: None)
    missing = [run for run in runs if not run.folder(output).is_dir()]
    done = len(runs) - len(missing)
    tell(Progress(done, len(runs)))
    failures = {}
    for run, error in _play_all(missing, output, min(workers, max(1, len(missing)))):
        done += 1
        if error is not None:
            failures[run.digest] = Failure(run, error)
        tell(Progress(done, len(runs), run, error))
    finished = tuple(run for run in runs if run.digest not in failures)
    ordered = tuple(failures[run.digest] for run in runs if run.digest in failures)
    result = ExperimentResult(output, finished, ordered)
    if finished:
        result.write()
    if failures:
        raise ExperimentError(result)
    return result


def _plan(
    env_id: str | Sequence[str | Scenario],
    agents: Sequence[str | type[Agent] | AgentSpec],
    seeds: int | Sequence[int],
    env_kwargs: Mapping[str, Any],
) -> list[Run]:
    environments = [env_id] if isinstance(env_id, str) else env_id
    given = [Scenario(item) if isinstance(item, str) else item for item in environments]
    scenarios = [Scenario(s.env_id, {**env_kwargs, **s.settings}, s.label) for s in given]
    specs = [item if isinstance(item, AgentSpec) else AgentSpec(item) for item in agents]
    chosen = list(range(seeds)) if isinstance(seeds, int) else [int(seed) for seed in seeds]
    for what, labels in (
        ("env", [s.label for s in scenarios]),
        ("agent", [s.label for s in specs]),
        ("seed", chosen),
    ):
        if not labels:
            raise ValueError(f"an experiment needs at least one {what}")
        if len(set(labels)) < len(labels):
            raise ValueError(f"each {what} may occur once, got {labels}")
    return [
        Run(scenario, spec, seed) for scenario in scenarios for spec in specs for seed in chosen
    ]


def _play_all(
    runs: Sequence[Run], output: Path, workers: int
) -> Iterator[tuple[Run, BaseException | None]]:
    """Plays the runs; yields each, as it ends, with its error or ``None``."""
    if workers == 1:
        for run in runs:
            yield run, _error_of(run, output)
        return
    others = set(multiprocessing.active_children())
    context = multiprocessing.get_context("spawn")  # threads do not survive a fork
    pool = ProcessPoolExecutor(workers, context, _ignore_interrupts)
    try:
        futures = {pool.submit(run.play, output): run for run in runs}
        for future in as_completed(futures):
            yield futures[future], future.exception()
    except BaseException:
        # Interrupted: what is under way is given up, what has ended is on the disk.
        for process in set(multiprocessing.active_children()) - others:
            process.terminate()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _error_of(run: Run, output: Path) -> BaseException | None:
    try:
        run.play(output)
    except Exception as error:  # noqa: BLE001 - reported with its run, as from a worker
        return error
    return None


def _ignore_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent to handle


def _write_csv(path: Path, parts: Iterator[pd.DataFrame]) -> None:
    """Writes tables of equal columns one after the other; missing values are empty."""
    import pyarrow as pa
    from pyarrow import csv

    writer = None
    try:
        for part in parts:
            table = pa.Table.from_pandas(part, preserve_index=False)
            if writer is None:
                writer = csv.CSVWriter(path, table.schema)
            writer.write_table(table)
    finally:
        if writer is not None:
            writer.close()


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
