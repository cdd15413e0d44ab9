"""How messages tell values that may be of any length: a name, a setting, a million rows."""

from __future__ import annotations

import reprlib
from collections.abc import Iterable
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from numpy.typing import NDArray

LONGEST: Final = 200  # characters that a message spends on a value
_DIGITS: Final = 60


class _Short(reprlib.Repr):
    """`reprlib.Repr` with room for settings as people give them, and words for arrays."""

    def __init__(self) -> None:
        super().__init__()
        self.maxstring = self.maxother = LONGEST
        self.maxlist = self.maxtuple = self.maxdict = self.maxset = 8
        self.maxlevel = 4

    def repr_int(self, x: int, level: int) -> str:
        del level
        # Python refuses to write out thousands of digits.
        return f"an integer of more than {_DIGITS} digits" if abs(x) >= 10**_DIGITS else repr(x)

    def repr_dict(self, x: dict[Any, Any], level: int) -> str:
        # In the order in which it was given, which `reprlib` does not keep.
        if level <= 0 and x:
            return "{...}"
        pairs = [
            f"{self.repr1(key, level - 1)}: {self.repr1(value, level - 1)}"
            for key, value in islice(x.items(), self.maxdict)
        ]
        return f"{{{', '.join(pairs + ['...'] * (len(x) > self.maxdict))}}}"

    def repr_ndarray(self, x: NDArray[Any], level: int) -> str:
        del level
        if x.size > self.maxlist:
            return f"an array of shape {x.shape} and dtype {x.dtype}"
        return " ".join(repr(x).split())


_SHORT: Final = _Short()


def shown(value: object) -> str:
    """Returns a value's ``repr`` for a message, cut short where it is long.

    >>> shown({"jct": 20.0}), shown([0.5] * 1000)
    ("{'jct': 20.0}", '[0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, ...]')
    """
    return _clipped(_SHORT.repr(value))


def listed(names: Iterable[object], most: int = 30) -> str:
    """Returns names for a message, separated by commas, and how many more there are.

    >>> listed(range(100), most=3)
    '0, 1, 2 and 97 more'
    """
    told = [_clipped(str(name)) for name in names]
    more = len(told) - most
    return ", ".join(told) if more <= 0 else f"{', '.join(told[:most])} and {more:,} more"


def _clipped(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."
