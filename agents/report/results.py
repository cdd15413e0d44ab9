"""The results folder: what lies in it, which of it belongs together, and reading it back.

``summary.csv``, ``timeseries.csv`` and ``requests.csv`` hold one experiment, ``run.json`` says
which and has the digest of each: files of two experiments are never taken together. Pictures and
pages are made from these and go when they change.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from edgecloud_gym.files import UnreadableFileError, read_json
from edgecloud_gym.wording import shown

if TYPE_CHECKING:
    import pandas as pd

SUMMARY: Final = "summary.csv"
TIMESERIES: Final = "timeseries.csv"
REQUESTS: Final = "requests.csv"
CSVS: Final = (SUMMARY, TIMESERIES, REQUESTS)
RECORD: Final = "run.json"
FAILURES: Final = "failures.txt"
PLOT: Final = "comparison.png"
SWEEP_PLOT: Final = "load_sweep.png"
TOKEN_PLOT: Final = "tokens.png"
PAPER_PLOT: Final = "paper.png"
PAPER_TABLE: Final = "paper.csv"
PICTURES: Final = (PLOT, SWEEP_PLOT, TOKEN_PLOT, PAPER_PLOT)
PAGES: Final = ("report.html", "report.md")
DERIVED: Final = (FAILURES, *PICTURES, PAPER_TABLE, *PAGES)

JCT_COLUMNS: Final = ["env", "agent", "seed", "request_id", "jct"]
_BLOCK: Final = 1 << 24  # bytes of a CSV read at a time
TEXT_COLUMNS: Final = ("env", "agent", "node")
_UNFINISHED: Final = "{}: it is not a finished results folder: there is no {}"
_RECORD_KEYS: Final[Mapping[str, type]] = {
    "scenarios": list,
    "agents": list,
    "seeds": list,
    "failures": list,
    "versions": dict,
    "machine": str,
    "files": dict,
}


_ITEM_KEYS: Final[Mapping[str, Mapping[str, type]]] = {
    "scenarios": {"label": str, "env": str, "settings": dict},
    "agents": {"label": str, "explore": bool},
}


class Results(Protocol):
    """The results of an experiment, in memory or in a folder."""

    @property
    def record(self) -> Mapping[str, Any]:
        """What was played, as in ``run.json``."""

    @property
    def summary(self) -> pd.DataFrame:
        """One row per run: ``env``, ``agent``, ``seed`` and the metrics."""

    @property
    def timeseries(self) -> pd.DataFrame:
        """One row per run and telemetry sample."""

    @property
    def requests(self) -> pd.DataFrame:
        """One row per run and request."""

    def jcts(self, env: str) -> pd.DataFrame:
        """Returns a scenario's ``env``, ``agent``, ``seed``, ``request_id`` and ``jct``.

        One row per request. Nothing else is read, so that long experiments fit in memory.
        """


@dataclass(frozen=True)
class ResultsFolder:
    """The results of an experiment, read from its folder.

    Attributes:
        folder: The folder.
        record: What was played, as in ``run.json``.
    """

    folder: Path
    record: Mapping[str, Any]

    @cached_property
    def summary(self) -> pd.DataFrame:
        """One row per run: ``env``, ``agent``, ``seed`` and the metrics."""
        return read_table(self.folder / SUMMARY)

    @cached_property
    def timeseries(self) -> pd.DataFrame:
        """One row per run and telemetry sample."""
        return read_table(self.folder / TIMESERIES)

    @cached_property
    def requests(self) -> pd.DataFrame:
        """One row per run and request."""
        return read_table(self.folder / REQUESTS)

    def jcts(self, env: str) -> pd.DataFrame:
        """Returns a scenario's ``env``, ``agent``, ``seed``, ``request_id`` and ``jct``."""
        return compact(_rows_of(self.folder / REQUESTS, env))


def compact(parts: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Joins parts of a request log, in a sixth of the memory that it takes as a whole."""
    import pandas as pd

    kinds = {"env": "category", "agent": "category", "request_id": "int32"}
    small = [part[JCT_COLUMNS].astype(kinds) for part in parts]
    if not small:
        return pd.DataFrame(columns=JCT_COLUMNS)
    for name in ("env", "agent"):  # parts of the same categories are joined as such
        known = sorted({value for part in small for value in part[name].cat.categories})
        for part in small:
            part[name] = part[name].cat.set_categories(known)
    return pd.concat(small, ignore_index=True)


def _rows_of(path: Path, env: str) -> Iterator[pd.DataFrame]:
    """Yields a scenario's rows of the request log, piece by piece."""
    import pyarrow as pa
    from pyarrow import compute, csv

    options = csv.ConvertOptions(
        column_types={"env": pa.string(), "agent": pa.string(), "jct": pa.float64()},
        include_columns=JCT_COLUMNS,
        null_values=["", "nan", "NaN"],
        strings_can_be_null=False,
    )
    parsing = csv.ParseOptions(newlines_in_values=True)
    reading = csv.ReadOptions(block_size=_BLOCK)
    with csv.open_csv(path, reading, parsing, options) as batches:
        for batch in batches:
            mine = batch.filter(compute.equal(batch["env"], env))
            if mine.num_rows:
                yield mine.to_pandas()


def read_results(folder: Path) -> ResultsFolder:
    """Reads a results folder, after checking that its files belong together.

    Raises:
        FileNotFoundError: If the folder or a file is missing.
        UnreadableFileError: If a file is damaged, or of another experiment than the rest.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: there is no such folder")
    if not (folder / RECORD).is_file():
        missing = [name for name in (SUMMARY, RECORD) if not (folder / name).is_file()]
        raise FileNotFoundError(_UNFINISHED.format(folder, " and no ".join(missing)))
    record = read_record(folder / RECORD)
    if not (folder / SUMMARY).is_file():
        first = f": every run failed: {record['failures'][0]}" if record["failures"] else ""
        raise FileNotFoundError(_UNFINISHED.format(folder, SUMMARY) + first)
    changed = _changed(folder, record["files"])
    if changed:
        raise UnreadableFileError(
            f"{folder}: {', '.join(changed)} and {RECORD} do not belong together: a write was cut "
            "short, or a file was changed; run the experiment again, which repeats no finished run"
        )
    return ResultsFolder(folder, record)


def read_record(path: Path) -> dict[str, Any]:
    """Reads ``run.json``.

    Raises:
        UnreadableFileError: If it is damaged, or not what an experiment writes.
        OSError: If it cannot be opened.
    """
    record = read_json(path)
    wrong = f"{path}: not what an experiment writes (or an earlier version of this package)"
    if not isinstance(record, dict):
        raise UnreadableFileError(f"{wrong}: it holds a {type(record).__name__}, not an object")
    for name, kind in _RECORD_KEYS.items():
        if not isinstance(record.get(name), kind):
            raise UnreadableFileError(f"{wrong}: {shown(name)} is missing, or no {kind.__name__}")
    for name, kinds in _ITEM_KEYS.items():
        for item in record[name]:
            known = item if isinstance(item, dict) else {}
            if not all(isinstance(known.get(key), kind) for key, kind in kinds.items()):
                raise UnreadableFileError(
                    f"{wrong}: {shown(name)} must hold objects with {[*kinds]}"
                )
    return record


def files_agree(folder: Path, files: Mapping[str, Any]) -> bool:
    """Tells whether the CSVs of a folder are those that a record names."""
    return not _changed(folder, files)


def knows_requests(record: Mapping[str, Any]) -> bool:
    """Tells whether the single requests of an experiment can be read; long ones do without them."""
    return REQUESTS in record.get("files", CSVS)


def table_digest(path: Path) -> str:
    """Identifies what a file holds, whatever its size."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=10)).hexdigest()


def _changed(folder: Path, files: Mapping[str, Any]) -> list[str]:
    """Returns the CSVs of a folder that are not as a record has them."""
    return [name for name in CSVS if not _agrees(folder / name, files.get(name))]


def _agrees(path: Path, digest: object) -> bool:
    """Tells whether a file is the one of a digest; without one there must be none."""
    if digest is None:
        return not path.exists()
    return path.is_file() and table_digest(path) == digest


def read_table(path: Path, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """Reads one of the CSVs; names stay text, whatever they look like ("NA", "0.1").

    Raises:
        UnreadableFileError: If it is damaged.
    """
    import pyarrow as pa
    from pyarrow import csv

    text = dict.fromkeys(TEXT_COLUMNS, pa.string())
    options = csv.ConvertOptions(
        column_types=text,
        include_columns=columns,
        null_values=["", "nan", "NaN"],
        strings_can_be_null=False,
    )
    parsing = csv.ParseOptions(newlines_in_values=True)
    try:
        table = csv.read_csv(path, convert_options=options, parse_options=parsing)
    except (pa.ArrowInvalid, pa.ArrowKeyError) as error:
        raise UnreadableFileError(f"{path}: {error}") from error
    # A column without a value has no type: it is one of numbers.
    nothing = [pa.float64() if pa.types.is_null(f.type) else f.type for f in table.schema]
    fields = zip(table.column_names, nothing, strict=True)
    frame: pd.DataFrame = table.cast(pa.schema(list(fields))).to_pandas()
    if "node" in frame:
        frame["node"] = frame["node"].where(frame["node"] != "", None)
    return frame


def sweeps(record: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Returns, per environment id that was played at several loads, the load of each label.

    Scenarios that differ in something else than their load are no sweep.
    """
    found: dict[str, list[tuple[str, dict[str, Any]]]] = {}
    for item in record["scenarios"]:
        found.setdefault(item["env"], []).append((item["label"], dict(item["settings"])))
    swept = {}
    for env_id, scenarios in found.items():
        loads = {label: settings.pop("load", None) for label, settings in scenarios}
        same = all(settings == scenarios[0][1] for _, settings in scenarios)
        if same and None not in loads.values() and len(set(loads.values())) == len(loads) > 1:
            swept[env_id] = {label: float(load) for label, load in loads.items()}
    return swept
