"""What an experiment yielded: tables, failures, and a record of everything that was played."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from agents.experiments.results.record import RunKey, record_of, write
from agents.experiments.runs.definition import as_record
from agents.experiments.runs.run import Run
from agents.experiments.runs.store import REQUESTS_FILE, TIMESERIES_FILE, read_summary
from agents.report.results import JCT_COLUMNS, compact
from agents.report.words import counted, ranges

if TYPE_CHECKING:
    import pandas as pd

_PARTS: Final = ("scenario", "spec")


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
        missing: How many are still to be played, by other shards of the experiment.
    """

    output: Path | None
    runs: tuple[Run, ...]
    failures: tuple[Failure, ...] = ()
    missing: int = 0

    def __repr__(self) -> str:
        labels = [dict.fromkeys(getattr(r, n).label for r in self.runs) for n in _PARTS]
        where = "in memory" if self.output is None else f"in {str(self.output)!r}"
        failed = f", {len(self.failures)} failed" if self.failures else ""
        failed += f", {self.missing} still to be played" if self.missing else ""
        return (
            f"<ExperimentResult {where}: {counted(len(self.runs), 'run')}{failed}; "
            f"{', '.join(labels[0])}; {', '.join(labels[1])}>"
        )

    def _repr_html_(self) -> str:
        from agents.report.html import render_tables

        return render_tables(self)

    @cached_property
    def record(self) -> dict[str, Any]:
        """What was played, as in ``run.json``."""
        everything = [*self.runs, *(failure.run for failure in self.failures)]
        failures = [str(failure) for failure in self.failures]
        return record_of(self._folder(), as_record(everything), self._keys(), failures)

    @cached_property
    def summary(self) -> pd.DataFrame:
        """One row per run: ``env``, ``agent``, ``seed`` and the metrics."""
        import pandas as pd

        rows = [read_summary(path) for path in self._folders()]
        return pd.DataFrame(rows) if rows else pd.DataFrame(columns=["env", "agent", "seed"])

    @cached_property
    def timeseries(self) -> pd.DataFrame:
        """One row per run and telemetry sample."""
        return _joined(self._parts(TIMESERIES_FILE))

    @cached_property
    def requests(self) -> pd.DataFrame:
        """One row per run and request."""
        return _joined(self._parts(REQUESTS_FILE))

    def jcts(self, env: str) -> pd.DataFrame:
        """Returns a scenario's ``env``, ``agent``, ``seed``, ``request_id`` and ``jct``."""
        import pandas as pd

        if self.output is None:
            return compact([self.requests[self.requests["env"] == env]])
        files = [
            r.folder(self.output) / REQUESTS_FILE for r in self.runs if r.scenario.label == env
        ]
        return compact(pd.read_parquet(file, columns=JCT_COLUMNS) for file in files)

    def _folder(self) -> Path:
        if self.output is None:
            raise RuntimeError("the results were not written anywhere")
        return self.output

    def _folders(self) -> list[Path]:
        return [run.folder(self._folder()) for run in self.runs]

    def _keys(self) -> list[RunKey]:
        return [RunKey(r.scenario.label, r.spec.label, r.seed, r.digest) for r in self.runs]

    def _parts(self, name: str) -> Iterator[pd.DataFrame]:
        import pandas as pd

        return (pd.read_parquet(path / name) for path in self._folders())

    def write(self, tables: bool = True) -> None:
        """Writes ``summary.csv``, ``timeseries.csv``, ``requests.csv`` and ``run.json``.

        Args:
            tables: Whether to write the second and the third; the runs keep theirs in any case.
        """
        if self.output is None:
            raise ValueError("output_dir=None: the results are only in memory")
        definition = as_record([*self.runs, *(failure.run for failure in self.failures)])
        failures = [(str(failure), failure.traceback) for failure in self.failures]
        write(self.output, definition, self._keys(), failures, tables)

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
        count = len(result.failures)
        total = counted(count + len(result.runs), "run")
        super().__init__(f"{count} of {total} failed:\n{_told(result.failures)}")


def _told(failures: Sequence[Failure]) -> str:
    """Returns a line per failure; seeds that failed alike share one."""
    alike: dict[tuple[str, str, str], list[int]] = {}
    for failure in failures:
        run = failure.run
        key = run.scenario.label, run.spec.label, failure.error
        alike.setdefault(key, []).append(run.seed)
    return "\n".join(
        f"  {env}, agent {agent}, seed{'s' if len(seeds) > 1 else ''} {ranges(seeds)}: {error}"
        for (env, agent, error), seeds in alike.items()
    )


def _joined(parts: Iterable[pd.DataFrame]) -> pd.DataFrame:
    import pandas as pd

    tables = list(parts)
    columns = ["env", "agent", "seed"]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=columns)
