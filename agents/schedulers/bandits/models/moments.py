"""Running mean and standard deviation, with optional forgetting."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

FARTHEST: Final = 50.0  # of a log time (s): further than the age of the universe


class RunningMoments:
    """Mean and standard deviation of a stream, each value weighing ``discount`` of the next one.

    West's weighted form of Welford's update (D. H. D. West, Updating mean and variance estimates,
    CACM 22(9), 1979).

    Attributes:
        weight: Sum of weights; the count where nothing is forgotten.
        mean: Mean; 0 before the first value.
    """

    def __init__(self, discount: float = 1.0) -> None:
        self._discount = discount
        self.weight = 0.0
        self.mean = 0.0
        self._deviations = 0.0

    def update(self, values: NDArray[np.float64]) -> None:
        """Takes in values (n,), in order."""
        for value in values.tolist():
            self.weight = self._discount * self.weight + 1.0
            deviation = value - self.mean
            self.mean += deviation / self.weight
            self._deviations *= self._discount
            self._deviations += deviation * (value - self.mean)

    @property
    def std(self) -> float:
        """Standard deviation; 1 as long as all values are equal."""
        if self._deviations <= 0.0:
            return 1.0
        return math.sqrt(self._deviations / self.weight)

    def times(self, standardised: NDArray[np.float64]) -> NDArray[np.float64]:
        """Returns exp(mean + std x), for a stream of logarithms; NaN before the first value.

        A regression with little regularisation says anything where it has seen nothing: times lie
        within exp(`FARTHEST`) of 1 s, so that whatever sums and compares them stays finite.
        """
        if self.weight == 0.0:
            return np.full(len(standardised), np.nan)
        logs = np.clip(self.mean + self.std * standardised, -FARTHEST, FARTHEST)
        times: NDArray[np.float64] = np.exp(logs)
        return times

    def state(self) -> NDArray[np.float64]:
        """Returns all there is to keep (3,)."""
        return np.array([self.weight, self.mean, self._deviations])

    def restore(self, state: NDArray[np.float64]) -> None:
        """Takes over what `state` returned."""
        self.weight, self.mean, self._deviations = (float(x) for x in state)
