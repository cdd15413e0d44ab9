"""Where things go in a picture, and how numbers are written; neither pygame nor the system here."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import NamedTuple


class Box(NamedTuple):
    """A rectangle: left, top, width and height in pixels."""

    x: int
    y: int
    w: int
    h: int

    @property
    def right(self) -> int:
        """The first column to the right of it."""
        return self.x + self.w

    @property
    def bottom(self) -> int:
        """The first row below it."""
        return self.y + self.h

    def cut(self, left: int = 0, top: int = 0, right: int = 0, bottom: int = 0) -> Box:
        """Returns what is left after cutting a margin off each side."""
        return Box(self.x + left, self.y + top, self.w - left - right, self.h - top - bottom)


def grid(area: Box, count: int, aspect: float, largest: tuple[int, int], gap: int) -> list[Box]:
    """Returns ``count`` boxes in rows from the top left of an area, as large as they fit.

    Those in a row differ in width by a pixel at most, where that makes the row end with the area.

    Args:
        area: Where they go.
        count: How many, at least 1.
        aspect: Wished width / height; the number of columns that comes closest wins.
        largest: Largest width and height.
        gap: Pixels between neighbours.

    Returns:
        The boxes, row by row; with too many for the area their height comes out below 1, so
        look at the first one's before you draw.
    """

    def size(columns: int) -> tuple[int, int]:
        rows = math.ceil(count / columns)
        width = (area.w - (columns - 1) * gap) // columns
        height = (area.h - (rows - 1) * gap) // rows
        return min(width, largest[0]), min(height, largest[1])

    def usable(columns: int) -> float:
        width, height = size(columns)
        return min(width / aspect, height)

    # Beyond this a box would be narrower than the gap beside it.
    most = max(1, min(count, area.w // (gap + 1)))
    columns = max(range(1, most + 1), key=usable)
    width, height = size(columns)
    room = area.w if width < largest[0] else columns * (width + gap) - gap
    rows = math.ceil(count / columns)
    tops = (area.y + i * (height + gap) for i in range(rows))
    return [box for y in tops for box in row(Box(area.x, y, room, height), columns, gap)][:count]


def row(area: Box, count: int, gap: int) -> list[Box]:
    """Returns ``count`` boxes side by side that fill an area; widths differ by a pixel at most."""
    pitch = (area.w + gap) / count
    lefts = [area.x + round(i * pitch) for i in range(count + 1)]
    return [
        Box(left, area.y, following - gap - left, area.h) for left, following in pairwise(lefts)
    ]


def nice_ceiling(value: float) -> float:
    """Returns the smallest 1, 2 or 5 times a power of ten that is at least ``value`` > 0."""
    power = 10.0 ** math.floor(math.log10(value))
    return next((m * power for m in (1.0, 2.0, 5.0) if m * power >= value), 10.0 * power)


def ticks(low: float, high: float, most: int) -> list[float]:
    """Returns round numbers within [low, high], low < high, at most ``most`` + 1 of them."""
    step = nice_ceiling((high - low) / most)
    first, last = math.ceil(low / step), math.floor(high / step)
    return [i * step for i in range(first, last + 1)]


def scale_from_zero(high: float, most: int) -> list[float]:
    """Returns round numbers from 0 to the first that is at least ``high`` > 0, for an axis.

    There are at most ``most`` + 1 of them.
    """
    step = nice_ceiling(high / most)
    return [i * step for i in range(math.ceil(high / step) + 1)]


def count(number: int) -> str:
    """Writes a count in at most six characters (below 10^8): 12, 12,345, 123 k, 1.2 M."""
    if number >= 1_000_000:
        return f"{number / 1e6:.1f} M"
    return f"{number // 1000} k" if number >= 100_000 else f"{number:,}"


def seconds(value: float) -> str:
    """Writes a time in s with about three digits; a dash if it is not known."""
    if math.isnan(value):
        return "-"
    digits = 2 if value < 9.995 else 1 if value < 99.95 else 0
    return f"{value:,.{digits}f} s"


def percent(share: float) -> str:
    """Writes a share in [0, 1]."""
    return f"{100.0 * share:.0f} %"
