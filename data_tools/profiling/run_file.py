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
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from edgecloud_gym.dataset.tables import beside
from edgecloud_gym.files import UnreadableFileError, read_json, read_jsonl, write_json
from edgecloud_gym.wording import shown


class ConfigurationChangedError(UnreadableFileError):
    """A file was measured under another configuration than the one asked for."""


@dataclass(frozen=True)
class RunMetadata:
    """What lies beside a run file; the names of the attributes are the file's keys.

    Attributes:
        configuration: Settings on which the rows depend; see `read_configuration`.
        sessions: Conditions of each session that added rows, oldest first; see
            `session_conditions`.
    """

    configuration: Mapping[str, Any]
    sessions: list[Mapping[str, Any]]

    def write(self, path: Path) -> None:
        """Writes the file; readers see either the old one or the whole new one."""
        write_json(path, asdict(self))

    @classmethod
    def read(cls, path: Path) -> Self:
        """Reads the file.

        Raises:
            UnreadableFileError: If it is no run's metadata.
            FileNotFoundError: If there is none.
        """
        content = read_json(path)
        if isinstance(content, dict):
            settings, sessions = content.get("configuration"), content.get("sessions")
            if isinstance(settings, dict) and isinstance(sessions, list):
                if not all(isinstance(session, dict) for session in sessions):
                    raise UnreadableFileError(f"{path}: key 'sessions' must hold a list of objects")
                if not isinstance(settings.get("generation"), dict | None):
                    raise UnreadableFileError(f"{path}: key 'generation' must hold an object")
                return cls(settings, sessions)
        raise UnreadableFileError(f"{path}: keys 'configuration' and 'sessions' are needed")


def metadata_path(path: Path) -> Path:
    """Returns where the metadata of a run file lives: ``x.jsonl`` -> ``x.meta.json``."""
    return beside(path, ".meta.json")


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Reads all rows of a run file.

    Raises:
        UnreadableFileError: If a line is not a JSON object with a text under ``request_text``,
            naming the line.
    """
    rows = []
    for number, row in read_jsonl(path):
        if isinstance(row, ValueError):
            raise UnreadableFileError(f"{path}, line {number}: {row}") from row
        if not isinstance(row.get("request_text"), str):
            raise UnreadableFileError(
                f"{path}, line {number}: not a measurement (no 'request_text')"
            )
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
        UnreadableFileError: If the file holds a damaged line other than the last, or its metadata
            are damaged.
        BlockingIOError: If another run has the file open.
    """

    def __init__(
        self, path: Path, configuration: Mapping[str, Any], conditions: Mapping[str, Any]
    ) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        with ExitStack() as on_failure:
            self._file: IO[str] = on_failure.enter_context(path.open("a", encoding="utf-8"))
            lock(self._file, path)
            self.repaired = repair_last_line(path)
            rows = read_rows(path)
            self.done = Counter(row["request_text"] for row in rows)
            sessions = self._previous_sessions(configuration) if rows else []
            sessions = [*sessions, {"rows_before": len(rows), **conditions}]
            RunMetadata(dict(configuration), sessions).write(metadata_path(path))
            on_failure.pop_all()

    def _previous_sessions(self, configuration: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        """Returns the sessions so far, after comparing their configuration with the new one."""
        beside = metadata_path(self.path)
        if not beside.exists():
            raise ConfigurationChangedError(
                f"{self.path} holds rows, but {beside.name}, which says how they were measured, is "
                "missing; restore it or choose another output directory"
            )
        recorded = RunMetadata.read(beside)
        require_same(self.path, recorded.configuration, configuration)
        return recorded.sessions

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


def lock(file: IO[str], path: Path) -> None:
    """Keeps a second run from writing to the same file until this one closes it or dies."""
    try:
        import fcntl
    except ImportError:  # Windows has no such locks
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise BlockingIOError(f"{path} is being written by another run") from error


def require_same(path: Path, recorded: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Checks that a file was measured under the configuration of now.

    Raises:
        ConfigurationChangedError: If not, with one line per setting that differs.
    """
    difference = [
        f"  {key}: recorded {shown(recorded.get(key))}, now {shown(now.get(key))}"
        for key in sorted(recorded.keys() | now.keys())
        if recorded.get(key) != now.get(key)
    ]
    if difference:
        raise ConfigurationChangedError(
            f"{path} was measured under another configuration; restore it or choose another output "
            "directory:\n" + "\n".join(difference)
        )
