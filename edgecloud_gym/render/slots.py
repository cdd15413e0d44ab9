"""How the slots of a side, edge or cloud, are painted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

from edgecloud_gym.render.canvas import (
    CLOUD,
    CLOUD_FILL,
    CLOUD_TINT,
    EDGE,
    EDGE_FILL,
    EDGE_TINT,
    FAINT,
    MUTED,
    Canvas,
    Colour,
)
from edgecloud_gym.render.geometry import Box, grid, percent, row, seconds
from edgecloud_gym.results.snapshot import SlotView

_LEAST_HEIGHT: Final = 6  # of a slot's tile; lower ones are painted in sum
_WIDTH_OF_BOTH: Final = 84  # where a tile has room for the request and its time
_LEAST_CELL: Final = 2  # side of a request's cell; a batch of smaller ones is painted as a bar
_HINT: Final = "A cell fills with its request's own work; the longest ends the batch."
_BINS: Final = 10


class SideColours(NamedTuple):
    """Colours of a side: its name and marks, work done, work left."""

    strong: Colour
    fill: Colour
    tint: Colour


EDGE_COLOURS: Final = SideColours(EDGE, EDGE_FILL, EDGE_TINT)
CLOUD_COLOURS: Final = SideColours(CLOUD, CLOUD_FILL, CLOUD_TINT)


def paint_slots(
    canvas: Canvas,
    area: Box,
    slots: Sequence[SlotView],
    capacity: int,
    colours: SideColours,
) -> None:
    """Paints slots one by one, or in sum where they would be too small to see.

    Args:
        canvas: Where to.
        area: The room there is.
        slots: The slots.
        capacity: How many requests one can hold.
        colours: The side's colours.
    """
    if not slots:
        canvas.text("none", area.x + area.w / 2, area.y + area.h / 2, 12, MUTED, "centre")
        return
    gap = 8 if len(slots) <= 16 else 4
    aspect, highest = (4.0, 64) if capacity == 1 else (min(8.0, 1.5 * capacity), 150)
    room = area.cut(bottom=20) if capacity > 1 else area
    tiles = grid(room, len(slots), aspect, (room.w, highest), gap)
    if tiles[0].h < _LEAST_HEIGHT:
        _paint_sum(canvas, area, slots, capacity, colours)
        return
    if capacity > 1:
        canvas.text(_HINT, area.x, area.bottom - 5, size=11, colour=MUTED)
    for tile, slot in zip(tiles, slots, strict=True):
        if capacity == 1:
            _paint_request(canvas, tile, slot, colours)
        else:
            _paint_batch(canvas, tile, slot, capacity, colours)


def _paint_request(canvas: Canvas, tile: Box, slot: SlotView, colours: SideColours) -> None:
    """Paints a slot for one request: it fills as the work is done."""
    radius = min(4, tile.h // 4)
    if not slot.requests:
        canvas.box(tile, FAINT, radius)
        return
    canvas.bar(tile, slot.progress, colours.fill, colours.tint, radius)
    # By the tile's width, so that neighbours look alike whatever their numbers.
    elapsed = seconds(slot.elapsed) if tile.w >= _WIDTH_OF_BOTH else ""
    canvas.captions(tile, str(slot.requests[0]), elapsed)


def _paint_batch(
    canvas: Canvas, tile: Box, slot: SlotView, capacity: int, colours: SideColours
) -> None:
    """Paints a batch: a cell per request, and below them the progress of the whole."""
    if tile.h >= 44 and tile.w >= 140:
        held = f"{len(slot.requests)} of {capacity} requests" if slot.requests else "idle"
        canvas.text(held, tile.x, tile.y + 8, size=11, colour=MUTED)
        if slot.requests:
            canvas.text(seconds(slot.elapsed), tile.right, tile.y + 8, size=11, align="right")
        tile = tile.cut(top=18)
    if tile.h >= 18:
        bar = Box(tile.x, tile.bottom - 4, tile.w, 4)
        canvas.bar(bar, slot.progress, colours.strong, FAINT, radius=2)
        tile = tile.cut(bottom=7)
        cells = grid(tile, capacity, 1.0, (tile.w, tile.h), gap=2)
    else:
        cells = row(tile, capacity, gap=1)
    if min(cells[0].w, cells[0].h) < _LEAST_CELL:
        canvas.bar(tile, len(slot.requests) / capacity, colours.fill, FAINT)
        return
    for cell in cells[len(slot.requests) :]:
        canvas.box(cell, FAINT)
    for cell, request, share in zip(cells, slot.requests, slot.shares, strict=False):
        canvas.bar(cell, slot.progress / share, colours.fill, colours.tint)
        canvas.caption(cell, str(request))


def _paint_sum(
    canvas: Canvas,
    area: Box,
    slots: Sequence[SlotView],
    capacity: int,
    colours: SideColours,
) -> None:
    """Paints how many slots and places are taken, and how far those who run have come."""
    busy = [slot for slot in slots if slot.requests]
    shares = {"busy": len(busy) / len(slots)}
    if capacity > 1:
        taken = sum(len(slot.requests) for slot in busy)
        shares["places in batches taken"] = taken / (capacity * len(slots))
    y = area.y
    for name, share in shares.items():
        canvas.text(name, area.x, y + 8, colour=MUTED)
        canvas.text(percent(share), area.right, y + 8, align="right")
        canvas.bar(Box(area.x, y + 20, area.w, 12), share, colours.fill, colours.tint, radius=4)
        y += 48
    _paint_histogram(canvas, Box(area.x, y, area.w, area.bottom - y), busy, colours)


def _paint_histogram(
    canvas: Canvas, area: Box, busy: Sequence[SlotView], colours: SideColours
) -> None:
    canvas.text("those busy, by progress", area.x, area.y + 8, colour=MUTED)
    plot = area.cut(top=22, bottom=18)
    counts, _ = np.histogram([slot.progress for slot in busy], _BINS, (0.0, 1.0))
    for place, number in zip(row(plot, _BINS, 3), counts, strict=True):
        height = round(plot.h * number / max(1, counts.max()))
        canvas.box(Box(place.x, plot.bottom - height, place.w, height), colours.fill)
    canvas.box(Box(plot.x, plot.bottom, plot.w, 1), colours.strong)
    canvas.text("0 %", area.x, area.bottom - 6, size=11, colour=MUTED)
    canvas.text("100 %", area.right, area.bottom - 6, size=11, colour=MUTED, align="right")
