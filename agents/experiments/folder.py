"""The folder of an experiment: whose it is, and writing its files so that they belong together."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

from agents.experiments.definition import difference
from agents.report.results import (
    CSVS,
    DERIVED,
    FAILURES,
    RECORD,
    REQUESTS,
    SUMMARY,
    TIMESERIES,
    files_agree,
    read_record,
    table_digest,
)
from edgecloud_gym.files import UnreadableFileError, check_writable, replacing

if TYPE_CHECKING:
    import pandas as pd

_RUNS: Final = "runs"
_CLAIM: Final = "experiment.json"  # in the folder of runs: what they are for
_PASSING: Final = ("date", "command")  # of the record: may differ where the results do not


class OtherExperimentError(ValueError):
    """The folder holds another experiment.

    Attributes:
        problem: What is there, and in what it differs.
    """

    def __init__(self, problem: str) -> None:
        self.problem = problem
        super().__init__(
            f"{problem}. Name another output_dir, or give overwrite=True to clear this one"
        )


def claim(output: Path, definition: Mapping[str, Any], *, overwrite: bool = False) -> None:
    """Makes sure that files can be written to a folder, and that it is this experiment's.

    An experiment that adds scenarios, agents or seeds to the one in the folder goes on there.

    Args:
        output: The folder; made if there is none.
        definition: `agents.experiments.definition.as_record`.
        overwrite: Whether to clear a folder that holds another experiment.

    Raises:
        OtherExperimentError: If it holds another one.
        OSError: If nothing can be written there.
    """
    check_writable(output, folder=True)
    problem = _conflict(output, definition)
    if problem and not overwrite:
        raise OtherExperimentError(f"{output} holds another experiment: {problem}")
    if problem:
        _clear(output)
    _write_json(output / _RUNS / _CLAIM, definition)


def _conflict(output: Path, definition: Mapping[str, Any]) -> str:
    """Returns what keeps a folder from being this experiment's, or nothing."""
    claimed = output / _RUNS / _CLAIM
    if claimed.is_file():
        try:
            there = json.loads(claimed.read_bytes())
            return difference(there, definition)
        except (ValueError, KeyError, TypeError, AttributeError):
            return f"{claimed} is damaged"
    found = [name for name in (*CSVS, RECORD) if (output / name).exists()]
    return f"it has {', '.join(found)}, and does not say of what" if found else ""


def _clear(output: Path) -> None:
    """Removes what an experiment writes, and nothing else."""
    for name in (*CSVS, RECORD, *DERIVED):
        (output / name).unlink(missing_ok=True)
    runs = output / _RUNS
    for path in runs.glob("*"):
        if path.is_dir() and len(path.name.lstrip(".").partition(".")[0]) == 20:
            shutil.rmtree(path)
    (runs / _CLAIM).unlink(missing_ok=True)


def write_results(
    output: Path,
    record: Mapping[str, Any],
    tables: Mapping[str, Callable[[], Iterable[pd.DataFrame]]],
    failures: str,
) -> None:
    """Writes the CSVs and ``run.json``, all or none; what was made from earlier ones is removed.

    Where they are the same as those that are there, nothing is touched.

    Args:
        output: The folder.
        record: What ``run.json`` is to hold, but the digests of the files.
        tables: For each of `CSVS`, the parts of the table, of equal columns; no parts, no file.
        failures: What went wrong in runs, with tracebacks; empty for nothing.
    """
    if _is_written(output, record):
        return
    with TemporaryDirectory(dir=output, prefix=".results.", suffix=f".{os.getpid()}") as name:
        aside = Path(name)
        for csv in CSVS:
            _write_csv(aside / csv, tables[csv]())
        written = [csv for csv in CSVS if (aside / csv).exists()]
        files = {csv: table_digest(aside / csv) for csv in written}
        _write_json(aside / RECORD, {**record, "files": files})
        for stale in (*DERIVED, *(csv for csv in CSVS if csv not in written)):
            (output / stale).unlink(missing_ok=True)
        for done in (*written, RECORD):  # the record last: without it nothing is read
            (aside / done).replace(output / done)
    if failures:
        (output / FAILURES).write_bytes(_encoded(failures))


def _write_json(path: Path, value: object) -> None:
    with replacing(path) as temporary:
        temporary.write_bytes(_encoded(json.dumps(value, indent=2, ensure_ascii=False) + "\n"))


def _encoded(text: str) -> bytes:
    """Returns UTF-8; half a character, as of a file name of another encoding, is spelt out."""
    return text.encode("utf-8", "backslashreplace")


def _is_written(output: Path, record: Mapping[str, Any]) -> bool:
    try:
        there = read_record(output / RECORD)
    except (UnreadableFileError, OSError):
        return False
    kept = {name: value for name, value in there.items() if name not in (*_PASSING, "files")}
    wanted = {name: value for name, value in record.items() if name not in _PASSING}
    return kept == json.loads(json.dumps(wanted)) and files_agree(output, there["files"])


def _write_csv(path: Path, parts: Iterable[pd.DataFrame]) -> None:
    """Writes tables of equal columns one after the other; missing values are empty."""
    import pyarrow as pa
    from pyarrow import csv

    if path.name == SUMMARY:
        for part in parts:
            part.to_csv(path, index=False)
        return
    assert path.name in (TIMESERIES, REQUESTS)
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
