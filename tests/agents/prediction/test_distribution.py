"""The log-normal distribution against SciPy's."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.stats import lognorm

from agents.prediction import Prediction

MEAN, STD = np.array([-1.0, 0.0, 2.0]), np.array([0.2, 1.0, 0.7])
PREDICTION = Prediction(MEAN, STD, np.full(3, np.nan))
TRUTH = lognorm(s=STD, scale=np.exp(MEAN))


def test_moments() -> None:
    assert len(PREDICTION) == 3
    assert_allclose(PREDICTION.median_time, TRUTH.median())
    assert_allclose(PREDICTION.expected_time, TRUTH.mean())


@pytest.mark.parametrize("time", [0.0, 0.01, 1.0, 4.0, 1e6, np.array([0.5, 1.0, 8.0])])
def test_tails(time: float) -> None:
    assert_allclose(PREDICTION.exceeds(time), TRUTH.sf(time), rtol=1e-12)


def test_quantiles() -> None:
    for q in (0.001, 0.25, 0.5, 0.99):
        assert_allclose(PREDICTION.quantile(q), TRUTH.ppf(q))
        assert_allclose(PREDICTION.exceeds(PREDICTION.quantile(q)), 1.0 - q)
    for q in (0.0, 1.0, 50.0):
        with pytest.raises(ValueError, match=f"q={q}: must be between 0 and 1"):
            PREDICTION.quantile(q)
