"""Compiled draws are those of NumPy's generator."""

import numba
import numpy as np
import pytest

from agents.rules.draws import below, random_source, several_below, two_below, uniform


@numba.njit
def draw(random, count, size, drawn):  # type: ignore[no-untyped-def]
    several_below(random, count, size, drawn)
    return uniform(random), below(random, count), two_below(random, count)


@pytest.mark.parametrize("seed", range(20))
def test_the_same_as_in_python(seed: int) -> None:
    ours, theirs = np.random.default_rng(seed), np.random.default_rng(seed)
    random = random_source(ours)
    for count in (2, 3, 7, 32, 1000):
        for size in {1, 2, count // 2, count - 1, count}:
            drawn = np.zeros(count, np.int64)
            others = draw(random, count, size, drawn)
            assert drawn[:size].tolist() == theirs.choice(count, size, replace=False).tolist()
            assert others[:2] == (theirs.random(), theirs.integers(count))
            assert list(others[2]) == theirs.choice(count, 2, replace=False).tolist()
