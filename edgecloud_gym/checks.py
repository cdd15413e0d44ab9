"""Checks of settings: the one form in which the packages refuse a value.

Each check returns the value in its plain type, or raises with the message
``name=value: must be ...``: ``TypeError`` for a value of another kind, ``ValueError`` for one out
of range.

>>> check_number("load", 0.9, above=0)
0.9
>>> check_integer("seeds", 0, least=1)
Traceback (most recent call last):
    ...
ValueError: seeds=0: must be an integer >= 1
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import NDArray


def check_choice(name: str, value: object, allowed: Sequence[str]) -> str:
    """Returns a string that is one of ``allowed``.

    Raises:
        ValueError: If it is none of them.
    """
    if not isinstance(value, str) or value not in allowed:
        options = ", ".join(map(repr, allowed))
        raise ValueError(
            f"{name}={value!r}: must be one of {options}{did_you_mean(value, allowed)}"
        )
    return str(value)


def check_bool(name: str, value: object) -> bool:
    """Returns a truth value as ``bool``.

    Raises:
        TypeError: If it is anything but a Python or NumPy bool.
    """
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name}={value!r}: must be True or False")
    return bool(value)


def check_integer(
    name: str, value: object, *, least: int | None = None, most: int | None = None
) -> int:
    """Returns an integer of any kind as ``int``.

    Raises:
        TypeError: If it is no integer; ``True`` and ``False`` are none.
        ValueError: If it lies outside [``least``, ``most``].
    """
    allowed = f"must be an integer{_range(least, most)}"
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, Integral):
        raise TypeError(f"{name}={value!r}: {allowed}")
    number = int(value)
    if (least is not None and number < least) or (most is not None and number > most):
        raise ValueError(f"{name}={value!r}: {allowed}")
    return number


def check_number(
    name: str,
    value: object,
    *,
    above: float | None = None,
    least: float | None = None,
    most: float | None = None,
) -> float:
    """Returns a finite real number as ``float``.

    Raises:
        TypeError: If it is no real number; ``True`` and ``False`` are none.
        ValueError: If it is not finite, not greater than ``above``, or outside
            [``least``, ``most``].
    """
    bound = f" > {above:g}" if above is not None else ""
    allowed = f"must be a finite number{bound}{_range(least, most)}"
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, Real):
        raise TypeError(f"{name}={value!r}: {allowed}")
    number = float(value)
    low = (above is not None and number <= above) or (least is not None and number < least)
    high = most is not None and number > most
    if not math.isfinite(number) or low or high:
        raise ValueError(f"{name}={value!r}: {allowed}")
    return number


def float_array(name: str, value: object, allowed: str) -> NDArray[np.float64]:
    """Returns a read-only float64 copy of an array-like.

    Args:
        name: The setting.
        value: Its value.
        allowed: What it must be, for the message: "must be ...".

    Raises:
        TypeError: If it cannot be read as numbers.
    """
    try:
        array = np.array(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name}={value!r}: {allowed}") from error
    array.setflags(write=False)
    return array


def did_you_mean(value: Any, known: Iterable[str]) -> str:
    """Returns `` (did you mean 'x'?)`` for a misspelt name, and nothing for any other value."""
    close = difflib.get_close_matches(value, list(known), n=1) if isinstance(value, str) else []
    return f" (did you mean {close[0]!r}?)" if close else ""


def _range(least: float | None, most: float | None) -> str:
    if least is not None and most is not None:
        return f" from {least:g} to {most:g}"
    if least is not None:
        return f" >= {least:g}"
    return "" if most is None else f" <= {most:g}"
