"""Scores against their definitions."""

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.integrate import quad
from scipy.stats import lognorm, somersd

from agents.prediction import Prediction
from agents.prediction.scoring import (
    ceiling,
    concordance,
    crps,
    log_scores,
    measurement_variance,
    score,
)
from edgecloud_gym import RequestDataset

RNG = np.random.default_rng(0)
MEAN, STD = RNG.normal(0.0, 1.0, 6), RNG.uniform(0.2, 1.5, 6)
TIMES = np.exp(MEAN + STD * RNG.normal(size=6))
PREDICTION = Prediction(MEAN, STD, np.full(6, np.nan))


def test_crps_is_the_integral_of_its_definition() -> None:
    for mean, std, time, found in zip(MEAN, STD, TIMES, crps(PREDICTION, TIMES), strict=True):
        law = lognorm(s=std, scale=np.exp(mean))
        below = quad(lambda x: law.cdf(x) ** 2, 0.0, time)[0]  # noqa: B023
        above = quad(lambda x: law.sf(x) ** 2, time, np.inf, limit=200)[0]  # noqa: B023
        assert found == pytest.approx(below + above, rel=1e-6)


def test_crps_without_spread_is_the_absolute_error() -> None:
    sure = Prediction(MEAN, np.full(6, 1e-9), np.full(6, np.nan))
    assert_allclose(crps(sure, TIMES), np.abs(np.exp(MEAN) - TIMES), rtol=1e-6)


def test_log_score_is_of_the_density() -> None:
    assert_allclose(
        log_scores(PREDICTION, TIMES), -lognorm(s=STD, scale=np.exp(MEAN)).logpdf(TIMES)
    )


def test_both_are_proper() -> None:
    times = np.exp(0.5 + 0.7 * RNG.normal(size=20_000))
    truth = Prediction(np.full(20_000, 0.5), np.full(20_000, 0.7), np.full(20_000, np.nan))
    for off in ((0.3, 0.7), (0.5, 0.5), (0.5, 1.0)):
        other = Prediction(*(np.full(20_000, value) for value in (*off, np.nan)))
        assert crps(other, times).mean() > crps(truth, times).mean()
        assert log_scores(other, times).mean() > log_scores(truth, times).mean()


def test_order() -> None:
    times = np.array([1.0, 2.0, 3.0, 4.0, 4.0])
    mean = np.array([0.1, 0.3, 0.2, 0.4, 0.4])
    scores = score(Prediction(mean, np.ones(5), times), times, np.array([9, 8, 7, 6, 6], np.int32))
    pairs = [(i, j) for i in range(5) for j in range(5) if times[i] < times[j]]
    right = [float(np.sign(mean[j] - mean[i])) / 2 + 0.5 for i, j in pairs]
    assert scores.concordance == pytest.approx(np.mean(right))
    # Tau-b by hand: 8 pairs in order and 1 not, of the 9 without ties.
    assert scores.kendall == pytest.approx(7.0 / 9.0)
    assert scores.tokens_kendall == pytest.approx(-1.0)


def test_groups_hold_everybody() -> None:
    times = RNG.lognormal(size=103)
    scores = score(Prediction(np.log(times), np.ones(103), np.full(103, np.nan)), times, None)
    assert scores.r2 == pytest.approx(1.0)
    assert scores.expected_ratio == pytest.approx(np.exp(0.5))
    assert_allclose(scores.expected, np.exp(0.5) * scores.observed)
    assert np.isnan(scores.tokens_kendall)


def test_the_ceiling_is_what_measuring_again_leaves(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    logs = rng.normal(0.0, 1.0, 400)
    rows = []
    for i, log in enumerate(logs):
        again = np.exp(log + 0.2 * rng.normal(size=3)).tolist() if i % 2 else []
        first = float(np.exp(log + 0.2 * rng.normal()))
        rows.append(
            {"request_text": str(i), "inference_time": first, "repeated_inference_times": again}
        )
    path = tmp_path / "d.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    found = measurement_variance(path)
    assert found is not None
    variance, prompts = found
    assert prompts == 200
    assert variance == pytest.approx(0.2**2, rel=0.15)
    data = RequestDataset.from_arrays([row["inference_time"] for row in rows])  # type: ignore[misc]
    assert ceiling(data, data.rows("all"), variance) == pytest.approx(1.0 / 1.04, abs=0.01)
    path.write_text(json.dumps(rows[0]))
    assert measurement_variance(path) is None


def test_concordance_is_somers_d_and_quick_for_many_prompts() -> None:
    rng = np.random.default_rng(5)
    predicted, times = rng.integers(6, size=(2, 60)).astype(float)
    expected = 0.5 + 0.5 * somersd(times, predicted).statistic
    assert concordance(predicted, times) == pytest.approx(expected, rel=1e-12)
    many = rng.random(3000)  # with n^4 operations this would take days
    assert concordance(many, many) == 1.0
    assert concordance(-many, many) == 0.0
    assert np.isnan(concordance(many, np.ones(3000)))
