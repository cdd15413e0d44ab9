"""Files of workload traces: which format they have, and the three columns that are read of them."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from edgecloud_gym.files import UnreadableFileError, decoded_json, duplicate, read_jsonl
from edgecloud_gym.unpacking import unpacking
from edgecloud_gym.wording import shown

if TYPE_CHECKING:
    import pyarrow as pa

_ZONE: Final = re.compile(r":\d\d(\.\d+)? *(Z|[+-]\d\d(:?\d\d)?)$")


@dataclass(frozen=True)
class TraceFormat:
    """A format: its columns, the unit of its clock (None: dates), and what else tells it."""

    time: str
    input_tokens: str
    output_tokens: str
    unit: str | None
    mark: tuple[str, ...] = ()

    @property
    def columns(self) -> tuple[str, str, str]:
        """The three columns that are read."""
        return self.time, self.input_tokens, self.output_tokens


FORMATS: Final = {
    "azure": TraceFormat("TIMESTAMP", "ContextTokens", "GeneratedTokens", unit=None),
    "burstgpt": TraceFormat("Timestamp", "Request tokens", "Response tokens", unit="s"),
    "bailian": TraceFormat("timestamp", "input_length", "output_length", "s", mark=("chat_id",)),
    "edgecloud": TraceFormat(
        "arrival_time", "prompt_tokens", "output_tokens", "s", mark=("completion_time",)
    ),
    "mooncake": TraceFormat("timestamp", "input_length", "output_length", unit="ms"),
}


@dataclass(frozen=True, eq=False)
class TraceRows:
    """The three columns of a file, as they stand there.

    Attributes:
        path: The file.
        layout: Its format.
        columns: (n,) each: the times as float64 or dates, the tokens as float64; NaN or NaT where
            there is nothing.
        first: Number of the first row, for messages.
        places: How a message names each row instead.
    """

    path: Path
    layout: TraceFormat
    columns: dict[str, NDArray[Any]]
    first: int = 1
    places: tuple[str, ...] = ()

    def place(self, index: int) -> str:
        """Returns how a message names a row."""
        return self.places[index] if self.places else f"row {index + self.first}"

    def fault(self, index: int, what: str) -> UnreadableFileError:
        """Returns the error for a row."""
        return UnreadableFileError(f"{self.path}, {self.place(index)}: {what}")

    def known(self, column: str) -> NDArray[Any]:
        """Returns a column that holds something in every row."""
        values = self.columns[column]
        if len(values) == 0:
            raise UnreadableFileError(f"{self.path}: it holds no request")
        missing = np.isnan(values) if values.dtype.kind == "f" else np.isnat(values)
        if missing.any():
            raise self.fault(int(missing.argmax()), f"it has no {column!r}")
        return values

    def ascending(self) -> NDArray[Any]:
        """Returns the times, which must not fall."""
        ticks = self.known(self.layout.time)
        if ticks.dtype.kind == "f" and not np.isfinite(ticks).all():
            index = int(np.isfinite(ticks).argmin())
            raise self.fault(index, f"{self.layout.time!r} is {ticks[index]}")
        falls = ticks[1:] < ticks[:-1]
        if falls.any():
            index = int(falls.argmax()) + 1
            now, before = (f"{value:.17g}" if ticks.dtype.kind == "f" else str(value)
                           for value in (ticks[index], ticks[index - 1]))  # fmt: skip
            raise self.fault(
                index,
                f"{self.layout.time!r} {now} comes before that of {self.place(index - 1)}, "
                f"{before}; sort the file by it",
            )
        return ticks

    def require_whole_ticks(self) -> None:
        """Raises if times are fractional where only whole ms tell Mooncake's unit."""
        ticks = self.columns[self.layout.time]
        fractional = ticks != np.floor(ticks)
        if fractional.any():
            index = int(fractional.argmax())
            raise self.fault(
                index,
                f"{self.layout.time!r} {ticks[index]} is no whole number of ms, as Mooncake's are, "
                "and nothing else tells the unit: give unit='s' or unit='ms'",
            )

    def tokens(self, column: str) -> NDArray[np.int64]:
        """Returns a column of token counts."""
        counts = self.known(column)
        good = (counts >= 0) & (counts < 2**31) & (counts == np.floor(counts))
        if not good.all():
            index = int(good.argmin())
            raise self.fault(
                index,
                f"{column!r} must be a whole number of tokens from 0 to {2**31 - 1}, "
                f"got {counts[index]:.17g}",
            )
        return counts.astype(np.int64)


@dataclass(frozen=True)
class Head:
    """How a file begins.

    Attributes:
        format: Name of its format.
        is_json: Whether it is JSON lines; else CSV.
        columns: Its columns.
        lines: How many lines the header takes, blank ones before it included.
        first_row: The values of the first row of a CSV file.
    """

    format: str
    is_json: bool
    columns: list[str]
    lines: int
    first_row: list[str]


def recognise(path: Path) -> Head:
    """Reads how a file begins.

    Raises:
        UnreadableFileError: If it has none of the formats, or a column twice.
    """
    try:
        with unpacking(path) as file:
            lines, header, first = _first_lines(file)
    except UnicodeDecodeError as error:
        raise UnreadableFileError(f"{path} cannot be read as text: {error}") from error
    is_json = header.startswith("{")
    try:
        found = _keys(path, header) if is_json else _fields(header)
        values = [] if is_json else _fields(first)
    except csv.Error as error:
        raise UnreadableFileError(f"{path} cannot be read as CSV: {error}") from error
    if repeated := duplicate(found):
        raise UnreadableFileError(f"{path}: column {shown(repeated)} occurs twice")
    for name, layout in FORMATS.items():
        if {*layout.columns, *layout.mark} <= set(found):
            return Head(name, is_json, found, lines, values)
    known = "; ".join(f"{name} ({', '.join(FORMATS[name].columns)})" for name in FORMATS)
    raise UnreadableFileError(
        f"{path} is of no known trace format: {known}; it starts {header.strip()!r:.80}"
    )


def _first_lines(file: Iterable[bytes]) -> tuple[int, str, str]:
    """Returns the number of the first line that is not blank, that line, and the next such one."""
    found: list[tuple[int, str]] = []
    for number, line in enumerate(file, start=1):
        text = line.decode("utf-8-sig" if number == 1 else "utf-8").strip()
        if text:
            found.append((number, text))
        if len(found) == 2:
            break
    (number, header), (_, first) = (*found, (0, ""), (0, ""))[:2]
    return number, header, first


def _keys(path: Path, line: str) -> list[str]:
    try:
        return list(decoded_json(line))
    except ValueError as error:
        raise UnreadableFileError(
            f"{path} is of no known trace format; its first line is not JSON: {error}"
        ) from error


def _fields(line: str) -> list[str]:
    return [field.strip() for field in next(csv.reader([line]), [])]


def read_csv(path: Path, layout: TraceFormat, unit: str | None, head: Head) -> TraceRows:
    """Reads a CSV file.

    Args:
        path: The file.
        layout: Its format.
        unit: What its clock counts; None: dates.
        head: How it begins.

    Raises:
        ValueError: If a value is malformed, with the row.
    """
    import pyarrow as pa
    from pyarrow import csv as pa_csv

    types: dict[str, pa.DataType] = dict.fromkeys(layout.columns, pa.float64())
    if unit is None:
        # The traces of 2023 have no time zone, those of 2024 do.
        zoned = any(_ZONE.search(value) for value in head.first_row)
        types[layout.time] = pa.timestamp("ns", tz="UTC" if zoned else None)
    with unpacking(path) as content:
        table = pa_csv.read_csv(
            content,
            # One thread, because then an error names the row.
            read_options=pa_csv.ReadOptions(
                use_threads=False, column_names=head.columns, skip_rows=head.lines
            ),
            convert_options=pa_csv.ConvertOptions(
                column_types=types, include_columns=layout.columns
            ),
        )
    values = {name: table[name].to_numpy() for name in layout.columns}
    return TraceRows(path, layout, values, first=head.lines + 1)


def read_lines(path: Path, layout: TraceFormat) -> TraceRows:
    """Reads a file of JSON lines.

    Raises:
        UnreadableFileError: If a value is missing or malformed, or the line is of another format,
            with the line.
    """
    places, values = [], []
    for number, record in read_jsonl(path):
        try:
            if isinstance(record, ValueError):
                raise record
            _require_format(layout, record)
            values.append([_number(name, record.get(name)) for name in layout.columns])
        except ValueError as error:
            raise UnreadableFileError(f"{path}, line {number}: {error}") from error
        places.append(f"line {number}")
    table = np.array(values, dtype=np.float64).reshape(-1, len(layout.columns))
    return TraceRows(
        path, layout, dict(zip(layout.columns, table.T, strict=True)), places=tuple(places)
    )


def _require_format(layout: TraceFormat, record: dict[str, Any]) -> None:
    """Raises if a line is of a format with the same columns but another clock."""
    for mark in {mark for other in FORMATS.values() for mark in other.mark}:
        if (mark in record) != (mark in layout.mark):
            has = "has" if mark in record else "lacks"
            raise ValueError(
                f"it {has} {mark!r}, unlike the first line: lines of Mooncake (times in ms) "
                "and of Bailian (s) in one file"
            )


def _number(name: str, value: object) -> float:
    if value is None:
        raise ValueError(f"it has no {name!r}")
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{name!r} must be a number, got {type(value).__name__} {value!r:.60}")
    try:
        return float(value)
    except OverflowError as error:
        raise ValueError(f"{name!r} is out of range") from error
