"""The folder of an experiment: whose it is, and writing its files so that they belong together."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

from agents.experiments.runs.definition import difference
from agents.experiments.runs.store import RUNS, RunStore
from agents.report.results import (
    CSVS,
    DERIVED,
    FAILURES,
    RECORD,
    SUMMARY,
    files_agree,
    read_record,
    table_digest,
)
from edgecloud_gym.files import UnreadableFileError, check_writable, read_json, replacing

if TYPE_CHECKING:
    import pyarrow as pa

_CLAIM: Final = "experiment.json"  # in the folder of runs: what they are for
_CLAIM_KEYS: Final = ("scenarios", "agents", "seeds", "runs", "watched")
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


def claim(
    output: Path, definition: Mapping[str, Any], *, overwrite: bool = False, together: bool = False
) -> None:
    """Makes sure that files can be written to a folder, and that it is this experiment's.

    An experiment that adds scenarios, agents or seeds to the one in the folder goes on there.

    Args:
        output: The folder; made if there is none.
        definition: `agents.experiments.runs.definition.as_record`.
        overwrite: Whether to clear a folder that holds another experiment.
        together: Whether other processes play the same experiment, by the same code.

    Raises:
        OtherExperimentError: If it holds another one.
        OSError: If nothing can be written there.
    """
    check_writable(output, folder=True)
    store = RunStore(output)
    with store.alone():
        problem = _conflict(output, definition, together)
        if problem and not overwrite:
            raise OtherExperimentError(f"{output} holds another experiment: {problem}")
        if problem:
            _clear(output, store)
        _write_json(output / RUNS / _CLAIM, definition)


def read_claim(output: Path) -> dict[str, Any]:
    """Returns what the runs in a folder are for.

    Raises:
        FileNotFoundError: If the folder does not tell, as one that no experiment was begun in.
        UnreadableFileError: If the file that tells is damaged.
    """
    path = output / RUNS / _CLAIM
    if not path.is_file():
        raise FileNotFoundError(f"{output}: no experiment was begun there: there is no {path}")
    definition = read_json(path)
    if not isinstance(definition, dict) or not {*_CLAIM_KEYS} <= definition.keys():
        raise UnreadableFileError(f"{path}: not what an experiment writes")
    return definition


def is_claimed_by(output: Path, definition: Mapping[str, Any]) -> bool:
    """Tells whether the runs in a folder are for this experiment, and no other has come since."""
    claimed = (output / RUNS / _CLAIM).is_file()
    return claimed and bool(read_claim(output) == json.loads(json.dumps(definition)))


def _conflict(output: Path, definition: Mapping[str, Any], together: bool) -> str:
    """Returns what keeps a folder from being this experiment's, or nothing."""
    claimed = output / RUNS / _CLAIM
    if not claimed.is_file():
        found = [name for name in (*CSVS, RECORD) if (output / name).exists()]
        return f"it has {', '.join(found)}, and does not say of what" if found else ""
    try:
        there = read_claim(output)
        problem = difference(there, definition)
    except (ValueError, KeyError, TypeError, AttributeError):
        return f"{claimed} is damaged"
    if together and not problem and there["runs"] != definition["runs"]:
        return "it was begun by other code, other versions of packages, or other runs"
    return problem


def _clear(output: Path, store: RunStore) -> None:
    """Removes what an experiment writes, and nothing else."""
    playing = store.others()
    if playing:
        raise OtherExperimentError(
            f"{output} holds another experiment, of which {playing} runs are being played now"
        )
    for name in (*CSVS, RECORD, *DERIVED):
        (output / name).unlink(missing_ok=True)
    store.clear()
    (output / RUNS / _CLAIM).unlink(missing_ok=True)


def write_results(
    output: Path,
    record: Mapping[str, Any],
    summaries: Sequence[Mapping[str, Any]],
    tables: Mapping[str, Callable[[], Iterable[pa.Table]]],
    failures: str,
) -> None:
    """Writes the CSVs and ``run.json``, all or none; what was made from earlier ones is removed.

    Nobody else may be writing there: see `RunStore.alone`.

    Where they are the same as those that are there, nothing is touched.

    Args:
        output: The folder.
        record: What ``run.json`` is to hold, but the digests of the files.
        summaries: The rows of ``summary.csv``; none, no file.
        tables: For each of the other `CSVS`, its parts, of equal columns; no parts, no file.
        failures: What went wrong in runs, with tracebacks; empty for nothing.
    """
    import pandas as pd

    if _is_written(output, record):
        return
    for left in output.glob(".results.*"):  # of a process that was cut off
        shutil.rmtree(left, ignore_errors=True)
    with TemporaryDirectory(dir=output, prefix=".results.") as name:
        aside = Path(name)
        if summaries:
            pd.DataFrame(summaries).to_csv(aside / SUMMARY, index=False)
        for csv, parts in tables.items():
            _write_csv(aside / csv, parts())
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


def _write_csv(path: Path, parts: Iterable[pa.Table]) -> None:
    """Writes tables of equal columns one after the other; missing values are empty."""
    from pyarrow import csv

    writer = None
    try:
        for table in parts:
            if writer is None:
                writer = csv.CSVWriter(path, table.schema)
            writer.write_table(table)
    finally:
        if writer is not None:
            writer.close()
