"""What is predicted of the requests of a dataset: what wrappers know of them, and agents ask."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edgecloud_gym.wording import shown

FEATURE_LIMIT = 10.0


@dataclass(frozen=True)
class Forecast:
    """Predictions per dataset row. Wherever they come from, wrappers take them as arrays.

    Attributes:
        time: Predicted base latency, s (rows,), above 0; the queue is ranked by it.
        output_tokens: Predicted length of the answer, tokens (rows,), at least 1; None where nobody
            can tell. Nodes that are engines need it.
        features: What else is known of each request and shown to the policy, by name, (rows,)
            each, best within about [-1, 1]; clipped to [-10, 10].

    Raises:
        ValueError: If an array has another shape than the times, or a value is out of range.
    """

    time: NDArray[np.float64]
    output_tokens: NDArray[np.float64] | None = None
    features: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        time = np.asarray(self.time, np.float64)
        if time.ndim != 1 or not np.all(np.isfinite(time)) or np.any(time <= 0.0):
            raise ValueError("forecast: time must be finite numbers above 0, one per dataset row")
        object.__setattr__(self, "time", time)
        others = {f"features[{shown(name)}]": value for name, value in self.features.items()}
        if self.output_tokens is not None:
            others["output_tokens"] = self.output_tokens
        for name, value in others.items():
            shape = np.shape(value)
            if shape != time.shape:
                raise ValueError(f"forecast: {name} has shape {shape}, time {time.shape}")
            if not np.all(np.isfinite(value)):
                raise ValueError(f"forecast: {name} must hold finite numbers")

    def of(self, rows: NDArray[np.int64]) -> Forecast:
        """Returns what is predicted of some rows (n,), in their order."""
        features = {name: np.asarray(value)[rows] for name, value in self.features.items()}
        lengths = None if self.output_tokens is None else np.asarray(self.output_tokens)[rows]
        return Forecast(self.time[rows], lengths, features)

    def table(self) -> NDArray[np.float32]:
        """Returns the features side by side, float32 (rows, features)."""
        columns = [np.asarray(value, np.float32) for value in self.features.values()]
        if not columns:
            return np.zeros((len(self.time), 0), np.float32)
        return np.clip(np.stack(columns, axis=1), -FEATURE_LIMIT, FEATURE_LIMIT)
