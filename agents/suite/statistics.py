"""Statistics over many scenarios, as Agarwal et al. have them for reinforcement learning.

R. Agarwal, M. Schwarzer, P. S. Castro, A. Courville, M. G. Bellemare, "Deep Reinforcement Learning
at the Edge of the Statistical Precipice", NeurIPS 2021, and their library rliable: the
interquartile mean of normalised scores, its interval by a bootstrap that resamples runs within each
scenario, performance profiles, and the probability of improvement. It differs where runs are
paired: all agents play the same requests under the same seed, so they are resampled together, and
an improvement is one on the same requests.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

CONFIDENCE: Final = 0.95
RESAMPLES: Final = 2_000
FLIPS: Final = 20_000


class Interval(NamedTuple):
    """An estimate with its interval of 95 %."""

    value: float
    low: float
    high: float


def interquartile_means(values: Floats) -> Floats:
    """Returns the mean of the middle half along the last axis, (..., n) to (...).

    As `agents.statistics.interquartile_mean`: a value at the border of a quarter counts in part.
    """
    ordered = np.sort(values, axis=-1)
    n = ordered.shape[-1]
    edges = np.clip(np.arange(n + 1) / n, 0.25, 0.75)
    return np.asarray(2.0 * ordered @ np.diff(edges))


def resampled_means(values: Sequence[Floats], resamples: int = RESAMPLES, seed: int = 0) -> Floats:
    """Returns the means over runs in a stratified bootstrap, (agents, resamples, scenarios).

    In each scenario its runs are drawn with replacement, the same ones for all agents. The mean of
    n draws has (n - 1) / n of the variance that the mean of n runs has: deviations are stretched by
    the root of n / (n - 1).

    Args:
        values: A score per agent and run of each scenario, (agents, runs) each.
        resamples: How many times to draw.
        seed: Random seed.
    """
    rng = np.random.default_rng(seed)
    columns = []
    for scores in values:
        n = scores.shape[1]
        means = scores.mean(axis=1)[:, np.newaxis]
        drawn = scores[:, rng.integers(n, size=(resamples, n))].mean(axis=-1)
        columns.append(means + (drawn - means) * np.sqrt(n / (n - 1)) if n > 1 else drawn)
    return np.stack(columns, axis=-1)


def percentile_interval(value: float, resampled: Floats) -> Interval:
    """Returns an estimate with the interval in which 95 % of its resamples (n,) lie."""
    tail = 50.0 * (1.0 - CONFIDENCE)
    low, high = np.percentile(resampled, [tail, 100.0 - tail])
    return Interval(float(value), float(low), float(high))


def aggregate(values: Sequence[Floats], seed: int = 0) -> list[Interval]:
    """Returns each agent's interquartile mean over scenarios of its mean score, with its interval.

    Args:
        values: A score per agent and run of each scenario, (agents, runs) each; no NaN.
        seed: Of the resampling.
    """
    means = np.stack([scores.mean(axis=1) for scores in values], axis=-1)
    resampled = interquartile_means(resampled_means(values, seed=seed))
    points = interquartile_means(means)
    return [percentile_interval(p, drawn) for p, drawn in zip(points, resampled, strict=True)]


def performance_profile(values: Sequence[Floats], thresholds: ArrayLike) -> Floats:
    """Returns the share of runs whose score exceeds each threshold, (agents, thresholds).

    Each scenario counts alike, however many runs it has.

    Args:
        values: A score per agent and run of each scenario, (agents, runs) each.
        thresholds: Ascending (k,).
    """
    levels = np.asarray(thresholds, np.float64)
    shares = [(scores[:, :, np.newaxis] > levels).mean(axis=1) for scores in values]
    return np.asarray(np.mean(shares, axis=0))


def probability_of_improvement(
    scores: Sequence[Floats], others: Sequence[Floats], seed: int = 0
) -> Interval:
    """Returns how probably one agent's score is above another's on the same requests.

    The mean over scenarios of the share of runs in which it is; equal scores count half.

    Args:
        scores: The one agent's, (runs,) for each scenario.
        others: The other's, likewise.
        seed: Of the resampling.
    """
    wins = [((a > b) + 0.5 * (a == b))[np.newaxis] for a, b in zip(scores, others, strict=True)]
    value = float(np.mean([won.mean() for won in wins]))
    resampled = resampled_means(wins, seed=seed)[0].mean(axis=-1)
    return percentile_interval(value, np.clip(resampled, 0.0, 1.0))


def sign_flip_tests(differences: Sequence[Floats], seed: int = 0) -> Floats:
    """Returns the two-sided p-value of each comparison that its mean difference is 0, (k,).

    A permutation test: if two agents were equal, the sign of their difference in a run would be
    chance. The statistic is the mean over scenarios of the mean over runs.

    Args:
        differences: Of each scenario, a difference per comparison and run, (k, runs).
        seed: Of the random signs.
    """
    rng = np.random.default_rng(seed)
    units = np.concatenate([d / d.shape[1] for d in differences], axis=1) / len(differences)
    observed = np.abs(units.sum(axis=1))
    beyond = np.zeros(len(units))
    for _ in range(10):  # in parts, to save memory
        signs = rng.integers(0, 2, size=(units.shape[1], FLIPS // 10)) * 2.0 - 1.0
        flipped = np.abs(units @ signs)
        beyond += (flipped >= observed[:, np.newaxis] * (1.0 - 1e-12)).sum(axis=1)
    return np.asarray((1.0 + beyond) / (1.0 + FLIPS))


def holm(p_values: ArrayLike) -> Floats:
    """Returns p-values adjusted for being several, (k,): each is to be compared with the level.

    S. Holm, A Simple Sequentially Rejective Multiple Test Procedure, Scandinavian Journal of
    Statistics 6(2), 1979: the smallest is multiplied by k, the next by k - 1, and so on; none
    becomes smaller than the one before it. The chance of any wrong rejection stays below the level.
    """
    given = np.asarray(p_values, np.float64)
    order = np.argsort(given, kind="stable")
    factors = len(given) - np.arange(len(given))
    adjusted = np.empty_like(given)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(given[order] * factors))
    return adjusted
