"""Experiments: scenarios x agents x seeds under common random numbers, in parallel, resumable."""

from __future__ import annotations

import logging
import platform
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from agents.experiments.code import code_behind, digest
from agents.experiments.definition import AgentLike, ScenarioLike, as_record, define_runs
from agents.experiments.folder import claim, write_results
from agents.experiments.runs import (
    Run,
    discard_unfinished,
    is_intact,
    read_played,
    read_summary,
    versions,
)
from agents.experiments.scenario import cached_dataset
from agents.experiments.workers import play_all
from agents.report.results import REQUESTS, SUMMARY, TIMESERIES
from edgecloud_gym.checks import check_integer

if TYPE_CHECKING:
    import pandas as pd

_LOG = logging.getLogger(__name__)
_NOT_WATCHED = "installed packages but for their versions, modules named at run time, files opened"


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


Progress = ExperimentProgress  # its former name


@dataclass(frozen=True)
class Failure:
    """A run that raised an error.

    Attributes:
        run: The run.
        error: The kind of exception and its message.
        traceback: Where it was raised; empty if a process ended without a word.
    """

    run: Run
    error: str
    traceback: str = field(default="", repr=False)

    def __str__(self) -> str:
        return f"{self.run.title}: {self.error}"


@dataclass(frozen=True, repr=False)
class ExperimentResult:
    """The results of an experiment.

    Attributes:
        output: The folder that they were written to; ``None`` if they are only in memory.
        runs: The runs that finished, in the order scenario, agent, seed.
        failures: The runs that did not.
    """

    output: Path | None
    runs: tuple[Run, ...]
    failures: tuple[Failure, ...] = ()

    def __repr__(self) -> str:
        labels = [dict.fromkeys(getattr(r, n).label for r in self.runs) for n in _PARTS]
        where = "in memory" if self.output is None else f"in {str(self.output)!r}"
        failed = f", {len(self.failures)} failed" if self.failures else ""
        return (
            f"<ExperimentResult {where}: {len(self.runs)} runs{failed}; "
            f"{', '.join(labels[0])}; {', '.join(labels[1])}>"
        )

    def _repr_html_(self) -> str:
        from agents.report.html import render_tables

        return render_tables(self)

    @cached_property
    def record(self) -> dict[str, Any]:
        """What was played, as in ``run.json``."""
        return _record(self)

    @cached_property
    def summary(self) -> pd.DataFrame:
        """One row per run: ``env``, ``agent``, ``seed`` and the metrics."""
        import pandas as pd

        return pd.DataFrame([read_summary(path) for path in self._folders()])

    @cached_property
    def timeseries(self) -> pd.DataFrame:
        """One row per run and telemetry sample."""
        return _joined(self._parts("timeseries"))

    @cached_property
    def requests(self) -> pd.DataFrame:
        """One row per run and request."""
        return _joined(self._parts("requests"))

    def _folders(self) -> list[Path]:
        if self.output is None:
            raise RuntimeError("the results were not written anywhere")
        return [run.folder(self.output) for run in self.runs]

    def _parts(self, name: str) -> Iterator[pd.DataFrame]:
        import pandas as pd

        return (pd.read_parquet(path / f"{name}.parquet") for path in self._folders())

    def write(self) -> None:
        """Writes ``summary.csv``, ``timeseries.csv``, ``requests.csv`` and ``run.json``."""
        if self.output is None:
            raise ValueError("output_dir=None: the results are only in memory")
        tables: dict[str, Callable[[], Iterable[pd.DataFrame]]] = {
            SUMMARY: lambda: [self.summary] if self.runs else [],
            TIMESERIES: lambda: self._parts("timeseries"),
            REQUESTS: lambda: self._parts("requests"),
        }
        failures = "\n".join(f"{failure}\n{failure.traceback}" for failure in self.failures)
        write_results(self.output, self.record, tables, failures)

    def draw(self) -> list[Path]:
        """Draws ``comparison.png``, and ``load_sweep.png`` where loads differ, into the folder.

        Returns:
            The pictures; none where nothing can be drawn, because no request arrived.
        """
        if self.output is None:
            raise ValueError("output_dir=None: there is no folder for pictures")
        from agents.report.plots import draw_all

        return draw_all(self, self.output)


_PARTS = ("scenario", "spec")


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
    env_id: ScenarioLike | Sequence[ScenarioLike],
    agents: AgentLike | Sequence[AgentLike],
    seeds: int | Sequence[int],
    env_kwargs: Mapping[str, Any] | None = None,
    output_dir: str | Path | None = "results",
    *,
    workers: int = 1,
    progress: Callable[[ExperimentProgress], None] | None = None,
    plots: bool = False,
    overwrite: bool = False,
) -> ExperimentResult:
    """Plays every agent on the same request streams and writes the results.

    All agents meet the same requests at the same times for the same seed. Whether idle places are
    filled is up to each agent (`Agent.work_conserving`), unless the settings have
    ``work_conserving``; ``run.json`` tells what each played with.

    Every finished run is kept in ``output_dir/runs``, under a digest of all that defines it: a call
    with the same arguments goes on where an earlier one was interrupted, and repeats nothing. The
    code counts as well: this package, the agent's class with its bases, the modules that they
    import, what is behind any setting, and the versions of installed packages. Modules that are
    imported under a computed name and files that an agent opens by itself are not seen. The
    results do not depend on the number of workers.

    A folder belongs to one experiment, which may grow by scenarios, agents and seeds.

    Args:
        env_id: An environment id or `Scenario`, or several.
        agents: A name, subclass of `Agent` or `AgentSpec`, or several.
        seeds: The seeds, or how many: 0, 1, ...
        env_kwargs: Settings of every environment; those of a `Scenario` go before them.
        output_dir: Where the results go; ``None`` keeps them in memory alone.
        workers: Processes; with more than one, a script that calls this needs the usual
            ``if __name__ == "__main__"``, and an agent that ends its process takes no other run
            with it.
        progress: Called in this process at the start and after every run.
        plots: Whether to draw the pictures into the folder as well.
        overwrite: Whether to clear the folder if it holds another experiment.

    Returns:
        The results, which are in the folder as well: ``summary.csv``, ``timeseries.csv``,
        ``requests.csv`` and ``run.json``, all of them or none.

    Raises:
        ExperimentError: If runs failed, after the results of the others have been written.
        OSError: If nothing can be written to the folder; noticed before anything is played.
        TypeError: If an argument or a setting is of a wrong type.
        ValueError: If an agent is unknown, labels or seeds repeat, a setting is out of range, no
            request can ever arrive, or the folder holds another experiment.
    """
    runs = prepare(env_id, agents, seeds, env_kwargs)
    workers = check_integer("workers", workers, least=1)
    if output_dir is None:
        if plots:
            raise ValueError("plots=True: the pictures need an output_dir")
        with TemporaryDirectory() as name:
            result = _in_memory(play(runs, Path(name), workers, progress))
    else:
        output = Path(output_dir)
        claim(output, as_record(runs), overwrite=overwrite)
        result = play(runs, output, workers, progress)
        if plots:
            result.draw()
    if result.failures:
        raise ExperimentError(result)
    return result


def prepare(
    env_id: ScenarioLike | Sequence[ScenarioLike],
    agents: AgentLike | Sequence[AgentLike],
    seeds: int | Sequence[int],
    env_kwargs: Mapping[str, Any] | None = None,
) -> list[Run]:
    """Returns the runs of an experiment after checking what can be checked without playing.

    Raises:
        TypeError: See `run_experiment`.
        ValueError: See `run_experiment`.
    """
    cached_dataset.cache_clear()  # files may have changed since an earlier call
    runs = define_runs(env_id, agents, seeds, env_kwargs or {})
    for scenario in {run.scenario.label: run.scenario for run in runs}.values():
        scenario.check()
    for run in runs:
        run.digest  # noqa: B018 - so that a setting that cannot be compared is refused now
    return runs


def play(
    runs: Sequence[Run],
    output: Path,
    workers: int,
    progress: Callable[[ExperimentProgress], None] | None = None,
) -> ExperimentResult:
    """Plays the runs that are not in a folder yet, and writes the results of all of them."""
    tell = progress or _log
    discard_unfinished(output)
    missing = [run for run in runs if not is_intact(run.folder(output))]
    done = len(runs) - len(missing)
    tell(ExperimentProgress(done, len(runs)))
    for run in missing:
        if run.folder(output).exists():
            shutil.rmtree(run.folder(output))
            note = f"{run.title}: its files were damaged; it is played again"
            tell(ExperimentProgress(done, len(runs), note=note))
    failures = {}
    for run, error in play_all(missing, output, workers):
        done += 1
        if error is not None:
            failures[run.digest] = Failure(run, error.message, error.traceback)
        message = None if error is None else error.message
        tell(ExperimentProgress(done, len(runs), run, message))
    finished = tuple(run for run in runs if run.digest not in failures)
    ordered = tuple(failures[run.digest] for run in runs if run.digest in failures)
    result = ExperimentResult(output, finished, ordered)
    result.write()
    return result


def _log(progress: ExperimentProgress) -> None:
    if progress.note is not None:
        _LOG.warning(progress.note)


def _in_memory(result: ExperimentResult) -> ExperimentResult:
    """Returns a result that does without its folder."""
    kept = ExperimentResult(None, result.runs, result.failures)
    for name in ("record", "summary", "timeseries", "requests"):
        vars(kept)[name] = getattr(result, name)
    return kept


def _joined(parts: Iterable[pd.DataFrame]) -> pd.DataFrame:
    import pandas as pd

    tables = list(parts)
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def _record(result: ExperimentResult) -> dict[str, Any]:
    """Returns everything about an experiment that its tables do not say."""
    everything = [*result.runs, *(failure.run for failure in result.failures)]
    definition = as_record(everything)
    played = _played(result)
    for item in definition["scenarios"]:
        mine = [p for (label, _), p in played.items() if label == item["label"]]
        if mine:
            item.update({name: mine[0][name] for name in ("configuration", "workload")})
            item["configuration"].pop("work_conserving")  # up to the agents, below
    for item in definition["agents"]:
        mine = [p for (_, label), p in played.items() if label == item["label"]]
        item["all_settings"] = mine[0]["agent"] if mine else None
        item["work_conserving"] = {
            label: p["work_conserving"]
            for (label, agent), p in played.items()
            if agent == item["label"]
        }
    specs = {run.spec.label: run.spec for run in everything}
    return {
        **definition,
        "failures": [str(failure) for failure in result.failures],
        "runs": digest(" ".join(run.digest for run in result.runs).encode()),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": list(sys.argv),
        "versions": versions(),
        "machine": platform.platform(),
        "code": {
            "watched": sorted(code_behind(*(s.agent for s in specs.values())).files),
            "not watched": _NOT_WATCHED,
        },
    }


def _played(result: ExperimentResult) -> dict[tuple[str, str], dict[str, Any]]:
    """Returns with which settings each agent was played in each scenario."""
    first: dict[tuple[str, str], Run] = {}
    for run in result.runs:
        first.setdefault((run.scenario.label, run.spec.label), run)
    assert result.output is not None or not first
    played = {key: read_played(run.folder(result.output)) for key, run in first.items()}  # type: ignore[arg-type]
    for facts in played.values():
        facts["work_conserving"] = facts["configuration"]["work_conserving"]
    return played
