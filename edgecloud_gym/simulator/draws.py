"""What is drawn at reset, before any decision: when requests arrive, and which they are."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgecloud_gym.config import ONCE, SEQUENTIAL, SystemConfig


def draw_arrivals(
    rng: np.random.Generator, config: SystemConfig, rate: float | None
) -> NDArray[np.float64]:
    """Returns an episode's arrival times; a user's own process is not trusted with them."""
    times = np.asarray(config.arrival_process.sample(rng, rate, config.duration), np.float64)
    good = times.ndim == 1 and bool(np.all(np.diff(times) >= 0.0))
    if not good or (len(times) > 0 and not 0.0 <= times[0] <= times[-1] < config.duration):
        raise ValueError(
            f"arrivals={config.arrivals!r} returned {times!r}: must be one row of ascending times "
            f"(s) in [0, duration={config.duration:g})"
        )
    return times


def draw_rows(
    rng: np.random.Generator, rows: NDArray[np.int32], count: int, order: str
) -> NDArray[np.int32]:
    """Returns which dataset row each of ``count`` requests carries, in the `PROMPT_ORDERS`.

    Raises:
        ValueError: If each row may come once, and there are more requests.
    """
    if order == ONCE and count > len(rows):
        raise ValueError(
            f"prompt_order='once': {count:,} requests arrive in this episode, and there are "
            f"{len(rows):,} prompts in the split; give a shorter duration, a lower rate, more "
            "prompts, or prompt_order='shuffle'"
        )
    rounds = -(-count // len(rows))
    laps = np.tile(rows, (rounds, 1))
    if order != SEQUENTIAL:
        laps = rng.permuted(laps, axis=1)
    return laps.ravel()[:count]
