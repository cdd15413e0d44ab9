"""Turns a finished profiler run into a dataset folder that ``load_dataset`` reads.

The folder holds ``requests.parquet`` (one row per prompt), ``embeddings.npz``, ``slowdown.json`` if
it was measured, and a card, ``README.md``, that says how the numbers came about; for others' tools
the card's front matter and ``croissant.json`` (see `data_tools.bundling.metadata`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

from data_tools.backends.base import Measurement
from data_tools.bundling.card import Card
from data_tools.bundling.metadata import CROISSANT, croissant, front_matter
from data_tools.bundling.run_figures import RunFigures, explained_variance, run_figures
from data_tools.profiling.run_file import RunMetadata, metadata_path
from edgecloud_gym.checks import whole_characters
from edgecloud_gym.dataset.rows import CACHED, ERROR, OnError, read_requests
from edgecloud_gym.dataset.slowdown import SlowdownFile, slowdown_path
from edgecloud_gym.files import check_writable

if TYPE_CHECKING:
    from data_tools.bundling.embed import Embedder

CARD: Final = "README.md"
EMBEDDINGS: Final = "embeddings.npz"
REQUESTS: Final = "requests.parquet"
SLOWDOWN: Final = "slowdown.json"

LARGEST: Final = 1e15  # what lies beyond is no count and no time

_TEXTS: Final = (
    *("request_text", "model_name", "response_text", "device", "finish_reason"),
    "family",
)
_NUMBERS: Final = ("inference_time", "time_to_first_token", "device_time", "load_average")
_COUNTS: Final = ("input_token_count", "output_token_count", CACHED)


def build_dataset(
    rows: Path,
    output: Path,
    embedder: Embedder,
    *,
    license: str,  # noqa: A002 # the option's name
    notes: str = "",
    on_error: OnError = "raise",
) -> RunFigures:
    """Makes the dataset folder of one run file.

    Of a prompt measured several times, the first measurement is the request; all of them tell the
    noise. Rows with errors stay out of the requests.

    Args:
        rows: ``inference_data_<MODEL_NAME>.jsonl``, with the reference collector's seven keys or
            those of `Measurement`; beside it its metadata and its ``.slowdown.json``, if there are
            any.
        output: The folder; created if absent, its files replaced once all are made.
        embedder: The BERT for the prompts.
        license: Under which the model's answers are given, for the card.
        notes: What else a reader of the card should know about the measurement.
        on_error: "raise" at a malformed row, or "skip" it.

    Raises:
        FileNotFoundError: If the rows are missing.
        UnreadableFileError: If a row is malformed, or no request was answered.
        OSError: If nothing can be written to the folder.
    """
    measured = read_requests(rows, on_error, keep=None, report_failed=False)
    beside = metadata_path(rows)
    metadata = RunMetadata.read(beside) if beside.exists() else None
    curve = slowdown_path(rows)
    slowdown = SlowdownFile.read(curve) if curve.exists() else None
    check_writable(output, folder=True)
    repeats = _by_prompt([_known_fields(row) for row in measured.rows])
    with TemporaryDirectory(prefix=f".{output.name}.", dir=output.parent) as scratch:
        folder = Path(scratch)
        explained = _write_files(folder, repeats, slowdown, embedder)
        figures = run_figures(repeats, failed=measured.failed, explained=explained)
        card = Card(
            name=output.name,
            figures=figures,
            metadata=metadata,
            first_row=next(iter(repeats.values()))[0],
            slowdown=slowdown,
            embedding_model=embedder.name,
            license=license,
            notes=notes,
        )
        head = front_matter(output.name, license, figures.requests)
        (folder / CARD).write_text(whole_characters(head + card.text()), encoding="utf-8")
        about = croissant(folder, output.name, license, card.sentence)
        (folder / CROISSANT).write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
        (output / SLOWDOWN).unlink(missing_ok=True)  # of an earlier run, perhaps
        for file in folder.iterdir():
            file.replace(output / file.name)
    return figures


def _write_files(
    folder: Path,
    repeats: dict[str, list[dict[str, Any]]],
    slowdown: SlowdownFile | None,
    embedder: Embedder,
) -> float:
    """Writes all but the card; returns `explained_variance`."""
    from data_tools.bundling.embed import embed_file
    from edgecloud_gym.dataset import load_dataset

    _write_requests(folder / REQUESTS, repeats)
    if slowdown is not None:
        slowdown.write(folder / SLOWDOWN)
    embed_file(folder / REQUESTS, embedder, output=folder / EMBEDDINGS, precision="float16")
    return explained_variance(load_dataset(folder))


def _known_fields(row: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what the dataset's table has a column for; None where that is of another type."""
    return {name: _of_type(name, row.get(name)) for name in _COLUMNS}


def _of_type(name: str, value: object) -> str | float | None:
    if name == CACHED and value == -1:  # not known
        return None
    if name in _TEXTS:
        return whole_characters(value) if isinstance(value, str) else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if -LARGEST < value < LARGEST else None


# In the order of the reference's keys, then of what a measurement adds.
_COLUMNS: Final = (
    *("request_text", "model_name", "response_text", "device"),
    *(f.name for f in fields(Measurement) if f.name not in ("response_text", CACHED, ERROR)),
    *("load_average", "family", CACHED),
)


def _by_prompt(rows: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Groups the rows by prompt, in order of first measurement."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(row["request_text"], []).append(row)
    return groups


def _write_requests(path: Path, repeats: dict[str, list[dict[str, Any]]]) -> None:
    """Writes each prompt's first measurement, and the times of the further ones beside it."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = {
        **dict.fromkeys(_TEXTS, pa.string()),
        **dict.fromkeys(_NUMBERS, pa.float64()),
        **dict.fromkeys(_COUNTS, pa.int64()),
    }
    again = pa.field("repeated_inference_times", pa.list_(pa.float64()))
    schema = pa.schema([*(pa.field(name, types[name]) for name in _COLUMNS), again])
    records = [
        {**first, again.name: [row["inference_time"] for row in further]}
        for first, *further in repeats.values()
    ]
    table = pa.Table.from_pylist(records, schema=schema)
    # What says nothing about any request: a CPU, for instance, has no clock of its own.
    empty = [name for name in table.column_names if table[name].null_count == len(table)]
    pq.write_table(table.drop_columns(empty), path, compression="zstd", compression_level=19)
