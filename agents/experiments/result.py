"""What an experiment yielded: tables, failures, and a record of everything that was played."""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from agents.experiments.code import code_behind, digest
from agents.experiments.definition import as_record
from agents.experiments.folder import write_results
from agents.experiments.runs import Run, read_played, read_summary, versions
from agents.report.results import REQUESTS, SUMMARY, TIMESERIES

if TYPE_CHECKING:
    import pandas as pd

_PARTS: Final = ("scenario", "spec")
_NOT_WATCHED: Final = (
    "installed packages but for their versions, modules named at run time, files opened"
)


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

        rows = [read_summary(path) for path in self._folders()]
        return pd.DataFrame(rows) if rows else pd.DataFrame(columns=["env", "agent", "seed"])

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


def _joined(parts: Iterable[pd.DataFrame]) -> pd.DataFrame:
    import pandas as pd

    tables = list(parts)
    columns = ["env", "agent", "seed"]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=columns)


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
        "versions": dict(versions()),
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
