"""Orders of the waiting queue that are more than one score per prompt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgecloud_gym.checks import check_number, float_array, refuse_entries
from edgecloud_gym.wording import shown

LAST: Final = 1e6  # added to the scores of those that come last


@dataclass(frozen=True, eq=False)
class AgedScores:
    """Scores that time improves for those who wait: score + rate · arrival time, lower first.

    As everybody improves at the same rate, a request keeps its place among those that have arrived,
    and goes before whoever arrives much later.

    Attributes:
        scores: One per dataset row, float64 (rows,).
        rate: Score per second of arrival time, 0 or more.
        last: Rows that come after all others, whenever they arrive, bool (rows,).

    Raises:
        TypeError: If a value is of the wrong kind.
        ValueError: If it is out of range, or shapes differ.
    """

    scores: NDArray[np.float64]
    rate: float
    last: Any = None

    def __init__(self, scores: ArrayLike, rate: float, last: ArrayLike | None = None) -> None:
        allowed = "must be a 1-D array with one finite score per dataset row"
        values = float_array("scores", scores, allowed)
        if values.ndim != 1:
            raise ValueError(f"scores={shown(scores)}: {allowed}")
        refuse_entries("scores", values, ~np.isfinite(values), allowed)
        flags = np.zeros(len(values), np.bool_) if last is None else np.asarray(last)
        if flags.dtype != np.bool_ or flags.shape != values.shape:
            raise ValueError(f"last={shown(last)}: must be one bool per score, {values.shape}")
        object.__setattr__(self, "scores", values)
        object.__setattr__(self, "rate", check_number("rate", rate, least=0.0))
        object.__setattr__(self, "last", flags)
