"""Sequences of measured numbers and what is usually asked about them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

FEWEST_WINDOWS: Final = 10  # below that a variance of counts says little
# Smaller and larger numbers are written with a power of ten.
SMALLEST_PLAIN: Final = 1e-4
LARGEST_PLAIN: Final = 1e7  # so that a row of them fits 80 columns


@dataclass(frozen=True, eq=False)
class Quantity:
    """Something measured for each request.

    Attributes:
        label: What it is.
        unit: "s" or "tokens".
        values: (n,) float64.
    """

    label: str
    unit: str
    values: NDArray[np.float64]

    @classmethod
    def of(cls, label: str, unit: str, values: ArrayLike) -> Self:
        """Makes one of anything array-like."""
        return cls(label, unit, np.asarray(values, dtype=np.float64))

    @property
    def title(self) -> str:
        """Label and unit."""
        return f"{self.label}, {self.unit}"

    @property
    def mean(self) -> float:
        """Their mean; NaN if there are none."""
        largest = _largest(self.values)
        return float((self.values / largest).mean()) * largest if self.values.size else np.nan

    @property
    def variation(self) -> float:
        """Coefficient of variation: standard deviation over mean; NaN where the mean is 0."""
        return _variation(self.values)


@dataclass(frozen=True, eq=False)
class Arrivals:
    """Arrival times of a workload.

    Attributes:
        times: (n,) float64, s, ascending from 0.
    """

    times: NDArray[np.float64]

    @property
    def duration(self) -> float:
        """From the first arrival to the last, s."""
        return float(self.times[-1])

    @property
    def rate(self) -> float:
        """Mean arrival rate, requests/s; NaN where there is no time between the arrivals."""
        return (len(self.times) - 1) / self.duration if self.duration > 0 else np.nan

    @property
    def gaps(self) -> NDArray[np.float64]:
        """(n - 1,) times between arrivals, s."""
        return np.diff(self.times)

    @property
    def variation(self) -> float:
        """Coefficient of variation of the gaps: 1 for a Poisson process, more for bursts."""
        return _variation(self.gaps)

    def counts(self, window: float) -> NDArray[np.int64]:
        """Counts arrivals in consecutive windows of that many s, but for an unfinished last one."""
        index = self._windows(window).astype(np.int64)
        return np.bincount(index, minlength=self._whole_windows(window))

    def peak(self, window: float) -> float:
        """Returns the highest rate in a window, requests/s; NaN if no window is finished."""
        index = self._windows(window)
        return float(self._occupied(index).max()) / window if len(index) else np.nan

    def dispersion(self, window: float) -> float:
        """Returns the index of dispersion of windows of that many s: variance over mean of counts.

        It is 1 for a Poisson process at every window. Where it grows with the window, bursts last
        longer than the shorter windows (Cox and Lewis, The Statistical Analysis of Series of
        Events, 1966). NaN with fewer than 10 windows.
        """
        whole, index = self._whole_windows(window), self._windows(window)
        if whole < FEWEST_WINDOWS or len(index) == 0:
            return np.nan
        # By the windows that are not empty: of those that are, there may be any number.
        counts = self._occupied(index)
        mean = len(index) / whole
        squares = float(((counts - mean) ** 2).sum()) + (whole - len(counts)) * mean**2
        return squares / (whole - 1) / mean

    def _whole_windows(self, window: float) -> int:
        return int(self.duration // window)

    def _windows(self, window: float) -> NDArray[np.float64]:
        """Returns in which window each arrival falls, those in the unfinished one left out."""
        index = self.times // window  # whole, though there may be more than integers count
        return index[index < self.duration // window]

    @staticmethod
    def _occupied(index: NDArray[np.float64]) -> NDArray[np.int64]:
        """Returns the counts of the windows that are not empty."""
        return np.unique(index, return_counts=True)[1]


@dataclass(frozen=True, eq=False)
class Slowdown:
    """A batch slowdown curve.

    Attributes:
        curve: (L,) float64, s(1) ... s(L).
        sizes: (k,) batch sizes at which it was measured; empty if the file does not say.
        measured: (k,) what was measured there.
        quartiles: (k, 2) spread of the measurements; empty if the file does not say.
    """

    curve: NDArray[np.float64]
    sizes: NDArray[np.float64]
    measured: NDArray[np.float64]
    quartiles: NDArray[np.float64]


def shown(value: float) -> str:
    """Returns a number with three significant digits, or all the digits before the point.

    From 1e7 on, and below 1e-4, it has a power of ten.

    >>> [shown(value) for value in (0.01234, 1.5, 37.26, 12345.6, 0.0, float("nan"))]
    ['0.0123', '1.50', '37.3', '12,346', '0', '–']
    >>> [shown(value) for value in (2.25e-14, 1e308)]
    ['2.25e-14', '1e+308']
    """
    value = float(value)  # of an integer, too, that NumPy has no type for
    if np.isnan(value):
        return "–"
    if value == 0:
        return "0"
    if not SMALLEST_PLAIN <= abs(value) < LARGEST_PLAIN:
        return f"{value:.3g}"
    digits = 2 - int(np.floor(np.log10(abs(value))))
    return f"{value:,.{max(0, digits)}f}"


def _largest(values: NDArray[np.float64]) -> float:
    """Returns the largest magnitude, by which sums are scaled so that they do not overflow."""
    return float(np.abs(values).max(initial=0.0)) or 1.0


def _variation(values: NDArray[np.float64]) -> float:
    scaled = values / _largest(values)
    mean = float(scaled.mean()) if values.size else 0.0
    if not mean > 0:
        return np.nan
    # Equal values differ from their mean by rounding alone.
    rounding = values.size**0.5 * np.finfo(np.float64).eps
    deviation = float(scaled.std())
    return deviation / mean if deviation > rounding else 0.0
