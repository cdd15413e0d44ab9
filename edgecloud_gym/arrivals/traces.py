"""Published workload traces: when requests came, and how many tokens they had.

Three formats, told apart by their header or keys:

- `azure`: CSV of the Azure LLM inference traces, `TIMESTAMP,ContextTokens,GeneratedTokens`, dates.
- `burstgpt`: CSV of BurstGPT, `Timestamp,...,Request tokens,Response tokens`, s, mostly whole ones.
- `mooncake`: JSONL of Mooncake, `timestamp`, `input_length`, `output_length`, ms.

A file name that ends in `.gz` is read as gzip.
"""

import gzip
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class TraceFormat:
    """Column names of a format, and the length of its clock's unit in s (None: dates)."""

    time: str
    input_tokens: str
    output_tokens: str
    unit: float | None

    @property
    def columns(self) -> tuple[str, str, str]:
        """The three columns that are read."""
        return self.time, self.input_tokens, self.output_tokens


FORMATS = {
    "azure": TraceFormat("TIMESTAMP", "ContextTokens", "GeneratedTokens", unit=None),
    "burstgpt": TraceFormat("Timestamp", "Request tokens", "Response tokens", unit=1.0),
    "mooncake": TraceFormat("timestamp", "input_length", "output_length", unit=1e-3),
}


@dataclass(frozen=True, eq=False)
class WorkloadTrace:
    """A recorded workload, one entry per request.

    Attributes:
        times: (n,) float64, s; ascending, the first is 0.
        input_tokens: (n,) int64, tokens of the prompts.
        output_tokens: (n,) int64, tokens of the responses.
        format: "azure", "burstgpt" or "mooncake".
    """

    times: NDArray[np.float64]
    input_tokens: NDArray[np.int64]
    output_tokens: NDArray[np.int64]
    format: str

    def __len__(self) -> int:
        return len(self.times)


def read_trace(path: str | os.PathLike[str]) -> WorkloadTrace:
    """Read a workload trace of any of the three formats.

    Raises:
        ValueError: If the file has none of the formats, no request, a malformed value, or times
            that are not ascending; the message names the file, and the row where there is one.
        FileNotFoundError: If there is no such file.
    """
    path = Path(path)
    name, first_row = _recognise(path)
    layout = FORMATS[name]
    try:
        table = (
            _read_jsonl(path, layout) if name == "mooncake" else _read_csv(path, layout, first_row)
        )
        if table.num_rows == 0:
            raise ValueError("it holds no request")
        ticks, input_tokens, output_tokens = (_values(table, column) for column in layout.columns)
        return WorkloadTrace(
            check_times(_seconds(ticks - ticks[0], layout.unit)), input_tokens, output_tokens, name
        )
    except ValueError as error:  # pyarrow's parse errors are ValueErrors too
        raise ValueError(f"{path}: {error}") from error


def check_times(times: ArrayLike) -> NDArray[np.float64]:
    """Check arrival times and return them as a read-only copy.

    Raises:
        ValueError: If they are not one non-empty row of finite, non-negative, ascending numbers;
            where an entry is at fault, its index is named.
    """
    try:
        checked = np.array(times, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"arrival times must be numbers: {error}") from error
    if checked.ndim != 1 or len(checked) == 0:
        raise ValueError(f"arrival times must be one non-empty row, got shape {checked.shape}")
    good = np.isfinite(checked) & (checked >= 0)
    if not good.all():
        index = int(good.argmin())
        raise ValueError(
            f"arrival times must be finite and not negative; entry {index} is {checked[index]}"
        )
    ascending = np.diff(checked) >= 0
    if not ascending.all():
        index = int(ascending.argmin()) + 1
        raise ValueError(
            f"arrival times must be ascending; entry {index} ({checked[index]} s) comes before "
            f"entry {index - 1} ({checked[index - 1]} s)"
        )
    checked.setflags(write=False)
    return checked


def _recognise(path: Path) -> tuple[str, list[str]]:
    """The name of the file's format, and for a CSV file its first row of values."""
    try:
        with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as file:
            header, first = file.readline(), file.readline()
    except (UnicodeDecodeError, gzip.BadGzipFile, EOFError) as error:
        raise ValueError(f"{path} cannot be read as text: {error}") from error
    found = _keys(header)
    for name, layout in FORMATS.items():
        if set(layout.columns) <= set(found):
            return name, first.strip().split(",")
    known = "; ".join(f"{name} ({', '.join(FORMATS[name].columns)})" for name in FORMATS)
    raise ValueError(
        f"{path} is of no known trace format: {known}; it starts {header.strip()!r:.80}"
    )


def _keys(line: str) -> list[str]:
    if not line.startswith("{"):
        return line.strip().lstrip("\ufeff").split(",")
    try:
        return list(json.loads(line))
    except json.JSONDecodeError:
        return []


def _read_csv(path: Path, layout: TraceFormat, first_row: list[str]) -> "pa.Table":
    import pyarrow as pa
    from pyarrow import csv

    types = _column_types(layout)
    if layout.unit is None:
        # The traces of 2023 have no time zone, those of 2024 do.
        zoned = any(re.search(r"\d(Z|[+-]\d\d:?\d\d)$", value) for value in first_row)
        types[layout.time] = pa.timestamp("ns", tz="UTC" if zoned else None)
    # One thread, because then an error names the row.
    return csv.read_csv(
        path,
        read_options=csv.ReadOptions(use_threads=False),
        convert_options=csv.ConvertOptions(column_types=types, include_columns=layout.columns),
    )


def _read_jsonl(path: Path, layout: TraceFormat) -> "pa.Table":
    import pyarrow as pa
    from pyarrow import json as pa_json

    options = pa_json.ParseOptions(
        explicit_schema=pa.schema(_column_types(layout)), unexpected_field_behavior="ignore"
    )
    with pa.input_stream(path, compression="detect") as stream:
        return pa_json.read_json(stream, parse_options=options)


def _column_types(layout: TraceFormat) -> "dict[str, pa.DataType]":
    import pyarrow as pa

    types = dict.fromkeys(layout.columns, pa.int64())
    return types | {layout.time: pa.float64()}


def _values(table: "pa.Table", column: str) -> NDArray[Any]:
    if table[column].null_count:
        row = int(table[column].is_null().index(True).as_py())
        raise ValueError(f"entry {row} has no {column!r}")
    return np.asarray(table[column].to_numpy())


def _seconds(elapsed: NDArray[Any], unit: float | None) -> NDArray[np.float64]:
    if unit is None:
        return elapsed / np.timedelta64(1, "s")
    return elapsed * unit
