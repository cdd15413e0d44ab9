"""Compiled scaling: unbounded quantities as numbers of fixed scale."""

from __future__ import annotations

from edgecloud_gym.simulator.compiled.inlining import compiled


@compiled
def squash(value, scale):
    """Maps [0, inf) to [0, 1); one half at ``scale``."""
    return value / (value + scale)
