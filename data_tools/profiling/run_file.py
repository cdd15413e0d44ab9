"""Append-only JSONL files of measurements that survive interruption.

A run file holds one JSON object per line, written the moment it is measured. Beside it,
``<stem>.meta.json`` keeps the configuration that the rows depend on and the conditions of each
session that added rows. A run is resumed by opening the file again with an equal configuration.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self


class ConfigurationChangedError(ValueError):
    """The rows of a file were measured under another configuration than the one asked for."""


def metadata_path(path: Path) -> Path:
    """Returns where the metadata of a run file lives: ``x.jsonl`` -> ``x.meta.json``."""
    return path.with_suffix(".meta.json")


def write_json(path: Path, value: object) -> None:
    """Writes indented JSON so that readers see either the old file or the whole new one."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    temporary.replace(path)


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Reads all rows of a run file.

    Raises:
        ValueError: If a line is not a JSON object with a ``request_text``, naming the line.
    """
    rows = []
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise ValueError(f"{path}, line {number}: not JSON ({error})") from error
            if not isinstance(row, dict) or "request_text" not in row:
                raise ValueError(f"{path}, line {number}: not a measurement (no 'request_text')")
            rows.append(row)
    return rows


def repair_last_line(path: Path) -> bool:
    """Drops a last line that a killed writer left half-written.

    Every whole line ends in a newline, so whatever follows the last newline is incomplete; its
    prompt counts as not measured.

    Returns:
        Whether anything had to be dropped.
    """
    content = path.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole == len(content):
        return False
    os.truncate(path, whole)
    return True


class RunFile:
    """A JSONL file of measured rows, opened to add more; use as a context manager.

    Attributes:
        done: How often each prompt has been measured already.
        repaired: Whether a half-written last line was dropped while opening.

    Args:
        path: The JSONL file; created with its directory if absent.
        configuration: JSON-able settings on which the numbers depend.
        conditions: JSON-able circumstances of this session (load average, versions, ...), kept for
            the reader; they may differ from session to session.

    Raises:
        ConfigurationChangedError: If the file's rows were measured under another configuration, or
            under an unknown one because its metadata is missing.
        ValueError: If the file holds a damaged line other than the last.
        BlockingIOError: If another run has the file open.
    """

    def __init__(
        self, path: Path, configuration: Mapping[str, Any], conditions: Mapping[str, Any]
    ) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        with ExitStack() as on_failure:
            self._file: IO[str] = on_failure.enter_context(path.open("a", encoding="utf-8"))
            _lock(self._file, path)
            self.repaired = repair_last_line(path)
            rows = read_rows(path)
            self.done = Counter(row["request_text"] for row in rows)
            sessions = self._previous_sessions(configuration) if rows else []
            sessions.append({"rows_before": len(rows), **conditions})
            write_json(
                metadata_path(path), {"configuration": dict(configuration), "sessions": sessions}
            )
            on_failure.pop_all()

    def _previous_sessions(self, configuration: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Returns the sessions so far, after comparing their configuration with the new one."""
        beside = metadata_path(self.path)
        if not beside.exists():
            raise ConfigurationChangedError(
                f"{self.path} holds rows, but {beside.name}, which says how they were measured, is "
                "missing; restore it or choose another output directory"
            )
        recorded = json.loads(beside.read_text(encoding="utf-8"))
        difference = _difference(recorded["configuration"], configuration)
        if difference:
            raise ConfigurationChangedError(
                f"{self.path} was measured under another configuration; restore it or choose "
                "another output directory:\n" + "\n".join(difference)
            )
        sessions: list[dict[str, Any]] = recorded["sessions"]
        return sessions

    def append(self, row: Mapping[str, Any]) -> None:
        """Writes one row as one line and hands it to the operating system at once."""
        # In ASCII: half a surrogate pair, which a JSON prompt may hold, cannot be written as UTF-8.
        self._file.write(json.dumps(row) + "\n")
        self._file.flush()
        self.done[row["request_text"]] += 1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()


def _lock(file: IO[str], path: Path) -> None:
    """Keeps a second run from writing to the same file until this one closes it or dies."""
    try:
        import fcntl
    except ImportError:  # Windows has no such locks
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise BlockingIOError(f"{path} is being written by another run") from error


def _difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Returns one line per setting whose value differs."""
    return [
        f"  {key}: recorded {old.get(key)!r}, now {new.get(key)!r}"
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key)
    ]
