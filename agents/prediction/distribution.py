"""The distribution of a request's time: log-normal."""

from __future__ import annotations

from dataclasses import dataclass
from math import erfc, sqrt
from statistics import NormalDist
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

# SciPy's would do, but what plays should need NumPy alone.
_erfc: Final = np.frompyfunc(erfc, 1, 1)


@dataclass(frozen=True)
class Prediction:
    """What is predicted for n requests: their base latency T is log-normal.

    Attributes:
        log_time_mean: (n,) mean of log T, T in s; its exponential is the predicted median.
        log_time_std: (n,) standard deviation of log T, above 0.
        output_tokens: (n,) expected tokens of the answer; NaN if the predictor knows none.
    """

    log_time_mean: Floats
    log_time_std: Floats
    output_tokens: Floats

    def __len__(self) -> int:
        return len(self.log_time_mean)

    @property
    def median_time(self) -> Floats:
        """The time that half of such requests exceed (n,), s."""
        return np.asarray(np.exp(self.log_time_mean))

    @property
    def expected_time(self) -> Floats:
        """The mean of T (n,), s: exp(mu + sigma^2 / 2)."""
        return np.asarray(np.exp(self.log_time_mean + self.log_time_std**2 / 2.0))

    def exceeds(self, time: ArrayLike) -> Floats:
        """Returns P(T > time) (n,), of one time or of one per request (s, 0 or more)."""
        with np.errstate(divide="ignore"):  # everything exceeds 0
            z = (np.log(time) - self.log_time_mean) / self.log_time_std
        return np.asarray(_erfc(z / sqrt(2.0)), np.float64) / 2.0

    def quantile(self, q: float) -> Floats:
        """Returns the times that T stays below with probability q (n,), s.

        Raises:
            ValueError: If q is not between 0 and 1.
        """
        if not 0.0 < q < 1.0:
            raise ValueError(f"q={q!r}: must be between 0 and 1")
        z = NormalDist().inv_cdf(q)
        return np.asarray(np.exp(self.log_time_mean + z * self.log_time_std))
