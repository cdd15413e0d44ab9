"""What memory lanes take, told before it has run out."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from typing import Any, Final

import numpy as np

from edgecloud_gym.config import SystemConfig
from edgecloud_gym.simulator.observation import ObservationLayout
from edgecloud_gym.simulator.state import STEP_DTYPE, State
from edgecloud_gym.simulator.workload import Workload

# The one that a step fills, the one before it that its user still holds, and the two bounds of the
# space.
_OBSERVATIONS: Final = 4


def lane_bytes(config: SystemConfig, workload: Workload, layout: ObservationLayout) -> float:
    """Returns about how many bytes a lane takes, with the requests of a mean episode."""
    state = State.allocate(1, config)
    requests = workload.mean_rate * config.duration
    per_request = state.requests.itemsize + state.finished.itemsize
    if config.priority is not None:
        per_request += state.heap.itemsize
    if state.served is not None:
        per_request += state.served.itemsize
    choices = config.candidate_pool_size * (2 + len(config.nodes))  # those of the mask, and ids
    shown = 4 * layout.size + choices + STEP_DTYPE.itemsize
    return _size(state) + requests * per_request + _OBSERVATIONS * shown


def require_memory(lanes: int, per_lane: float) -> None:
    """Checks that lanes fit in the memory that the machine has at all.

    Memory is taken as it is written to: without this check they would be built, and the system
    would end the process in an episode.

    Raises:
        MemoryError: If they do not fit.
    """
    there = _machine_bytes()
    if there is not None and lanes * per_lane > there:
        raise too_large(lanes, per_lane, f"the machine has {_gigabytes(there)}")


def too_large(lanes: int, per_lane: float, why: str = "the system gives no more") -> MemoryError:
    """Returns the error that tells that lanes do not fit.

    Args:
        lanes: How many.
        per_lane: About the bytes of each.
        why: What has shown it.
    """
    whose = "such a system takes" if lanes == 1 else f"num_envs={lanes}: such systems take"
    fewer = "" if lanes == 1 else "fewer lanes, "
    return MemoryError(
        f"{whose} about {_gigabytes(lanes * per_lane)} of memory ({why}); {fewer}a smaller "
        "candidate_pool_size or embedding_dim, or a shorter duration take less"
    )


@contextmanager
def naming_what_is_large(lanes: int, per_lane: float) -> Iterator[None]:
    """Turns a ``MemoryError`` in the block into that of `too_large`."""
    try:
        yield
    except MemoryError as error:
        raise too_large(lanes, per_lane) from error


def _size(part: Any) -> int:
    """Returns the bytes of all arrays in a state or a part of it."""
    if isinstance(part, np.ndarray):
        return part.nbytes
    return 0 if part is None else sum(_size(getattr(part, f.name)) for f in fields(part))


def _machine_bytes() -> int | None:
    """Returns how much memory the machine has; None where the system does not tell."""
    if not hasattr(os, "sysconf"):
        return None
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _gigabytes(count: float) -> str:
    return f"{count / 1e9:,.{1 if count < 1e11 else 0}f} GB"
