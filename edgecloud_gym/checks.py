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
import os
import re
from collections.abc import Iterable, Sequence
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import DTypeLike, NDArray

from edgecloud_gym.wording import shown

# As JSON writes numbers; a leading plus or point and a trailing point, which tables have, too.
_NUMERAL: Final = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
MOST: Final = 1_000_000  # of what memory is taken for side by side; more is a slip, or fills it
WIDEST: Final = 16_384  # of the layers of networks: what joins two of that width takes a gigabyte
_HALF_CHARACTER: Final = re.compile("[\ud800-\udfff]")


def check_choice(name: str, value: object, allowed: Sequence[str]) -> str:
    """Returns a string that is one of ``allowed``.

    Raises:
        ValueError: If it is none of them.
    """
    if not isinstance(value, str) or value not in allowed:
        options = ", ".join(map(repr, allowed))
        raise ValueError(
            f"{name}={shown(value)}: must be one of {options}{did_you_mean(value, allowed)}"
        )
    return str(value)


def check_bool(name: str, value: object) -> bool:
    """Returns a truth value as ``bool``.

    Raises:
        TypeError: If it is anything but a Python or NumPy bool.
    """
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name}={shown(value)}: must be True or False")
    return bool(value)


def check_path(name: str, value: object) -> Path:
    """Returns the path of a file or folder.

    Raises:
        TypeError: If it is neither text nor a path.
        ValueError: If it is empty, which would mean the current folder unseen.
    """
    if not isinstance(value, (str, os.PathLike)):
        raise TypeError(f"{name}={shown(value)}: must be a path")
    if not os.fspath(value):
        raise ValueError(f"{name}={shown(value)}: must be a path; '.' is the current folder")
    return Path(value)


# Truth values and NumPy's durations are integers to Python.
_NO_NUMBERS: Final = (bool, np.bool_, np.timedelta64)


def check_integer(
    name: str, value: object, *, least: int | None = None, most: int | None = None
) -> int:
    """Returns an integer of any kind as ``int``.

    Raises:
        TypeError: If it is no integer; ``True`` and ``False`` are none.
        ValueError: If it lies outside [``least``, ``most``].
    """
    allowed = f"must be an integer{_range(least, most)}"
    if isinstance(value, _NO_NUMBERS) or not isinstance(value, Integral):
        raise TypeError(f"{name}={shown(value)}: {allowed}")
    number = int(value)
    if (least is not None and number < least) or (most is not None and number > most):
        raise ValueError(f"{name}={shown(value)}: {allowed}")
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
    bounds = [f" > {above:g}" if above is not None else "", _range(least, most)]
    allowed = f"must be a finite number{' and'.join(bound for bound in bounds if bound)}"
    if isinstance(value, _NO_NUMBERS) or not isinstance(value, Real):
        raise TypeError(f"{name}={shown(value)}: {allowed}")
    try:
        number = float(value)
    except OverflowError:
        raise ValueError(f"{name} is out of range: {allowed}") from None
    low = (above is not None and number <= above) or (least is not None and number < least)
    high = most is not None and number > most
    if not math.isfinite(number) or low or high:
        raise ValueError(f"{name}={shown(value)}: {allowed}")
    return number


def float_array(name: str, value: object, allowed: str) -> NDArray[np.float64]:
    """Returns a read-only float64 copy of an array-like.

    Args:
        name: The setting.
        value: Its value.
        allowed: What it must be, for the message: "must be ...".

    Raises:
        TypeError: If it is no array of real numbers, or an entry is masked. An array of truth
            values alone holds zeros and ones.
    """
    if isinstance(value, np.ndarray) and value.dtype == np.bool_:
        value = value.astype(np.uint8)
    try:
        array = real_numbers(value)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name}={shown(value)}: {allowed} ({error})") from error
    array.setflags(write=False)
    return array


def refuse_entries(name: str, values: NDArray[Any], wrong: NDArray[np.bool_], allowed: str) -> None:
    """Checks that no entry of an array is wrong.

    Args:
        name: What the array is called.
        values: The array.
        wrong: Which entries are wrong, of the same shape.
        allowed: What they must be, for the message: "must be ...".

    Raises:
        ValueError: If one is; the first is named with its place and value.
    """
    if wrong.any():
        first = np.unravel_index(int(wrong.argmax()), wrong.shape)
        place = ", ".join(map(str, map(int, first)))
        raise ValueError(f"{name}[{place}]={values[first].item()!r}: {allowed}")


def real_numbers(
    value: object, dtype: DTypeLike = np.float64, *, entry: str = "entry"
) -> NDArray[Any]:
    """Returns a copy of an array-like of real numbers, as which nothing else passes.

    Args:
        value: The array-like, of any shape.
        dtype: Floating type of the copy.
        entry: What messages call an entry, which they number along the first axis.

    Raises:
        TypeError: If an entry is text, a truth value, complex, a time or no number at all.
        ValueError: If an entry is masked or out of range, or rows differ in length.
    """
    refuse_masked(value, entry=entry)
    array = np.asarray(value)
    if array.dtype.kind in "mM":
        raise TypeError("these are durations or dates")
    if array.dtype.kind not in "fiu" or isinstance(value, list | tuple):
        _refuse_others(np.array(value, dtype=object), entry)
    try:
        return np.array(array, dtype=dtype)
    except OverflowError as error:
        raise ValueError("a number is out of range") from error


def refuse_masked(value: object, *, entry: str = "entry") -> None:
    """Checks that no entry of an array-like is masked: there is nothing where one is.

    Raises:
        ValueError: If one is, with its index.
    """
    if isinstance(value, np.ma.MaskedArray):
        faults = np.argwhere(np.ma.getmaskarray(value))[:1, :1].ravel().tolist()
    elif isinstance(value, list | tuple):
        faults = [index for index, row in enumerate(value) if np.ma.is_masked(row)][:1]
    else:
        return
    if faults:
        raise ValueError(f"{entry} {faults[0]} is masked: it holds nothing")


def _refuse_others(array: NDArray[Any], entry: str) -> None:
    for index, item in np.ndenumerate(array):
        if isinstance(item, (str, bytes, bool, np.bool_)) or np.iscomplexobj(item):
            place = f"{entry} {', '.join(map(str, index))}".rstrip()
            raise TypeError(f"{place} is {type(item).__name__} {item!r:.60}, no real number")


def parse_number(text: str) -> float:
    """Returns the number that a text states, in ASCII digits with sign, point and exponent.

    `float` takes more for one: ``1_000``, digits of other scripts, ``nan``.

    Raises:
        ValueError: If it states none.

    >>> parse_number(" -1.5e3 ")
    -1500.0
    """
    if not _NUMERAL.fullmatch(text.strip()):
        raise ValueError(f"{text!r:.60} is no number")
    return float(text)


def has_half_character(text: str) -> bool:
    """Whether a text holds half of a surrogate pair, which no file or model takes as text."""
    return _HALF_CHARACTER.search(text) is not None


def whole_characters(text: str) -> str:
    r"""Returns a text with its surrogate pairs joined, and U+FFFD for what is half of one.

    >>> whole_characters("\ud83d\ude00 \ud83d") == "\U0001f600 \ufffd"
    True
    """
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def did_you_mean(value: Any, known: Iterable[str]) -> str:
    """Returns `` (did you mean 'x'?)`` for a misspelt name, and nothing for any other value."""
    close = difflib.get_close_matches(value, list(known), n=1) if isinstance(value, str) else []
    return f" (did you mean {close[0]!r}?)" if close else ""


def _range(least: float | None, most: float | None) -> str:
    if least is not None and most is not None:
        return f" from {_shown(least)} to {_shown(most)}"
    if least is not None:
        return f" >= {_shown(least)}"
    return "" if most is None else f" <= {_shown(most)}"


def _shown(bound: float) -> str:
    return str(bound) if isinstance(bound, int) else f"{bound:g}"
