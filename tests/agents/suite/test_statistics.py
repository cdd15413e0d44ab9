"""Statistics over scenarios, against what is known to be true."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import norm, trim_mean

from agents.statistics import interquartile_mean
from agents.suite.statistics import (
    aggregate,
    holm,
    interquartile_means,
    performance_profile,
    probability_of_improvement,
    resampled_means,
    sign_flip_tests,
)


def test_the_middle_half_is_scipys_where_quarters_are_whole() -> None:
    values = np.random.default_rng(0).normal(size=(3, 5, 16))
    assert_allclose(interquartile_means(values), trim_mean(values, 0.25, axis=-1))
    odd = np.random.default_rng(1).normal(size=11)
    assert interquartile_means(odd) == pytest.approx(interquartile_mean(odd))


def test_one_bad_scenario_does_not_move_the_middle() -> None:
    values = np.linspace(0.0, 1.0, 8)
    spoilt = np.array([-1e6, *values[1:]])
    assert interquartile_means(spoilt) == pytest.approx(interquartile_means(values))


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    """12 scenarios of different means, 5 normal runs each: the truth is the IQM of the means."""
    rng = np.random.default_rng(2)
    means = np.linspace(-1.0, 1.0, 12)
    truth = float(interquartile_means(means))
    trials, held = 200, 0
    for trial in range(trials):
        values = [rng.normal(mean, 0.15, size=(1, 5)) for mean in means]
        ((_, low, high),) = aggregate(values, seed=trial)
        held += low <= truth <= high
    assert 0.90 <= held / trials <= 0.985  # 95 % and three standard errors, 0.0154 each


def test_resampled_means_vary_as_means_do() -> None:
    """Their variance is s^2 / n with the sample variance s^2 of n - 1, whatever n is."""
    values = np.random.default_rng(3).normal(size=(2, 4))
    drawn = resampled_means([values], resamples=40_000, seed=1)[..., 0]
    assert_allclose(drawn.var(axis=1), values.var(axis=1, ddof=1) / 4, rtol=0.05)
    assert_allclose(drawn.mean(axis=1), values.mean(axis=1), atol=0.02)


def test_agents_are_resampled_together() -> None:
    """Paired runs: two agents that differ by a constant differ by it in every resample."""
    values = np.random.default_rng(4).normal(size=7)
    drawn = resampled_means([np.stack([values, values + 0.5])], seed=1)[..., 0]
    assert_allclose(drawn[1] - drawn[0], 0.5)


def test_probability_of_improvement_is_the_normal_distributions() -> None:
    """X - Y is normal with mean 0.5 and variance 2 in runs that are not correlated."""
    rng = np.random.default_rng(5)
    x = [rng.normal(0.5, 1.0, 4000) for _ in range(5)]
    y = [rng.normal(0.0, 1.0, 4000) for _ in range(5)]
    value, low, high = probability_of_improvement(x, y)
    truth = norm.cdf(0.5 / np.sqrt(2.0))
    assert abs(value - truth) < 4 * np.sqrt(truth * (1 - truth) / 20_000)
    assert low < value < high


def test_ties_count_half_and_both_directions_add_up() -> None:
    x, y = (
        [np.array([1.0, 2.0]), np.array([3.0, 3.0])],
        [np.array([1.0, 1.0]), np.array([3.0, 4.0])],
    )
    there, back = (probability_of_improvement(a, b).value for a, b in ((x, y), (y, x)))
    assert there == pytest.approx((0.75 + 0.25) / 2)
    assert there + back == pytest.approx(1.0)


def test_a_profile_is_the_share_of_runs_above() -> None:
    values = [np.array([[0.1, 0.5], [1.0, 1.0]]), np.array([[0.5], [0.0]])]
    profile = performance_profile(values, [0.0, 0.3, 0.5])
    assert_allclose(profile, [[1.0, 0.75, 0.0], [0.5, 0.5, 0.5]])


def test_holms_procedure_by_hand() -> None:
    """Of 0.01, 0.04, 0.03, 0.005: times 4, 3, 2, 1 in ascending order, and never falling."""
    assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    assert_allclose(holm([0.9, 0.8]), [1.0, 1.0])


def test_sign_flips_are_exact_where_all_can_be_counted() -> None:
    """Three runs of one sign: of the 8 signs two are as extreme, so that p is 1/4."""
    (p,) = sign_flip_tests([np.array([[1.0, 2.0, 3.0]])])
    assert p == pytest.approx(0.25, abs=0.015)
    far, none = sign_flip_tests([np.array([np.full(20, 1.0), np.tile([1.0, -1.0], 10)])])
    assert far < 0.001
    assert none == 1.0


def test_sign_flips_reject_as_often_as_they_may() -> None:
    """Where nothing differs, p falls below 0.1 in a tenth of all comparisons."""
    rng = np.random.default_rng(6)
    differences = [rng.normal(size=(400, 6)) for _ in range(4)]
    p = sign_flip_tests(differences)
    assert abs((p < 0.1).mean() - 0.1) < 3 * np.sqrt(0.09 / 400)


def test_the_same_seed_gives_the_same_interval() -> None:
    values = [np.random.default_rng(7).normal(size=(2, 6)) for _ in range(3)]
    assert_array_equal(aggregate(values), aggregate(values))
