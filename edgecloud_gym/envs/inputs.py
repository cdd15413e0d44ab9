"""What users hand to environments, checked: actions, seeds, options, masks."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecloud_gym.checks import refuse_entries
from edgecloud_gym.nodes import NODE_NAMES
from edgecloud_gym.simulator.compiled.limits import lie_within
from edgecloud_gym.wording import listed, shown


def checked_actions(
    actions: object, shape: tuple[int, ...], names: tuple[str, ...] = NODE_NAMES
) -> NDArray[np.int64]:
    """Returns actions as int64 of the given shape, last axis M, for nodes of these names.

    Raises:
        TypeError: If they are not integers.
        ValueError: If the shape differs or a value is none of 0, 1, ..., the number of nodes.
    """
    array = np.asarray(actions)
    if array.dtype.kind not in "iu":
        raise TypeError(f"action has dtype {array.dtype}: must hold integers")
    if array.shape != shape:
        raise ValueError(f"action has shape {array.shape}: must be {shape}")
    array = np.ascontiguousarray(array, np.int64)
    if not lie_within(array.reshape(-1), len(names)):
        *others, last = (f"{n} ({name})" for n, name in enumerate(("wait", *names)))
        wrong = (array < 0) | (array > len(names))
        refuse_entries("action", array, wrong, f"must be {listed(others)} or {last}")
    return array


def check_reset_options(options: Mapping[str, Any] | None, known: tuple[str, ...]) -> None:
    """Raises ``ValueError`` if ``options`` of `reset` names one that is not known."""
    for name, value in (options or {}).items():
        if name not in known:
            allowed = f"must be among {', '.join(known)}" if known else "there are none"
            raise ValueError(f"options: {name}={shown(value)}: {allowed}")


def settings_in_words(settings: Mapping[str, Any]) -> str:
    """Returns settings for a repr, long values cut short."""
    return ", ".join(f"{name}={reprlib.repr(value)}" for name, value in settings.items())


def checked_mask(name: str, mask: object, lanes: int) -> NDArray[np.bool_]:
    """Returns a boolean array (lanes,), contiguous.

    Raises:
        TypeError: If it is anything else.
        ValueError: If its shape differs.
    """
    if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_:
        raise TypeError(f"{name}={shown(mask)}: must be a boolean array")
    if mask.shape != (lanes,):
        raise ValueError(f"{name}={shown(mask)}: must have shape ({lanes},)")
    return np.ascontiguousarray(mask)


def seed_list(seed: object, lanes: int) -> list[int | None]:
    """Returns the seed of each lane, ``None`` for one that goes on with its generator.

    Args:
        seed: Of all lanes, lane i getting ``seed + i``, or a sequence with one for each.
        lanes: How many there are.

    Raises:
        TypeError: If it is neither an integer nor a sequence.
        ValueError: If a sequence has another length.
    """
    if seed is None:
        return [None] * lanes
    if isinstance(seed, (int, np.integer)):
        return [int(seed) + lane for lane in range(lanes)]
    if isinstance(seed, str) or not isinstance(seed, (Sequence, np.ndarray)):
        raise TypeError(f"seed={shown(seed)}: must be an integer, None, or one of these per lane")
    if len(seed) != lanes:
        raise ValueError(f"seed has {len(seed)} entries: must have num_envs={lanes}")
    return list(seed)
