"""Compiled scaling: unbounded quantities as numbers of fixed scale."""

from __future__ import annotations

import numba


@numba.njit
def squash(value, scale):
    """Maps [0, inf) to [0, 1); one half at ``scale``."""
    return value / (value + scale)
