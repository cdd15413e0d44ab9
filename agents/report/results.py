"""What a results folder holds, read back for tables and pages."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agents.statistics import ORACLE

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Results:
    """What a results folder holds.

    Attributes:
        folder: The folder.
        summary: One row per run.
        requests: What regret takes of the request log; ``None`` where the oracle did not run, or
            requests were left unfinished: the regret of the others would flatter.
        record: ``run.json``.
    """

    folder: Path
    summary: pd.DataFrame
    requests: pd.DataFrame | None
    record: dict[str, Any]

    @property
    def sweeps(self) -> dict[str, dict[str, float]]:
        """Per environment id that was played at several loads, the load of each scenario's label.

        Scenarios that differ in something else than their load are no sweep.
        """
        loads: dict[str, dict[str, float | None]] = {}
        for item in self.record["scenarios"]:
            loads.setdefault(item["env"], {})[item["label"]] = item["settings"].get("load")
        return {
            env_id: {label: load for label, load in found.items() if load is not None}
            for env_id, found in loads.items()
            if None not in found.values() and len(set(found.values())) == len(found) > 1
        }


def read_results(folder: Path) -> Results:
    """Reads a results folder.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If a file is damaged.
    """
    import pandas as pd

    summary = pd.read_csv(folder / "summary.csv")
    record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    requests = None
    compared = ORACLE in set(summary["agent"]) and summary["agent"].nunique() > 1
    if compared and not summary["unfinished"].any():
        columns = ["env", "agent", "seed", "request_id", "jct"]
        requests = pd.read_csv(folder / "requests.csv", usecols=columns, engine="pyarrow")
    return Results(folder, summary, requests, record)
