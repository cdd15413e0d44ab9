"""The cross-entropy method: direct search with a normal distribution that follows the best."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class Generation(NamedTuple):
    """Where the search stands after some generations.

    Attributes:
        number: How many there were.
        mean: Mean of the distribution (n,), the answer so far.
        std: Its standard deviations (n,).
        best: The least cost of the latest generation.
        elite: The mean cost of its best.
    """

    number: int
    mean: Floats
    std: Floats
    best: float = np.inf
    elite: float = np.inf


def search(
    cost: Callable[[Floats], float],
    start: Generation,
    *,
    generations: int,
    population: int = 48,
    best: int = 8,
    follow: float = 0.7,
    seed: int = 0,
) -> Iterator[Generation]:
    """Searches for the point of least cost.

    Each generation is drawn from normals, and their means and deviations follow those of its best
    (Rubinstein, 1999; with the smoothing of de Boer et al., 2005). What a generation draws depends
    on its number and the seed alone: a search that was interrupted goes on with the same bits.

    Args:
        cost: What is to be small, of a point (n,).
        start: Where to begin, or to go on.
        generations: How many there are in all.
        population: Points in each.
        best: How many of them are followed.
        follow: How far, 0 to 1.
        seed: Random seed.

    Yields:
        Where the search stands after each generation.
    """
    now = start
    while now.number < generations:
        rng = np.random.default_rng([seed, now.number])
        points = now.mean + now.std * rng.standard_normal((population, len(now.mean)))
        points[0] = now.mean
        costs = np.array([cost(point) for point in points])
        order = np.argsort(costs, kind="stable")[:best]
        elite = points[order]
        mean = now.mean + follow * (elite.mean(axis=0) - now.mean)
        std = now.std + follow * (elite.std(axis=0) - now.std)
        lowest, average = float(costs[order[0]]), float(costs[order].mean())
        now = Generation(now.number + 1, mean, std, lowest, average)
        yield now
