"""Turns a finished profiler run into a dataset folder that ``load_dataset`` reads.

The folder holds ``requests.parquet`` (one row per prompt), ``embeddings.npz``, ``slowdown.json`` if
it was measured, and a card, ``README.md``, that says how the numbers came about.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from data_tools.bundling.card import dataset_card
from data_tools.bundling.run_figures import RunFigures, explained_variance, run_figures
from data_tools.profiling.run_file import metadata_path, read_rows

if TYPE_CHECKING:
    from data_tools.bundling.embed import Embedder


def build_dataset(
    rows: Path, output: Path, embedder: Embedder, *, licence: str, notes: str = ""
) -> RunFigures:
    """Makes the dataset folder of one run file.

    Of a prompt measured several times, the first measurement is the request; all of them tell the
    noise. Rows with errors stay out of the requests.

    Args:
        rows: ``inference_data_<MODEL_NAME>.jsonl`` with its metadata beside it, and its
            ``.slowdown.json`` if that was measured.
        output: The folder; created if absent, its files replaced once all are made.
        embedder: The BERT for the prompts.
        licence: Under which the model's answers are given, for the card.
        notes: What else a reader of the card should know about the measurement.

    Raises:
        FileNotFoundError: If the rows or their metadata are missing.
        ValueError: If no request was answered.
    """
    measured = read_rows(rows)
    metadata = json.loads(metadata_path(rows).read_text(encoding="utf-8"))
    answered = [row for row in measured if row["error"] is None]
    if not answered:
        raise ValueError(f"{rows} holds no answered request")
    repeats = _by_prompt(answered)
    output.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=f".{output.name}.", dir=output.parent) as scratch:
        folder = Path(scratch)
        slowdown, explained = _write_files(folder, rows, repeats, embedder)
        figures = run_figures(repeats, failed=len(measured) - len(answered), explained=explained)
        card = dataset_card(
            output.name, figures, metadata, slowdown, embedder.name, licence=licence, notes=notes
        )
        (folder / "README.md").write_text(card, encoding="utf-8")
        output.mkdir(exist_ok=True)
        (output / "slowdown.json").unlink(missing_ok=True)  # of an earlier run, perhaps
        for file in folder.iterdir():
            file.replace(output / file.name)
    return figures


def _write_files(
    folder: Path, rows: Path, repeats: dict[str, list[dict[str, Any]]], embedder: Embedder
) -> tuple[dict[str, Any] | None, float]:
    """Writes all but the card; returns the slowdown curve, if any, and `explained_variance`."""
    from data_tools.bundling.embed import embed_file
    from edgecloud_gym.dataset import load_dataset

    requests = folder / "requests.parquet"
    _write_requests(requests, repeats)
    measured_curve = rows.with_suffix(".slowdown.json")
    slowdown = None
    if measured_curve.exists():
        shutil.copyfile(measured_curve, folder / "slowdown.json")
        slowdown = json.loads(measured_curve.read_text(encoding="utf-8"))
    embed_file(requests, embedder, output=folder / "embeddings.npz", precision="float16")
    return slowdown, explained_variance(load_dataset(folder))


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

    table = pa.Table.from_pylist(
        [
            {**first, "repeated_inference_times": [row["inference_time"] for row in further]}
            for first, *further in repeats.values()
        ]
    )
    # What says nothing about any request: no errors are left, and a CPU has no clock of its own.
    empty = [name for name in table.column_names if table[name].null_count == len(table)]
    pq.write_table(table.drop_columns(empty), path, compression="zstd", compression_level=19)
