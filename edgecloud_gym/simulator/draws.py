"""What is drawn at reset, before any decision: when requests arrive, and which they are."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgecloud_gym.config import ONCE, SEQUENTIAL, SystemConfig
from edgecloud_gym.simulator.mixture import Mixture
from edgecloud_gym.wording import shown


def draw_arrivals(
    rng: np.random.Generator, config: SystemConfig, rate: float | None
) -> NDArray[np.float64]:
    """Returns an episode's arrival times; a user's own process is not trusted with them."""
    times = np.asarray(config.arrival_process.sample(rng, rate, config.duration), np.float64)
    good = times.ndim == 1 and bool(np.all(np.diff(times) >= 0.0))
    if not good or (len(times) > 0 and not 0.0 <= times[0] <= times[-1] < config.duration):
        raise ValueError(
            f"arrivals={shown(config.arrivals)} returned {shown(times)}: must be one row of "
            f"ascending times (s) in [0, duration={config.duration:g})"
        )
    return times


def draw_mixed_rows(
    rng: np.random.Generator, mixture: Mixture, arrivals: NDArray[np.float64], order: str
) -> NDArray[np.int32]:
    """Returns the same where families are mixed: each family has a deck of its own.

    Args:
        rng: The episode's generator.
        mixture: Who arrives when.
        arrivals: When the requests arrive, s (n,), sorted.
        order: See `draw_rows`.
    """
    families = mixture.draw_families(rng, arrivals)
    rows = np.empty(len(arrivals), np.int32)
    for number, (name, deck) in enumerate(zip(mixture.names, mixture.decks, strict=True)):
        mine = families == number
        count = int(np.count_nonzero(mine))
        rows[mine] = draw_rows(rng, deck, count, order, of=f"family {shown(name)}")
    return rows


def draw_rows(
    rng: np.random.Generator,
    rows: NDArray[np.int32],
    count: int,
    order: str,
    of: str = "the split",
) -> NDArray[np.int32]:
    """Returns which dataset row each of ``count`` requests carries, in the `PROMPT_ORDERS`.

    Args:
        rng: The episode's generator.
        rows: What there is to draw from (n,).
        count: How many requests arrive.
        order: In which order.
        of: What messages call these rows.

    Raises:
        ValueError: If each row may come once, and there are more requests.
    """
    if order == ONCE and count > len(rows):
        raise ValueError(
            f"prompt_order='once': {count:,} requests arrive in this episode, and there are "
            f"{len(rows):,} prompts in {of}; give a shorter duration, a lower rate, more "
            "prompts, or prompt_order='shuffle'"
        )
    rounds = -(-count // len(rows))
    laps = np.tile(rows, (rounds, 1))
    if order != SEQUENTIAL:
        laps = rng.permuted(laps, axis=1)
    return laps.ravel()[:count]
