"""Writing the results of the runs in a folder: three tables, and a record of what was played."""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from agents.experiments.identity.code import digest
from agents.experiments.identity.versions import versions
from agents.experiments.results.folder import write_results
from agents.experiments.runs.store import (
    REQUESTS_FILE,
    RUNS,
    TIMESERIES_FILE,
    read_played,
    read_summary,
)
from agents.report.results import REQUESTS, TIMESERIES

if TYPE_CHECKING:
    import pyarrow as pa

_NOT_WATCHED: Final = (
    "installed packages but for their versions, modules named at run time, files opened"
)


class RunKey(NamedTuple):
    """A run as the folder of an experiment names it.

    Attributes:
        env: Label of the scenario.
        agent: Label of the agent.
        seed: Random seed.
        digest: See `agents.experiments.runs.run.Run.digest`.
    """

    env: str
    agent: str
    seed: int
    digest: str

    @property
    def title(self) -> str:
        """What messages call the run."""
        return f"{self.env}, agent {self.agent}, seed {self.seed}"


def write(
    output: Path,
    definition: Mapping[str, Any],
    runs: Sequence[RunKey],
    failures: Sequence[tuple[str, str]],
    with_tables: bool = True,
) -> None:
    """Writes the results of runs that are kept in a folder.

    Args:
        output: The folder.
        definition: What was to be played, `agents.experiments.runs.definition.as_record`.
        runs: The runs that finished, in the order of the tables.
        failures: What went wrong in the others, each with its traceback.
        with_tables: Whether to write the two tables beside the summary.
    """
    folders = [output / RUNS / run.digest for run in runs]
    summaries = [read_summary(folder) for folder in folders]
    tables: dict[str, Callable[[], Iterable[pa.Table]]] = {
        TIMESERIES: lambda: _parts(folders, TIMESERIES_FILE),
        REQUESTS: lambda: _parts(folders, REQUESTS_FILE),
    }
    if not with_tables:
        tables.clear()
    record = record_of(output, definition, runs, [text for text, _ in failures])
    write_results(output, record, summaries, tables, "\n".join(map("\n".join, failures)))


def record_of(
    output: Path, definition: Mapping[str, Any], runs: Sequence[RunKey], failures: Sequence[str]
) -> dict[str, Any]:
    """Returns everything about an experiment that its tables do not say; see `write`."""
    played = _played(output, runs)
    scenarios = [dict(item) for item in definition["scenarios"]]
    for item in scenarios:
        mine = [p for (label, _), p in played.items() if label == item["label"]]
        if mine:
            item["configuration"] = dict(mine[0]["configuration"])
            item["configuration"].pop("work_conserving")  # up to the agents, below
            item["workload"] = mine[0]["workload"]
    agents = [dict(item) for item in definition["agents"]]
    for item in agents:
        mine = [p for (_, label), p in played.items() if label == item["label"]]
        item["all_settings"] = mine[0]["agent"] if mine else None
        item["work_conserving"] = {
            label: p["configuration"]["work_conserving"]
            for (label, agent), p in played.items()
            if agent == item["label"]
        }
    return {
        "scenarios": scenarios,
        "agents": agents,
        "seeds": definition["seeds"],
        "failures": list(failures),
        "runs": digest(" ".join(run.digest for run in runs).encode()),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": list(sys.argv),
        "versions": dict(versions()),
        "machine": platform.platform(),
        "code": {"watched": definition["watched"], "not watched": _NOT_WATCHED},
    }


def _played(output: Path, runs: Sequence[RunKey]) -> dict[tuple[str, str], dict[str, Any]]:
    """Returns with which settings each agent was played in each scenario."""
    first: dict[tuple[str, str], RunKey] = {}
    for run in runs:
        first.setdefault((run.env, run.agent), run)
    return {key: read_played(output / RUNS / run.digest) for key, run in first.items()}


def _parts(folders: Sequence[Path], name: str) -> Iterator[pa.Table]:
    """Yields the groups of rows of the runs' tables, one after the other.

    Each has the columns of all: systems of other kinds have others, which are empty there.
    """
    import pyarrow as pa
    from pyarrow import parquet

    schemas = {parquet.read_schema(folder / name).remove_metadata() for folder in folders}
    if not schemas:
        return
    columns = pa.unify_schemas(sorted(schemas, key=len), promote_options="permissive")
    yield columns.empty_table()  # if there are no rows at all
    for folder in folders:
        with parquet.ParquetFile(folder / name) as file:
            for group in range(file.num_row_groups):
                part = file.read_row_group(group).replace_schema_metadata()
                if part.schema != columns:
                    part = pa.concat_tables(
                        [columns.empty_table(), part], promote_options="permissive"
                    )
                yield part
