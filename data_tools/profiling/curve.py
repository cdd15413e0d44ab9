"""The batch slowdown curve: step times of a batch, and the straight line through them.

A step of n sequences takes about a + b n seconds: reading the weights costs the same for any n,
arithmetic and cache traffic grow with n. A request that alone takes one unit of time therefore
takes s(n) = (a + b n) / (a + b) among n. The environment reads s from ``slowdown.json``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from edgecloud_gym.dataset.slowdown import SlowdownFile

CURVE_LENGTH: Final = 64  # s(1) ... s(64) are written, more if larger batches were measured


@dataclass(frozen=True)
class StepTimeFit:
    """Decoding step time as a function of the batch size n: a + b n, in seconds."""

    a: float
    b: float

    def step_time(self, batch_sizes: NDArray[np.float64]) -> NDArray[np.float64]:
        """Returns a + b n, in s, for each batch size n."""
        return self.a + self.b * batch_sizes

    def slowdown(self, length: int = CURVE_LENGTH) -> NDArray[np.float64]:
        """Returns s(1) ... s(length), float64 (length,); s(1) is exactly 1."""
        times = self.step_time(np.arange(1, length + 1, dtype=np.float64))
        return np.asarray(times / times[0])


@dataclass(frozen=True)
class SlowdownCurve:
    """Measured decoding step times and their fit.

    Attributes:
        batch_sizes: (k,) distinct sizes, ascending, at least two.
        step_times: (repeats, k) s; each the median over the steps of one repetition. NaN where the
            measurement has not come to it or the size did not fit; no column is all NaN.
        context_length: Tokens in each sequence's cache when the timed steps begin.
        steps: Timed steps per repetition.
        fit: The straight line through the medians.
        did_not_fit: Why a size could not be measured (any more), by size.
    """

    batch_sizes: tuple[int, ...]
    step_times: NDArray[np.float64]
    context_length: int
    steps: int
    fit: StepTimeFit
    did_not_fit: Mapping[int, str] = field(default_factory=dict)

    @property
    def median(self) -> NDArray[np.float64]:
        """Median step time over the repetitions for each batch size, (k,) s."""
        return np.asarray(np.nanmedian(self.step_times, axis=0))

    @property
    def fit_error(self) -> float:
        """Largest relative deviation of the fit from the medians."""
        fitted = self.fit.step_time(np.asarray(self.batch_sizes, dtype=np.float64))
        return float(np.abs(fitted / self.median - 1).max())

    def to_file(self, about: Mapping[str, Mapping[str, Any]]) -> SlowdownFile:
        """Returns what ``slowdown.json`` holds.

        Args:
            about: ``configuration`` and ``conditions`` of the measurement.
        """
        quartiles = np.nanquantile(self.step_times, [0.25, 0.75], axis=0)
        return SlowdownFile(
            slowdown=self.fit.slowdown(max(CURVE_LENGTH, *self.batch_sizes)).tolist(),
            batch_sizes=list(self.batch_sizes),
            step_time=self.median.tolist(),
            step_time_quartiles=quartiles.T.tolist(),
            step_time_repeats=[times[~np.isnan(times)].tolist() for times in self.step_times.T],
            context_length=self.context_length,
            steps=self.steps,
            a=self.fit.a,
            b=self.fit.b,
            fit_error=self.fit_error,
            did_not_fit={str(n): why for n, why in self.did_not_fit.items()} or None,
            **about,
        )


def fit_step_time(batch_sizes: Sequence[int], step_times: NDArray[np.float64]) -> StepTimeFit:
    """Fits a + b n with a, b >= 0 by least squares of the relative error.

    Relative, because a step of 16 sequences is not worth more than a step of one.

    Args:
        batch_sizes: (k,) at least two distinct sizes.
        step_times: (k,) s, > 0.
    """
    sizes = np.asarray(batch_sizes, dtype=np.float64)
    design = np.column_stack([np.ones_like(sizes), sizes]) / step_times[:, None]
    (a, b), *_ = np.linalg.lstsq(design, np.ones_like(sizes), rcond=None)
    if b < 0:  # noise on a flat curve
        a, b = _scale(design[:, 0]), 0.0
    elif a < 0:
        a, b = 0.0, _scale(design[:, 1])
    return StepTimeFit(float(a), float(b))


def _scale(column: NDArray[np.float64]) -> float:
    """Returns the factor that brings a column closest to ones."""
    return float(column.sum() / (column @ column))
