"""Ridge regression of log times with confidence widths, updated one request at a time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from agents.schedulers.bandits.models.moments import RunningMoments
from edgecloud_gym.checks import check_number

Floats = NDArray[np.float64]

REFRESH: Final = 1000  # design updates between inversions from scratch, against rounding
LARGEST_WIDTH: Final = 1e3  # of a request that is added without inverting from scratch
SMALLEST_RIDGE: Final = 1e-9  # as a share of the design's trace, for a plain inversion
# Bandits divide by their designs, some in float32: between these, all scores are finite.
LEAST_RIDGE: Final = 1e-12
MOST_RIDGE: Final = 1e30


def check_ridge(ridge: object) -> float:
    """Returns a bandit's regularisation, the start of its design's diagonal.

    Raises:
        TypeError: If it is no real number.
        ValueError: If it lies outside [1e-12, 1e30].
    """
    return check_number("ridge", ridge, least=LEAST_RIDGE, most=MOST_RIDGE)


class Ridge:
    """theta = A^-1 b with A = ridge I + sum x x^T, for standardised log times.

    A grows at dispatch (`add_design`) and b at completion (`add_times`); in between a request
    counts as one of average length. b is kept as sums over raw log times, so that a change of the
    running standardisation applies to everything seen.

    The width of x is sqrt(x^T A^-1 x) (Abbasi-Yadkori, Pal & Szepesvari, Improved algorithms for
    linear stochastic bandits, NeurIPS 2011, section 4), A^-1 by Sherman and Morrison's formula.
    """

    def __init__(self, width: int, ridge: float) -> None:
        """Starts with nothing seen, for features of the given width."""
        self._ridge = ridge
        self.moments = RunningMoments()
        self.design: Floats = ridge * np.eye(width)
        self._inverse: Floats = np.eye(width) / ridge
        self._log_sum = np.zeros(width)  # sum of x log t
        self._sum = np.zeros(width)  # sum of x
        self._updates = 0

    def add_design(self, features: Floats) -> None:
        """Adds requests (n, width) to the design."""
        self.design += features.T @ features
        if self._loses_digits(features):
            self._invert()
            return
        for x in features:
            gain = self._inverse @ x
            self._inverse -= np.outer(gain, gain / (1.0 + x @ gain))
        self._updates += len(features)
        if self._updates >= REFRESH:
            self._invert()

    def _loses_digits(self, features: Floats) -> bool:
        """Whether Sherman and Morrison's difference of large numbers would leave few digits."""
        return bool(np.any(self.width(features) > LARGEST_WIDTH))

    def _invert(self) -> None:
        if self._ridge > SMALLEST_RIDGE * np.trace(self.design):
            self._inverse[...] = np.linalg.inv(self.design)
        else:  # the least eigenvalues drown in rounding: they are at least the ridge
            values, axes = np.linalg.eigh(self.design)
            self._inverse[...] = (axes / np.maximum(values, self._ridge)) @ axes.T
        self._updates = 0

    def add_times(self, features: Floats, times: Floats) -> None:
        """Adds the times (n,), s, of requests (n, width)."""
        logs = np.log(times)
        self.moments.update(logs)
        self._log_sum += logs @ features
        self._sum += features.sum(axis=0)

    @property
    def theta(self) -> Floats:
        """Coefficients (width,), for standardised log times."""
        moments = self.moments
        target = (self._log_sum - moments.mean * self._sum) / moments.std
        theta: Floats = self._inverse @ target
        return theta

    def mean(self, features: Floats) -> Floats:
        """Returns predicted standardised log times of features (n, width), (n,)."""
        mean: Floats = features @ self.theta
        return mean

    def width(self, features: Floats) -> Floats:
        """Returns sqrt(x^T A^-1 x) of features (n, width), (n,)."""
        square = np.einsum("ij,ij->i", features @ self._inverse, features)
        width: Floats = np.sqrt(np.maximum(square, 0.0))
        return width

    def refit(self, features: Floats, times: Floats) -> None:
        """Replaces design and targets by those of requests whose features have changed."""
        logs = np.log(times)
        self.design = self._ridge * np.eye(features.shape[1]) + features.T @ features
        self._log_sum = logs @ features
        self._sum = features.sum(axis=0)
        self._invert()

    def state(self) -> dict[str, NDArray[Any]]:
        """Returns what was learnt, as arrays."""
        return {
            "ridge_design": self.design,
            "ridge_inverse": self._inverse,
            "ridge_log_sum": self._log_sum,
            "ridge_sum": self._sum,
            "ridge_updates": np.array(self._updates),
            "ridge_moments": self.moments.state(),
        }

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Takes over what `state` returned."""
        self.design[...] = state["ridge_design"]
        self._inverse[...] = state["ridge_inverse"]
        self._log_sum[...] = state["ridge_log_sum"]
        self._sum[...] = state["ridge_sum"]
        self._updates = int(state["ridge_updates"])
        self.moments.restore(state["ridge_moments"])
