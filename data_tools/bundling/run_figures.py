"""What a measured run says of itself: times, noise, and how far prompts tell the latency."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from edgecloud_gym.dataset import RequestDataset

_RIDGE_PENALTIES: Final = tuple(10.0**exponent for exponent in range(-3, 4))
_FEWEST_ROWS: Final = 50


@dataclass(frozen=True)
class RunFigures:
    """What a reader needs to judge a measured dataset; NaN where the rows do not say.

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
        noise: Median over these of (largest - smallest) / mean inference time.
        noise_p95: The 95th percentile of the same.
        same_answer: Share of the repeated prompts with the same answer every time.
        load: 5th, 50th and 95th percentile of the machine's load average.
        explained: R² of log latency from the embedding, on the test rows.
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
    repeats: dict[str, list[dict[str, Any]]], *, failed: int, explained: float = math.nan
) -> RunFigures:
    """Computes the figures of a run from its answered rows, grouped by prompt."""
    first = [rows[0] for rows in repeats.values()]
    times = _column(first, "inference_time")
    tokens = _column(first, "output_token_count")
    to_first = _column(first, "time_to_first_token")
    further = tokens > 1
    groups = [rows for rows in repeats.values() if len(rows) > 1]
    spread = [float(np.ptp(t) / t.mean()) for t in (_column(g, "inference_time") for g in groups)]
    same = [len({row.get("response_text") for row in group}) == 1 for group in groups]
    reasons = [row["finish_reason"] for row in first if row.get("finish_reason") is not None]
    return RunFigures(
        requests=len(first),
        failed=failed,
        mean=float(times.mean()),
        median=float(np.median(times)),
        p95=float(np.quantile(times, 0.95)),
        longest=float(times.max()),
        variation=float(times.std() / times.mean()),
        mean_tokens=_mean(tokens),
        first_token=_median(to_first),
        token_time=_median((times - to_first)[further] / (tokens[further] - 1)),
        cut_off=_mean(np.array([reason == "length" for reason in reasons])),
        repeated=len(groups),
        noise=_median(np.array(spread)),
        noise_p95=float(np.quantile(spread, 0.95)) if spread else math.nan,
        same_answer=_mean(np.array(same)),
        load=_percentiles(_column(first, "load_average")),
        explained=explained,
    )


def explained_variance(dataset: RequestDataset) -> float:
    """Returns R² on the test rows of a ridge regression from embedding to log latency.

    Fitted on the train rows alone; the penalty is chosen there by cross-validation.

    Args:
        dataset: With embeddings.

    Returns:
        R²; NaN for a dataset of fewer than 50 rows, about which it would say nothing.
    """
    from sklearn.linear_model import RidgeCV  # type: ignore[import-untyped]
    from sklearn.metrics import r2_score  # type: ignore[import-untyped]

    if len(dataset) < _FEWEST_ROWS:
        return math.nan
    x = np.asarray(dataset.embedding_table(None), dtype=np.float64)
    y = np.log(dataset.base_latency)
    train, test = dataset.rows("train"), dataset.rows("test")
    model = RidgeCV(alphas=_RIDGE_PENALTIES).fit(x[train], y[train])
    return float(r2_score(y[test], model.predict(x[test])))


def _column(rows: list[dict[str, Any]], key: str) -> NDArray[np.float64]:
    """Returns a column of numbers, NaN where a row does not say."""
    return np.array([row.get(key) for row in rows], dtype=np.float64)


def _mean(values: NDArray[Any]) -> float:
    return float(values.mean()) if len(values) else math.nan


def _median(values: NDArray[np.float64]) -> float:
    known = values[np.isfinite(values)]  # a server may answer without a single token of text
    return float(np.median(known)) if len(known) else math.nan


def _percentiles(values: NDArray[np.float64]) -> tuple[float, float, float]:
    """Returns the 5th, 50th and 95th percentile of what is known."""
    known = values[np.isfinite(values)]
    if len(known) == 0:
        return (math.nan, math.nan, math.nan)
    low, middle, high = np.quantile(known, [0.05, 0.5, 0.95]).tolist()
    return low, middle, high
