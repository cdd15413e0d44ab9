"""What a measured run says of itself: times, noise, and how far prompts tell the latency."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
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
    y = np.log(dataset.base_latency)
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
