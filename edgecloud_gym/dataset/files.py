"""Request files on disk: where they lie, what they may hold, and what is wrong with a bad one.

Everything here returns plain values; `edgecloud_gym.dataset` makes a `RequestDataset` of them.
"""

import json
import math
import os
import warnings
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

ASSETS = Path(__file__).parents[1] / "assets"
REQUIRED = ("request_text", "inference_time")
OPTIONAL = ("input_token_count", "output_token_count")

OnError = Literal["raise", "skip"]


@dataclass(frozen=True)
class Source:
    """The files of one dataset; the two optional ones are None where they do not exist."""

    name: str
    requests: Path
    embeddings: Path | None
    slowdown: Path | None


@dataclass(frozen=True)
class Columns:
    """The usable rows of a request file, column by column, all of one length."""

    prompts: list[str]
    base_latency: list[float]  # s
    prompt_tokens: list[int] | None
    response_tokens: list[int] | None
    skipped: int


def bundled_datasets() -> tuple[str, ...]:
    """Names of the datasets that come with the package."""
    return tuple(sorted(file.parent.name for file in ASSETS.glob("*/requests.parquet")))


def locate(name_or_path: str | os.PathLike[str]) -> Source:
    """Find the files of a dataset.

    Args:
        name_or_path: A bundled name; a folder with `requests.parquet` or `requests.jsonl` in it
            (beside it `embeddings.npz` and `slowdown.json`); or a file `foo.jsonl` or `foo.parquet`
            (beside it `foo.npz` or `foo.embeddings.npz`, and `foo.slowdown.json`).

    Raises:
        ValueError: If it is neither a known name nor a path that could be a dataset.
        FileNotFoundError: If it looks like a path, but nothing is there.
    """
    if isinstance(name_or_path, str) and name_or_path in bundled_datasets():
        return _folder(ASSETS / name_or_path)
    path = Path(name_or_path)
    if path.is_dir():
        return _folder(path)
    if path.suffix.lower() not in READERS:
        raise ValueError(
            f"dataset {str(name_or_path)!r} is not known; use one of the bundled ones "
            f"({', '.join(bundled_datasets()) or 'none'}), or the path of a "
            f"{' or '.join(READERS)} file"
        )
    if not path.is_file():
        raise FileNotFoundError(f"dataset file {path} does not exist")
    return Source(
        name=path.stem,
        requests=path,
        embeddings=_existing(path.with_suffix(".npz"), path.with_suffix(".embeddings.npz")),
        slowdown=_existing(path.with_suffix(".slowdown.json")),
    )


def _folder(folder: Path) -> Source:
    requests = _existing(*(folder / f"requests{suffix}" for suffix in READERS))
    if requests is None:
        raise FileNotFoundError(f"dataset folder {folder} holds no requests{'/'.join(READERS)}")
    return Source(
        name=folder.name,
        requests=requests,
        embeddings=_existing(folder / "embeddings.npz"),
        slowdown=_existing(folder / "slowdown.json"),
    )


def _existing(*candidates: Path) -> Path | None:
    return next((path for path in candidates if path.is_file()), None)


def read_columns(path: Path, on_error: OnError) -> Columns:
    """Read and check the rows of a JSONL or Parquet file.

    A row with an `error` that is not null is a request that failed while it was measured: it is
    left out, counted and reported by a warning whatever `on_error` says. A token count is stated in
    every row or in none.

    Raises:
        ValueError: At the first malformed row, naming file, row and field; with `on_error="skip"`
            such rows are left out, counted and reported by one warning. Also if no usable row
            remains.
    """
    if on_error not in ("raise", "skip"):
        raise ValueError(f"on_error must be 'raise' or 'skip', got {on_error!r}")
    entries = list(READERS[path.suffix.lower()](path))
    records = [entry for _, entry in entries if isinstance(entry, dict)]
    # A server that states no usage leaves null in every row: the count is absent.
    stated = [key for key in OPTIONAL if any(record.get(key) is not None for record in records)]
    keys = [*REQUIRED, *stated]
    rows: list[dict[str, Any]] = []
    left_out: list[str] = []
    for where, entry in entries:
        if isinstance(entry, dict) and entry.get("error") is not None:
            left_out.append(f"{where}: the request failed: {entry['error']}")
            continue
        try:
            rows.append(_checked(entry, keys))
        except ValueError as error:
            if on_error == "raise":
                raise ValueError(f"{path}, {where}: {error}") from error
            left_out.append(f"{where}: {error}")
    if left_out:
        warnings.warn(
            f"{path}: left out {len(left_out)} of {len(entries)} rows; the first: {left_out[0]}",
            UserWarning,
            stacklevel=4,  # the caller of load_dataset
        )
    if not rows:
        raise ValueError(f"{path} holds no usable request ({len(left_out)} rows were left out)")
    columns = {key: [row[key] for row in rows] for key in keys}
    return Columns(
        prompts=columns["request_text"],
        base_latency=columns["inference_time"],
        prompt_tokens=columns.get("input_token_count"),
        response_tokens=columns.get("output_token_count"),
        skipped=len(left_out),
    )


# A row as read: its fields, or what kept it from being read.
_Entry = tuple[str, dict[str, Any] | ValueError]


def _read_jsonl(path: Path) -> Iterator[_Entry]:
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                yield f"line {number}", _decoded(line)


def _decoded(line: bytes) -> dict[str, Any] | ValueError:
    try:
        record = json.loads(line)
    except ValueError as error:  # also what UnicodeDecodeError is
        return ValueError(f"not a line of JSON: {error}")
    if not isinstance(record, dict):
        return ValueError(f"a JSON object is needed, got {type(record).__name__}")
    return record


def _read_parquet(path: Path) -> Iterator[_Entry]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            present = file.schema_arrow.names
            if missing := [key for key in REQUIRED if key not in present]:
                raise ValueError(
                    f"{path}: column {missing[0]!r} is missing; it has {', '.join(present)}"
                )
            wanted = [key for key in (*REQUIRED, *OPTIONAL, "error") if key in present]
            records = file.read(columns=wanted).to_pylist()
    except pa.ArrowInvalid as error:
        raise ValueError(f"{path} cannot be read as Parquet: {error}") from error
    for number, record in enumerate(records, start=1):
        yield f"row {number}", record


READERS: dict[str, Callable[[Path], Iterator[_Entry]]] = {
    ".parquet": _read_parquet,
    ".jsonl": _read_jsonl,
}


def _checked(entry: dict[str, Any] | ValueError, keys: list[str]) -> dict[str, Any]:
    if isinstance(entry, ValueError):
        raise entry
    return {key: _FIELDS[key](key, entry.get(key)) for key in keys}


def _text(key: str, value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"field {key!r} must be a string, got {_shown(value)}")
    return value


def _seconds(key: str, value: object) -> float:
    number = _number(key, value)
    if not (math.isfinite(number) and number > 0):
        raise ValueError(f"field {key!r} must be finite and above 0 s, got {number!r}")
    return float(number)


def _count(key: str, value: object) -> int:
    number = _number(key, value)
    if not (math.isfinite(number) and number >= 0 and number == int(number)):
        raise ValueError(f"field {key!r} must be a whole number of tokens, got {number!r}")
    return int(number)


def _number(key: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"field {key!r} must be a number, got {_shown(value)}")
    return value


def _shown(value: object) -> str:
    return "nothing" if value is None else f"{type(value).__name__} {value!r:.60}"


_FIELDS: dict[str, Callable[[str, object], Any]] = {
    "request_text": _text,
    "inference_time": _seconds,
    "input_token_count": _count,
    "output_token_count": _count,
}


def read_embeddings(path: Path) -> tuple[NDArray[np.floating[Any]], str | None]:
    """Read an embeddings file.

    Returns:
        The vectors (n, d), in the precision they were stored in, and the digest of the prompts they
        were computed from, or None where the file does not say.

    Raises:
        ValueError: If it is not such a file, or its stated dimension is not that of its vectors.
    """
    try:
        archive = np.load(path, allow_pickle=False)
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} cannot be read as an .npz file: {error}") from error
    if not isinstance(archive, np.lib.npyio.NpzFile):
        raise ValueError(
            f"{path} is a single array; an .npz file with the key 'embeddings' is needed"
        )
    with archive:
        if "embeddings" not in archive:
            raise ValueError(
                f"{path}: key 'embeddings' is missing; it has {', '.join(archive.files)}"
            )
        vectors = archive["embeddings"]
        digest = str(archive["prompts_digest"]) if "prompts_digest" in archive else None
        dimension = int(archive["dimension"]) if "dimension" in archive else None
    if dimension is not None and vectors.shape[1:] != (dimension,):
        raise ValueError(
            f"{path}: states dimension {dimension}, but its vectors have shape {vectors.shape}"
        )
    return vectors, digest


def read_slowdown(path: Path) -> list[float]:
    """Read the batch slowdown curve s(1), s(2), ... of a `slowdown.json`.

    Raises:
        ValueError: If it is not a JSON object with a list of numbers under `slowdown`.
    """
    try:
        content = json.loads(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path} cannot be read as JSON: {error}") from error
    curve = content.get("slowdown") if isinstance(content, dict) else None
    if not isinstance(curve, list):
        raise ValueError(f"{path}: key 'slowdown' must hold a list of numbers, s(1), s(2), ...")
    return [float(_number("slowdown", value)) for value in curve]
