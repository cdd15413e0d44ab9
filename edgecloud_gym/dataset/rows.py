"""Rows of a request file: what they may be called, what they may hold, and a bad one's fault."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, Literal

from edgecloud_gym.checks import check_choice, has_half_character, parse_number
from edgecloud_gym.dataset.checks import MOST_TOKENS
from edgecloud_gym.dataset.tables import read_table, table_suffix
from edgecloud_gym.files import UnreadableFileError
from edgecloud_gym.wording import listed, shown

REQUIRED: Final = ("request_text", "inference_time")
CACHED: Final = "cached_tokens"
OPTIONAL: Final = ("input_token_count", "output_token_count", CACHED)
ERROR: Final = "error"
FIRST_TOKEN: Final = "time_to_first_token"
FAMILY: Final = "family"
_NO_ERROR: Final = frozenset({"", "0", "false", "nan", "no", "none", "null"})
# What else the columns may be called: as the attributes of `RequestDataset` are.
ALIASES: Final = {
    "prompt": "request_text",
    "base_latency": "inference_time",
    "latency": "inference_time",
    "prompt_tokens": "input_token_count",
    "response_tokens": "output_token_count",
}
_NUMERIC: Final = {"inference_time", *OPTIONAL, FIRST_TOKEN, "load_average"}

OnError = Literal["raise", "skip"]


@dataclass(frozen=True)
class Columns:
    """The usable rows of a request file, column by column, all of one length."""

    prompts: list[str]
    base_latency: list[float]  # s
    prompt_tokens: list[int] | None
    response_tokens: list[int] | None
    cached_tokens: list[int] | None  # -1 where a row does not state it
    time_to_first_token: list[float] | None  # s, NaN where a row does not state it
    families: list[str] | None  # empty where a row does not state it
    skipped: int


@dataclass(frozen=True)
class Requests:
    """The usable rows of a request file.

    Attributes:
        rows: Fields by name: the required ones, the token counts if they are stated, and those that
            were asked for, where they are there.
        counts: Which token counts are stated.
        failed: Number of rows left out because the request failed while it was measured.
        malformed: Number of rows left out because they are malformed.
    """

    rows: list[dict[str, Any]]
    counts: tuple[str, ...]
    failed: int
    malformed: int


def request_failed(row: dict[str, Any]) -> bool:
    """Whether a row holds a request that failed: its `error` says something.

    Null, false and an empty text, which some tools write after a success, say nothing; nor do they
    as a CSV, which is all text, spells them.
    """
    error = row.get(ERROR)
    if isinstance(error, str):
        return error.strip().lower() not in _NO_ERROR
    return bool(error) and not _is_nothing(error)


def read_columns(path: Path, on_error: OnError) -> Columns:
    """Reads and checks what an environment needs; see `read_requests`."""
    requests = read_requests(path, on_error, (FIRST_TOKEN, FAMILY))
    families = [_family(row) for row in requests.rows]
    first = [_first_token(row) for row in requests.rows]
    columns = {key: [row[key] for row in requests.rows] for key in (*REQUIRED, *requests.counts)}
    return Columns(
        prompts=columns["request_text"],
        base_latency=columns["inference_time"],
        prompt_tokens=columns.get("input_token_count"),
        response_tokens=columns.get("output_token_count"),
        cached_tokens=columns.get(CACHED),
        time_to_first_token=None if all(map(math.isnan, first)) else first,
        families=families if any(families) else None,
        skipped=requests.failed + requests.malformed,
    )


def read_requests(
    path: Path,
    on_error: OnError,
    keep: Collection[str] | None = (),
    *,
    report_failed: bool = True,
) -> Requests:
    """Reads and checks the rows of a JSONL, Parquet or CSV file.

    A row with an `error` is a request that failed while it was measured: it is left out, counted
    and reported by a warning whatever `on_error` says. A token count is stated in every row or in
    none; `cached_tokens` may be stated in some, and is -1 in the others.

    Args:
        path: The file.
        on_error: What to do at a malformed row.
        keep: Further columns to keep as they are; None keeps all.
        report_failed: Whether the warning tells of failed requests as well as of malformed rows.

    Raises:
        UnreadableFileError: At the first malformed row, naming file, row and field; with
            `on_error="skip"` such rows are left out, counted and reported by one warning. Also if
            no usable row remains.
    """
    check_choice("on_error", on_error, ("raise", "skip"))
    read = None if keep is None else (*REQUIRED, *OPTIONAL, ERROR, *ALIASES, *keep)
    entries = [(where, _renamed(record)) for where, record in read_table(path, read)]
    if table_suffix(path) == ".csv":
        entries = [(where, _typed(record)) for where, record in entries]
    records = [entry for _, entry in entries if isinstance(entry, dict)]
    _require_columns(path, records)
    # A server that states no usage leaves null in every row: the count is absent. So does NaN.
    stated = tuple(key for key in OPTIONAL if not all(_is_nothing(row.get(key)) for row in records))
    wanted = (*REQUIRED, *stated)
    rows: list[dict[str, Any]] = []
    failed: list[str] = []
    malformed: list[str] = []
    for where, entry in entries:
        if isinstance(entry, dict) and request_failed(entry):
            failed.append(f"{where}: the request failed: {entry[ERROR]}")
            continue
        try:
            checked = _checked(entry, wanted)
        except ValueError as error:
            if on_error == "raise":
                raise UnreadableFileError(f"{path}, {where}: {error}") from error
            malformed.append(f"{where}: {error}")
            continue
        rows.append(_kept(entry, keep) | checked)
    _report(path, [*(failed if report_failed else ()), *malformed], len(entries))
    if not rows:
        left_out = len(failed) + len(malformed)
        raise UnreadableFileError(f"{path} holds no usable request ({left_out} rows were left out)")
    return Requests(rows, stated, len(failed), len(malformed))


def _is_nothing(value: object) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _kept(entry: dict[str, Any] | ValueError, keep: Collection[str] | None) -> dict[str, Any]:
    fields = entry.items() if isinstance(entry, dict) else ()
    return {
        name: value
        for name, value in fields
        if name not in OPTIONAL and (keep is None or name in keep)
    }


def _renamed(record: dict[str, Any] | ValueError) -> dict[str, Any] | ValueError:
    """Returns a record under the names of the reference's columns."""
    if isinstance(record, ValueError) or not ALIASES.keys() & record.keys():
        return record
    renamed: dict[str, Any] = {}
    for name, value in record.items():
        meant = ALIASES.get(name, name)
        if meant in renamed and meant in (*REQUIRED, *OPTIONAL):
            same = [other for other in record if ALIASES.get(other, other) == meant]
            return ValueError(f"fields {' and '.join(map(repr, same))} mean the same: keep one")
        renamed[meant] = value
    return renamed


def _typed(record: dict[str, Any] | ValueError) -> dict[str, Any] | ValueError:
    """Returns a record of CSV with numbers where its text is one."""
    if isinstance(record, ValueError):
        return record
    typed = {name: _plain(text) if name in _NUMERIC else text for name, text in record.items()}
    # No count is stated: NumPy writes an unknown number so.
    nothing = [name for name in OPTIONAL if str(typed.get(name)).strip().lower() == "nan"]
    return typed | dict.fromkeys(nothing)


def _plain(text: str) -> float | str | None:
    try:
        return parse_number(text) if text.strip() else None
    except ValueError:
        return text


def _require_columns(path: Path, records: Sequence[dict[str, Any]]) -> None:
    """Raises if no record of a table with columns has a required one."""
    if table_suffix(path) == ".jsonl" or not records:
        return
    for key in REQUIRED:
        if key not in records[0]:
            others = " or ".join(repr(name) for name, meant in ALIASES.items() if meant == key)
            raise UnreadableFileError(
                f"{path}: column {key!r} (or {others}) is missing; it has {listed(records[0])}"
            )


def _report(path: Path, left_out: Sequence[str], total: int) -> None:
    if left_out:
        warnings.warn(
            f"{path}: left out {len(left_out)} of {total} rows; the first: {left_out[0]}",
            UserWarning,
            stacklevel=5,  # the caller of load_dataset
        )


def _checked(entry: dict[str, Any] | ValueError, keys: Sequence[str]) -> dict[str, Any]:
    if isinstance(entry, ValueError):
        raise entry
    return {key: _FIELDS[key](key, entry.get(key)) for key in keys}


def _first_token(row: dict[str, Any]) -> float:
    """Returns a row's time to first token, s; NaN where it states none that can be."""
    try:
        first = _seconds(FIRST_TOKEN, row.get(FIRST_TOKEN))
    except ValueError:
        return math.nan
    return first if first <= row["inference_time"] else math.nan


def _family(row: dict[str, Any]) -> str:
    """Returns the name of the family that a row's prompt is of; "" where it states none."""
    family = row.get(FAMILY)
    return family if isinstance(family, str) and not has_half_character(family) else ""


def _text(key: str, value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"field {key!r} must be a string, got {_shown(value)}")
    if has_half_character(value):
        raise ValueError(f"field {key!r} holds half a character (a lone surrogate)")
    return value


def _seconds(key: str, value: object) -> float:
    number = value.total_seconds() if isinstance(value, timedelta) else _number(key, value)
    if not (math.isfinite(number) and number > 0):
        raise ValueError(f"field {key!r} must be finite and above 0 s, got {number!r}")
    return number


def _found(key: str, value: object) -> int:
    return -1 if _is_nothing(value) else _count(key, value, least=-1)


def _count(key: str, value: object, least: int = 0) -> int:
    number = _number(key, value)
    if not (least <= number <= MOST_TOKENS and number == int(number)):
        raise ValueError(
            f"field {key!r} must be a whole number of tokens from {least} to {MOST_TOKENS}, "
            f"got {shown(value)}"
        )
    return int(number)


def _number(key: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise ValueError(f"field {key!r} must be a number, got {_shown(value)}")
    try:
        return float(value)
    except OverflowError as error:
        raise ValueError(f"field {key!r} is out of range, got {shown(value)}") from error


def _shown(value: object) -> str:
    return "nothing" if value is None else f"{type(value).__name__} {shown(value)}"


_FIELDS: Final[dict[str, Callable[[str, object], Any]]] = {
    "request_text": _text,
    "inference_time": _seconds,
    "input_token_count": _count,
    "output_token_count": _count,
    CACHED: _found,
}
