"""The compiled choice of the lowest values."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, Final

import numba
import numpy as np
from numpy.typing import NDArray

from agents.schedulers.bandits.compiled.network import FOLDER
from edgecloud_gym.simulator.compiled.cache import CompiledFunction
from edgecloud_gym.simulator.compiled.inlining import inlined


@inlined
def choose_lowest(values, count, choice, action):
    """See `take_lowest`."""
    for _ in range(count):
        best = -1
        for j in range(len(values)):
            if action[j] == 0 and (best < 0 or values[j] < values[best]):
                best = j
        action[best] = choice


def _build(sources: str, cache: bool) -> Callable[..., Any]:
    @numba.njit(cache=cache, nogil=True, error_model="numpy", _nrt=False)
    def take_lowest(values, count, choice, action):
        sources  # noqa: B018 - captured, so that it is part of the cache key
        choose_lowest(values, count, choice, action)

    compiled: Callable[..., Any] = take_lowest
    return compiled


_TAKE_LOWEST: Final = CompiledFunction(_build, FOLDER)


@cache
def _compiled() -> Callable[..., None]:
    return _TAKE_LOWEST.compiled_for((np.zeros(1), 1, 1, np.zeros(1, np.int64)))


def take_lowest(
    values: NDArray[np.float64], count: int, choice: int, action: NDArray[np.int64]
) -> None:
    """Gives the ``count`` lowest of those without a choice this one; of equals the earlier.

    Args:
        values: float64 (n,), C-ordered.
        count: How many, at most as many as there are without a choice.
        choice: What they get.
        action: n or more; 0 is no choice.
    """
    _compiled()(values, count, choice, action)
