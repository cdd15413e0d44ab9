"""How good predictions are: proper scores, calibration, order, and the ceiling of all that."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from agents.prediction.distribution import Prediction
from edgecloud_gym.dataset import RequestDataset
from edgecloud_gym.dataset.tables import read_table

Floats = NDArray[np.float64]

LEVELS: Final = np.arange(0.05, 1.0, 0.05)
GROUPS: Final = 5
_TIME: Final = "inference_time"
_AGAIN: Final = "repeated_inference_times"


@dataclass(frozen=True)
class Scores:
    """What became of predictions.

    Attributes:
        requests: How many there are.
        r2: Share of the variance of log times that the means explain.
        log_score: Mean of -log p(T), nats, T in s; lower is better.
        crps: Mean continuous ranked probability score (s), lower is better; of a prediction
            without spread it is the absolute error.
        expected_ratio: Mean expected time by mean time: 1 if calibrated as a whole.
        kendall: Kendall's tau-b of predicted and true times.
        concordance: Share of the pairs of requests that are predicted in the right order; pairs
            predicted equal count half, and of equal times not at all.
        coverage: (levels,) share of the times below each predicted quantile of `LEVELS`.
        expected: (groups,) mean expected time (s) of fifths of the requests by expected time.
        observed: (groups,) mean time of these (s).
        observed_error: (groups,) its standard error (s).
        tokens_kendall: Kendall's tau of predicted and true answer lengths; NaN if not known.
    """

    requests: int
    r2: float
    log_score: float
    crps: float
    expected_ratio: float
    kendall: float
    concordance: float
    coverage: Floats
    expected: Floats
    observed: Floats
    observed_error: Floats
    tokens_kendall: float


def score(prediction: Prediction, times: Floats, tokens: NDArray[np.int32] | None) -> Scores:
    """Scores predictions of n requests.

    Args:
        prediction: Of them.
        times: (n,) their true base latencies (s).
        tokens: (n,) their answers, if known.
    """
    from scipy.stats import kendalltau

    logs, expected = np.log(times), prediction.expected_time
    order = np.array_split(np.argsort(expected, kind="stable"), min(GROUPS, len(times)))
    unknown = tokens is None or bool(np.isnan(prediction.output_tokens).any())
    return Scores(
        requests=len(times),
        r2=explained(prediction.log_time_mean, logs),
        log_score=float(log_scores(prediction, times).mean()),
        crps=float(crps(prediction, times).mean()),
        expected_ratio=float(expected.mean() / times.mean()),
        kendall=float(kendalltau(prediction.log_time_mean, logs).statistic),
        concordance=concordance(prediction.log_time_mean, times),
        coverage=np.array([float(np.mean(times <= prediction.quantile(q))) for q in LEVELS]),
        expected=np.array([expected[group].mean() for group in order]),
        observed=np.array([times[group].mean() for group in order]),
        observed_error=np.array(
            [times[group].std() / np.sqrt(max(1, len(group) - 1)) for group in order]
        ),
        tokens_kendall=np.nan
        if unknown
        else float(kendalltau(prediction.output_tokens, tokens).statistic),
    )


def concordance(predicted: Floats, times: Floats) -> float:
    """Returns the share of the pairs (of different times) that are predicted in the right order.

    Pairs predicted equal count half: 1/2 + D/2 with Somers' D of the predictions given the times.
    SciPy's ``somersd`` takes time of the order n^4 where all values differ; this takes n^2.

    Args:
        predicted: (n,) predictions, in any unit.
        times: (n,) true times.
    """
    right, pairs = 0.0, 0
    for i in range(1, len(times)):
        sooner = np.sign(times[:i] - times[i])
        right += float(sooner @ np.sign(predicted[:i] - predicted[i]))
        pairs += int(np.count_nonzero(sooner))
    return 0.5 + 0.5 * right / pairs if pairs else float("nan")


def explained(means: Floats, values: Floats) -> float:
    """Returns R^2, the share of the variance of values (n,) that means (n,) explain."""
    total = float(np.sum((values - values.mean()) ** 2))
    return 1.0 - float(np.sum((values - means) ** 2)) / total if total else float("nan")


def log_scores(prediction: Prediction, times: Floats) -> Floats:
    """Returns -log p(T) (n,), nats: of a log-normal distribution, T in s."""
    z = (np.log(times) - prediction.log_time_mean) / prediction.log_time_std
    spread = np.log(prediction.log_time_std * np.sqrt(2.0 * np.pi))
    return np.asarray(np.log(times) + spread + z**2 / 2.0)


def crps(prediction: Prediction, times: Floats) -> Floats:
    """Returns the continuous ranked probability scores (n,), s, of log-normal distributions.

    S. Baran & S. Lerch, Log-normal distribution based Ensemble Model Output Statistics models for
    probabilistic wind-speed forecasting, Q. J. R. Meteorol. Soc. 141, 2015, equation 3.
    """
    from scipy.special import ndtr

    sigma = prediction.log_time_std
    z = (np.log(times) - prediction.log_time_mean) / sigma
    inner = ndtr(z - sigma) + ndtr(sigma / np.sqrt(2.0)) - 1.0
    return np.asarray(times * (2.0 * ndtr(z) - 1.0) - 2.0 * prediction.expected_time * inner)


def measurement_variance(path: Path) -> tuple[float, int] | None:
    """Returns the variance of a prompt's log time between runs, and how many prompts tell it.

    They are those that were measured again: their times are in the column
    ``repeated_inference_times``. None where no prompt was.

    Args:
        path: A dataset's table of requests.
    """
    squares, freedom, prompts = 0.0, 0, 0
    for _, record in read_table(path, (_TIME, _AGAIN)):
        if isinstance(record, ValueError) or not record.get(_AGAIN):
            continue
        logs = np.log([record[_TIME], *record[_AGAIN]])
        squares += float(np.sum((logs - logs.mean()) ** 2))
        freedom += len(logs) - 1
        prompts += 1
    return (squares / freedom, prompts) if freedom else None


def ceiling(dataset: RequestDataset, rows: NDArray[np.int32], variance: float) -> float:
    """Returns the R^2 of log times that no predictor can pass: measuring again differs as much."""
    total = float(np.var(np.log(dataset.base_latency[rows]), ddof=1))
    return 1.0 - variance / total
