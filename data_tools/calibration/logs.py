"""Logs of real servers: read, checked, and brought to one clock."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from data_tools.calibration.formats import (
    EMPTY,
    FORMATS,
    ONE_BY_ONE,
    OPEN_LOOP,
    Format,
    Record,
    Row,
    expanded,
    get,
    named_columns,
    stated,
)
from edgecloud_gym.dataset.checks import MOST_TOKENS
from edgecloud_gym.dataset.tables import read_table, table_name, table_suffix
from edgecloud_gym.files import UnreadableFileError, read_json, read_jsonl

OTHER_CLOCK: Final = 3600.0  # s between sent and queued from which they are two clocks
DRIFT: Final = 0.2  # of the mean request: clocks that differ by more cannot be brought together
LEAST: Final = 10  # requests
Floats = NDArray[np.float64]

# Keys by which logs say how their server was set up.
_SETTINGS: Final = {
    "max_num_seqs": "sequences",
    "max_num_batched_tokens": "batched_tokens",
    "block_size": "block_size",
}


@dataclass(frozen=True)
class Log:
    """Requests of one server at one load, in order of sending.

    Times are in s from the first request sent. The engine gets a request ``front_end`` s after it
    was sent; all times that are compared count from when it was sent.

    Attributes:
        name: Of the file.
        kind: Its format.
        sent: float64 (n,).
        first: float64 (n,), first token.
        finish: float64 (n,), last token.
        prompt: int64 (n,), prompt tokens, those found in a cache among them.
        cached: int64 (n,), how many of them were found in a cache and not computed: fewer than
            ``prompt``, -1 where the log does not say.
        output: int64 (n,).
        scheduled: float64 (n,), NaN where the log does not know.
        front_end: Least time between sent and queued (s).
        left_out: How many records were left out, by reason.
        settings: What the log says of its server, by the names of `EngineModel`.
        notes: What a user should know of it.
    """

    name: str
    kind: str
    sent: Floats
    first: Floats
    finish: Floats
    prompt: NDArray[np.int64]
    cached: NDArray[np.int64]
    output: NDArray[np.int64]
    scheduled: Floats
    front_end: float
    left_out: Mapping[str, int]
    settings: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.sent)

    @property
    def arrival(self) -> Floats:
        """When the engine gets each request (s)."""
        return self.sent + self.front_end

    @property
    def computed(self) -> NDArray[np.int64]:
        """Prompt tokens that were computed, as far as the log says (n,)."""
        return self.prompt - np.maximum(self.cached, 0)

    @property
    def most_at_once(self) -> int:
        """How many requests there were at a time, at most."""
        edges = np.concatenate([self.sent, self.finish])
        changes = np.repeat([1, -1], len(self))
        order = np.lexsort((changes, edges))
        return int(np.cumsum(changes[order]).max())

    def outstanding_at(self, times: Floats) -> NDArray[np.int64]:
        """How many requests were there at each time."""
        finished = np.searchsorted(np.sort(self.finish), times, side="right")
        return np.searchsorted(self.sent, times, side="right") - finished


def read_log(path: str | Path, columns: Mapping[str, str] | None = None) -> Log:
    """Reads a log of any known format; see the page "Engines" for the list.

    Args:
        path: JSON, JSON lines, CSV or Parquet; may be packed.
        columns: The columns of a table of one's own, by the fields of `formats.NAMED`.

    Raises:
        UnreadableFileError: If the file is of no known format, holds aggregates only, or a record
            is faulty; file, record and field are named.
        OSError: If it cannot be opened.
    """
    path = Path(path)
    known = (named_columns(columns),) if columns else FORMATS
    form: Format | None = None
    rows: list[Row] = []
    left_out: Counter[str] = Counter()
    settings: dict[str, int] = {}
    for place, record in _records(path):
        if form is None:
            form = _recognised(path, record, known)
        settings |= _settings(path, place, record)
        row = _row(path, place, record, form)
        reason = row.left_out or (EMPTY if row.output < 1 else "")
        if reason:
            left_out[reason] += 1
        else:
            rows.append(row)
    if form is None:
        raise UnreadableFileError(f"{path}: holds no record")
    if len(rows) < LEAST:
        counted = ", ".join(f"{count} {reason}" for reason, count in left_out.items())
        raise UnreadableFileError(
            f"{path}: {LEAST} finished requests or more are needed, got {len(rows)}"
            + (f" (left out: {counted})" if counted else "")
        )
    return _log(path, form.name, rows, dict(left_out), settings)


def _records(path: Path) -> Iterator[tuple[str, Record]]:
    suffix = table_suffix(path)
    if suffix == ".json":
        value = read_json(path)
        objects: Iterable[Any] = value if isinstance(value, list) else [value]
        for index, item in enumerate(objects, start=1):
            yield from _parts(path, f"record {index}", item, whole=len(objects) == 1)  # type: ignore[arg-type]
        return
    table = read_table(path) if suffix in (".csv", ".parquet") else _lines(path)
    for place, record in table:
        if isinstance(record, ValueError):
            raise UnreadableFileError(f"{path}, {place}: {record}")
        yield from _parts(path, place, record, whole=False)


def _lines(path: Path) -> Iterator[tuple[str, dict[str, Any] | ValueError]]:
    for line, record in read_jsonl(path):
        yield f"line {line}", record


def _parts(path: Path, place: str, record: Any, *, whole: bool) -> Iterator[tuple[str, Record]]:
    if not isinstance(record, Mapping):
        raise UnreadableFileError(f"{path}, {place}: an object is needed")
    try:
        for index, part in enumerate(expanded(record), start=1):
            yield (f"request {index}" if whole else place), part
    except ValueError as error:
        raise UnreadableFileError(f"{path}, {place}: {error}") from error


def _recognised(path: Path, record: Record, known: tuple[Format, ...]) -> Format:
    for form in known:
        if all(get(record, key) is not None for key in form.keys):
            return form
    aggregates = [key for key in record if any(word in key.lower() for word in _SUMMARY)]
    if aggregates:
        raise UnreadableFileError(
            f"{path}: holds aggregates only ({', '.join(aggregates[:3])}); times of each request "
            "are needed (vllm bench serve: --save-result --save-detailed)"
        )
    keys = ", ".join(map(str, list(record)[:8]))
    names = ", ".join(dict.fromkeys(form.name for form in FORMATS))
    raise UnreadableFileError(
        f"{path}: no known log format; its first record has {keys}. Known: {names}; name the "
        "columns of any other table"
    )


_SUMMARY: Final = ("mean_", "median_", "p99", "p95", "throughput", "avg", "percentile", "_std")


def _row(path: Path, place: str, record: Record, form: Format) -> Row:
    try:
        row = form.read(record)
        if row.left_out:
            return row
        _check_row(row)
    except (ValueError, TypeError) as error:
        raise UnreadableFileError(f"{path}, {place} ({form.name}): {error}") from error
    return row


def _check_row(row: Row) -> None:
    for name in ("prompt", "output"):
        value = getattr(row, name)
        if not 0 <= value <= MOST_TOKENS or value != math.floor(value):
            raise ValueError(
                f"{name} tokens {value:g}: must be a whole number from 0 to {MOST_TOKENS}"
            )
    found = row.cached
    if not math.isnan(found) and (not 0 <= found <= row.prompt or found != math.floor(found)):
        raise ValueError(
            f"cached tokens {found:g}: must be a whole number from 0 to the prompt's {row.prompt:g}"
        )
    if row.output >= 1 and row.finish < row.first:
        raise ValueError("the last token came before the first")
    if row.prompt < 1:
        raise ValueError("prompt tokens 0: must be a whole number from 1")


def _settings(path: Path, place: str, record: Record) -> dict[str, int]:
    """Returns what a record says of its server."""
    try:
        found = {ours: _whole(record, key) for key, ours in _SETTINGS.items() if record.get(key)}
        if record.get("kv_blocks"):
            found["kv_tokens"] = _whole(record, "kv_blocks") * found.get("block_size", 16)
    except ValueError as error:
        raise UnreadableFileError(f"{path}, {place}: {error}") from error
    return found


def _whole(record: Record, key: str) -> int:
    value = stated(key, record[key])
    if not 1 <= value <= MOST_TOKENS or value != math.floor(value):
        raise ValueError(
            f"{key}={record[key]!r:.60}: must be a whole number from 1 to {MOST_TOKENS}"
        )
    return int(value)


def _log(
    path: Path, kind: str, rows: list[Row], left_out: dict[str, int], settings: dict[str, int]
) -> Log:
    table = np.array([row[:8] for row in rows], np.float64)
    sent, first, finish, prompt, output, queued, scheduled, cached = table.T
    notes: list[str] = []
    if kind in ONE_BY_ONE:
        gaps = np.concatenate([[0.0], np.cumsum(finish + 1.0)[:-1]])
        sent, first, finish = sent + gaps, first + gaps, finish + gaps
        notes.append("durations alone: requests are taken as sent one after the other")
    front_end = 0.0
    if not np.isnan(queued).any():
        sent, front_end = _one_clock(sent, queued, finish, notes)
    early = first < sent
    if early.any():
        raise UnreadableFileError(
            f"{path}: {int(early.sum())} of {len(rows)} requests gave their first token before "
            "they were sent: these are times of two clocks"
        )
    if (np.diff(sent) < 0).any() and kind != OPEN_LOOP:  # whose rows come as they are answered
        notes.append("not in order of sending: sorted")
    order = np.argsort(sent, kind="stable")
    start = float(sent[order[0]])
    found = np.where(np.isnan(cached), -1.0, np.clip(cached, 0, prompt - 1))
    if (found > 0).any():
        share = np.maximum(found, 0).sum() / prompt.sum()
        notes.append(f"{share:.0%} of the prompt tokens were found in a cache and not computed")
    return Log(
        name=table_name(path),
        kind=kind,
        sent=(sent - start)[order],
        first=(first - start)[order],
        finish=(finish - start)[order],
        prompt=prompt[order].astype(np.int64),
        cached=found[order].astype(np.int64),
        output=output[order].astype(np.int64),
        scheduled=(scheduled - start)[order],
        front_end=front_end,
        left_out=left_out,
        settings=settings,
        notes=tuple(notes),
    )


def _one_clock(
    sent: Floats, queued: Floats, finish: Floats, notes: list[str]
) -> tuple[Floats, float]:
    """Brings the times of sending to the clock of the queue.

    Returns:
        Times of sending, and the least time from there to the queue (s).
    """
    delay = queued - sent
    least = float(delay.min())
    same = abs(float(np.median(delay))) < OTHER_CLOCK
    if same and least >= 0:
        return sent, least
    # Another clock: the request that was quickest from client to queue took no time.
    if float(np.median(delay)) - least > DRIFT * float(np.mean(finish - queued)):
        notes.append(
            "two clocks that drift apart: times count from the queue, not from the sending"
        )
        return queued, 0.0
    notes.append(
        f"two clocks, {least:,.3f} s apart: brought together at the request that was quickest "
        "from client to queue"
    )
    return sent + least, 0.0
