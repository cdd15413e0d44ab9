"""Tables of records: JSON lines, Parquet or CSV, read record by record.

JSON lines and CSV may be packed (see `edgecloud_gym.unpacking`). A record is named by its line or
row, from 1; a column or key that comes twice is refused, since one of the two would win unseen.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from edgecloud_gym.checks import has_half_character
from edgecloud_gym.files import UnreadableFileError, duplicate, read_jsonl
from edgecloud_gym.unpacking import PACKED_SUFFIXES, check_packing, unpacked_name, unpacking
from edgecloud_gym.wording import shown

if TYPE_CHECKING:
    import pyarrow as pa

# A record's place, as in "line 3", and its fields or what kept it from being read.
Record = tuple[str, dict[str, Any] | ValueError]


def read_table(path: Path, columns: Sequence[str] | None = None) -> Iterator[Record]:
    """Yields the records of a table.

    Args:
        path: The file; its suffix tells the format.
        columns: The columns needed; others may be left out. None is all of them.

    Raises:
        UnreadableFileError: If the file is of no known format, not of the one that its name tells,
            or has a column twice.
        OSError: If it cannot be opened.
    """
    if path.is_dir():
        raise IsADirectoryError(f"{path}: it is a folder; a file is needed")
    require_format(path)
    return READERS[table_suffix(path)](path, columns)


def require_format(path: Path) -> None:
    """Checks that a file's name tells a format that is read.

    Raises:
        UnreadableFileError: If not.
    """
    if table_suffix(path) not in READERS:
        if path.is_file():
            check_packing(path)
        raise UnreadableFileError(
            f"{path}: its name must end in {', '.join(READERS)}, packed or not (in a zip, that of "
            "the file inside)"
        )


def table_suffix(path: Path) -> str:
    """Returns the suffix that tells the format: ``x.JSONL.gz`` -> ``.jsonl``.

    Of a zip it is that of the file inside.

    Raises:
        UnreadableFileError: If it is a zip that is damaged, or not of one file.
    """
    return Path(unpacked_name(path)).suffix.lower()


def table_name(path: Path) -> str:
    """Returns the file's name without format and packing: ``x.jsonl.gz`` -> ``x``."""
    packed = path.suffix.lower() in PACKED_SUFFIXES
    return Path(path.stem).stem if packed else path.stem


def beside(path: Path, suffix: str) -> Path:
    """Returns the path of a file that belongs to a table: ``x.jsonl.gz`` -> ``x.npz``."""
    return path.with_name(table_name(path) + suffix)


def _read_jsonl(path: Path, columns: Sequence[str] | None) -> Iterator[Record]:
    del columns  # a line is decoded as a whole
    for number, record in read_jsonl(path):
        yield f"line {number}", record


def _read_parquet(path: Path, columns: Sequence[str] | None) -> Iterator[Record]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with unpacking(path) as content, pq.ParquetFile(content) as file:
            present = file.schema_arrow.names
            _refuse_duplicates(path, present)
            wanted = present if columns is None else [name for name in present if name in columns]
            row = 0
            for batch in file.iter_batches(columns=wanted):
                for record in _records(batch):
                    row += 1
                    yield f"row {row}", record
    except (pa.ArrowException, UnicodeDecodeError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise UnreadableFileError(f"{path} cannot be read as Parquet: {error}") from error


def _records(batch: pa.RecordBatch) -> Iterator[dict[str, Any] | ValueError]:
    """Yields the rows of a batch; where text is not UTF-8, one by one to find the row."""
    try:
        yield from batch.to_pylist()
    except UnicodeDecodeError:
        for row in range(batch.num_rows):
            try:
                yield batch.slice(row, 1).to_pylist()[0]
            except UnicodeDecodeError as error:
                yield ValueError(f"not UTF-8 text: {error}")


def _read_csv(path: Path, columns: Sequence[str] | None) -> Iterator[Record]:
    """Yields rows whose fields are text; a row is named by the line where it begins."""
    del columns
    rows = _csv_rows(path)
    if not rows:
        return
    names = [name.strip() for name in rows[0][1]]
    if any(map(has_half_character, names)):
        raise UnreadableFileError(f"{path}, line {rows[0][0]}: not UTF-8 text")
    _refuse_duplicates(path, names)
    if len(names) == 1 and (other := re.search("[;\t|]", names[0])):
        raise UnreadableFileError(
            f"{path}: columns must be separated by commas, not by {shown(other.group())}"
        )
    for line, row in rows[1:]:
        if any(map(has_half_character, row)):
            yield f"line {line}", ValueError("not UTF-8 text")
        elif len(row) == len(names):
            yield f"line {line}", dict(zip(names, row, strict=True))
        else:
            fault = f"it has {len(row)} columns, the header {len(names)}"
            yield f"line {line}", ValueError(fault)


def _csv_rows(path: Path) -> list[tuple[int, list[str]]]:
    rows = []
    with unpacking(path) as content:
        limit = csv.field_size_limit(2**31 - 1)  # a prompt may be long
        try:
            # What is no UTF-8 comes as halves of characters: it concerns its row alone.
            lines = io.TextIOWrapper(
                content, encoding="utf-8-sig", errors="surrogateescape", newline=""
            )
            reader = csv.reader(lines, strict=True)
            begins = 1
            for row in reader:
                if row:
                    rows.append((begins, row))
                begins = reader.line_num + 1
        except csv.Error as error:
            raise UnreadableFileError(f"{path}, line {begins}: not CSV: {error}") from error
        finally:
            csv.field_size_limit(limit)
    return rows


READERS: Final[dict[str, Callable[[Path, Sequence[str] | None], Iterator[Record]]]] = {
    ".parquet": _read_parquet,
    ".jsonl": _read_jsonl,
    ".csv": _read_csv,
}


def _refuse_duplicates(path: Path, names: list[str]) -> None:
    if name := duplicate(names):
        raise UnreadableFileError(f"{path}: column {shown(name)} occurs twice")
