"""Turns a finished profiler run into a dataset folder that ``load_dataset`` reads.

The folder holds ``requests.parquet`` (one row per prompt), ``embeddings.npz``, ``slowdown.json`` if
it was measured, and a card, ``README.md``, that says how the numbers came about.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from data_tools.card import dataset_card
from data_tools.records import metadata_path, read_rows

if TYPE_CHECKING:
    from data_tools.embed import Embedder
    from edgecloud_gym.dataset import RequestDataset

_RIDGE_PENALTIES = tuple(10.0**exponent for exponent in range(-3, 4))
_FOLDS = 5
_FEWEST_ROWS = 50


@dataclass(frozen=True)
class RunFigures:
    """What a reader needs to judge a measured dataset.

    Attributes:
        requests: Number of prompts with an answer.
        failed: Number of rows that hold an error.
        mean, median, p95, longest: Of the inference time, s.
        variation: Coefficient of variation of the inference time.
        mean_tokens: Mean answer length, tokens.
        first_token: Median time to the first token, s.
        token_time: Median time per further token, s.
        cut_off: Share of the answers that ended at the cap.
        repeated: Number of prompts measured more than once.
        noise: Median over these of (largest - smallest) / mean inference time; NaN without any.
        noise_p95: The 95th percentile of the same.
        same_answer: Share of the repeated prompts with the same answer every time.
        load: 5th, 50th and 95th percentile of the machine's load average.
        explained: R² of log latency from the embedding, on the test rows; NaN where unknown.
    """

    requests: int
    failed: int
    mean: float
    median: float
    p95: float
    longest: float
    variation: float
    mean_tokens: float
    first_token: float
    token_time: float
    cut_off: float
    repeated: int
    noise: float
    noise_p95: float
    same_answer: float
    load: tuple[float, float, float]
    explained: float


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
    from data_tools.embed import embed_file
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


def run_figures(
    repeats: dict[str, list[dict[str, Any]]], *, failed: int, explained: float = float("nan")
) -> RunFigures:
    """Computes the figures of a run from its answered rows, grouped by prompt."""
    first = [rows[0] for rows in repeats.values()]
    times = _column(first, "inference_time")
    tokens = _column(first, "output_token_count")
    to_first = _column(first, "time_to_first_token")
    further = tokens > 1
    groups = [rows for rows in repeats.values() if len(rows) > 1]
    spread = [float(np.ptp(t) / t.mean()) for t in (_column(g, "inference_time") for g in groups)]
    same = [len({row["response_text"] for row in group}) == 1 for group in groups]
    load = [row["load_average"] for row in first if row["load_average"] is not None]
    return RunFigures(
        requests=len(first),
        failed=failed,
        mean=float(times.mean()),
        median=float(np.median(times)),
        p95=float(np.quantile(times, 0.95)),
        longest=float(times.max()),
        variation=float(times.std() / times.mean()),
        mean_tokens=float(tokens.mean()),
        first_token=_median(to_first),
        token_time=_median((times - to_first)[further] / (tokens[further] - 1)),
        cut_off=float(np.mean([row["finish_reason"] == "length" for row in first])),
        repeated=len(groups),
        noise=_median(np.array(spread)),
        noise_p95=float(np.quantile(spread, 0.95)) if spread else float("nan"),
        same_answer=float(np.mean(same)) if same else float("nan"),
        load=_percentiles(load),
        explained=explained,
    )


def _percentiles(values: list[float]) -> tuple[float, float, float]:
    """Returns the 5th, 50th and 95th percentile; NaN of nothing."""
    low, middle, high = np.quantile(values or [float("nan")], [0.05, 0.5, 0.95]).tolist()
    return low, middle, high


def explained_variance(dataset: RequestDataset) -> float:
    """Returns R² on the test rows of a ridge regression from embedding to log latency.

    Fitted on the train rows alone; the penalty is chosen there by cross-validation.

    Args:
        dataset: With embeddings.

    Returns:
        R²; NaN for a dataset of fewer than 50 rows, about which it would say nothing.
    """
    if len(dataset) < _FEWEST_ROWS:
        return float("nan")
    x = np.asarray(dataset.embedding_table(None), dtype=np.float64)
    y = np.log(dataset.latency)
    train, test = dataset.rows("train"), dataset.rows("test")
    folds = np.arange(len(train)) % _FOLDS
    errors = [
        sum(
            np.sum(
                (y[train[folds == k]] - _ridge(x, y, train[folds != k], p)[train[folds == k]]) ** 2
            )
            for k in range(_FOLDS)
        )
        for p in _RIDGE_PENALTIES
    ]
    predicted = _ridge(x, y, train, _RIDGE_PENALTIES[int(np.argmin(errors))])
    residual = y[test] - predicted[test]
    return float(1 - (residual @ residual) / np.sum((y[test] - y[test].mean()) ** 2))


def _ridge(
    x: NDArray[np.float64], y: NDArray[np.float64], rows: NDArray[np.int32], penalty: float
) -> NDArray[np.float64]:
    """Returns predictions for all of x (n, d) -> (n,) from a ridge regression on some rows."""
    centre, level = x[rows].mean(axis=0), y[rows].mean()
    inner = x[rows] - centre
    gram = inner.T @ inner + penalty * np.eye(x.shape[1])
    weights = np.linalg.solve(gram, inner.T @ (y[rows] - level))
    return np.asarray((x - centre) @ weights + level)


def _column(rows: list[dict[str, Any]], key: str) -> NDArray[np.float64]:
    return np.array([row[key] for row in rows], dtype=np.float64)


def _median(values: NDArray[np.float64]) -> float:
    known = values[np.isfinite(values)]  # a server may answer without a single token of text
    return float(np.median(known)) if len(known) else float("nan")
