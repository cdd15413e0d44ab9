"""The results of the suite as one JSON value: every number that tables, pictures and checks use."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from agents.experiments.design.spec import AgentSpec
from agents.experiments.identity.fingerprint import identify, without_code
from agents.experiments.identity.versions import versions
from agents.experiments.results.result import Failure
from agents.experiments.runs.store import REQUESTS_FILE, read_summary
from agents.suite.definition import Suite
from agents.suite.entrants import Stable
from agents.suite.playing import Entries
from edgecloud_gym.dataset import load_dataset
from edgecloud_gym.files import UnreadableFileError, read_json, replacing

FORMAT: Final = 1
# What a run counts by, and where its summary has it.
METRICS: Final[Mapping[str, str]] = {
    "mean": "jct_mean",
    "p95": "jct_p95",
    "p99": "jct_p99",
    "worst_wait": "",
    "goodput": "goodput",
    "requests": "arrived",
    "unfinished": "unfinished",
}
LOWER_IS_BETTER: Final = ("mean", "p95", "p99", "worst_wait")


@dataclass(frozen=True)
class Board:
    """Results, and what makes them comparable with others.

    Attributes:
        suite: ``version``, ``quick``, ``partial``, ``digest``; ``one``, the agent whose share of
            the gap is 1; ``bad``, those that are bad on purpose.
        made: Versions, dataset with its fingerprint, date and machine.
        cells: By name: ``group``, ``env``, ``zero`` (the agent whose share of the gap is 0),
            ``learn``, ``trained``, ``split``, ``prompt_order`` and ``seeds``.
        about: What each group is.
        agents: By label: the agent's name, its settings and whether it learns.
        results: By cell, agent and metric: a value per seed.
        missing: By cell and agent: why there are none.
        skipped: Groups that were not played, and why.
    """

    suite: Mapping[str, Any]
    made: Mapping[str, Any]
    cells: Mapping[str, Mapping[str, Any]]
    about: Mapping[str, str]
    agents: Mapping[str, Mapping[str, Any]]
    results: Mapping[str, Mapping[str, Mapping[str, list[float]]]]
    missing: Mapping[str, Mapping[str, str]]
    skipped: Mapping[str, str]

    def ends(self, cell: str) -> list[str]:
        """Returns the agents between which the gap of a cell lies: zero and one."""
        return [self.cells[cell]["zero"], self.suite["one"]]

    def values(self, metric: str, cell: str, agents: Sequence[str]) -> NDArray[np.float64]:
        """Returns a metric of a cell, (agents, seeds); NaN for an agent that did not play it."""
        played = self.results[cell]
        seeds = len(self.cells[cell]["seeds"])
        rows = [played[a][metric] if a in played else [np.nan] * seeds for a in agents]
        return np.array(rows, np.float64)

    def write(self, path: Path) -> None:
        """Writes it as JSON, complete or not at all."""
        content = {"format": FORMAT, **vars(self)}
        with replacing(path) as temporary:
            temporary.write_text(json.dumps(content, separators=(",", ":")) + "\n")

    @classmethod
    def read(cls, path: Path) -> Self:
        """Reads what `write` wrote.

        Raises:
            OSError: If it cannot be opened.
            UnreadableFileError: If it is something else.
        """
        content = read_json(path)
        if not isinstance(content, dict) or content.pop("format", None) != FORMAT:
            raise UnreadableFileError(f"{path}: is no leaderboard of this version")
        try:
            return cls(**content)
        except TypeError as error:
            raise UnreadableFileError(f"{path}: is no leaderboard: {error}") from error


def make_board(
    stable: Stable, entries: Entries, output: Path, failures: Sequence[Failure] = ()
) -> Board:
    """Makes the board of all runs that have finished."""
    suite = stable.suite
    agents = {spec.label: _agent(spec) for spec in stable.specs}
    failed = {failure.run.digest: failure.error for failure in failures}
    results: dict[str, dict[str, dict[str, list[float]]]] = {c.name: {} for c in suite.cells}
    missing: dict[str, dict[str, str]] = {}
    for (cell, agent), runs in entries.runs.items():
        reasons = [failed[run.digest] for run in runs if run.digest in failed]
        if reasons:
            missing.setdefault(cell, {})[agent] = reasons[0]
            continue
        rows = [measured(run.folder(output)) for run in runs]
        results[cell][agent] = {name: [row[name] for row in rows] for name in METRICS}
    return Board(
        suite={
            "version": suite.version,
            "quick": suite.quick,
            "partial": suite.partial,
            "digest": suite.digest,
            "one": next(name for name in suite.one if name in agents),
            "bad": list(suite.bad),
        },
        made=_made(suite),
        cells={
            cell.name: {
                "group": cell.group,
                "env": cell.env_id,
                "zero": suite.zero(cell),
                "learn": cell.learn,
                "trained": cell.trained,
                "split": cell.settings["split"],
                "prompt_order": cell.settings.get("prompt_order", "shuffle"),
                "seeds": list(cell.seeds),
            }
            for cell in suite.cells
        },
        about={name: text for name, text in suite.about.items() if name not in suite.skipped},
        agents=agents,
        results=results,
        missing=missing,
        skipped=suite.skipped,
    )


def measured(folder: Path) -> dict[str, float]:
    """Returns what counts of a run, from its files; times in s."""
    import pyarrow.parquet as pq

    summary = read_summary(folder)
    waits = pq.read_table(folder / REQUESTS_FILE, columns=["queueing_delay"])["queueing_delay"]
    row = {name: float(summary[key]) for name, key in METRICS.items() if key}
    return {**row, "worst_wait": float(np.max(waits.to_numpy(), initial=0.0))}


def _agent(spec: AgentSpec) -> dict[str, Any]:
    return {
        "agent": spec.name,
        "settings": without_code(identify(spec.settings)),
        "learns": spec.made.learns,
        "from_zero": spec.made.from_zero,
    }


def _made(suite: Suite) -> dict[str, Any]:
    data = load_dataset(suite.dataset)
    return {
        "dataset": identify(data),
        "versions": dict(versions()),
        "machine": f"{platform.system()} {platform.machine()}",
        "date": datetime.now(UTC).date().isoformat(),
    }
