"""The picture of a system: queue, edge, cloud, and a chart of the job completion times."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from edgecloud_gym.render.canvas import (
    BORDER,
    CARD,
    CLOUD,
    EDGE,
    FAINT,
    INK,
    MUTED,
    Canvas,
    Colour,
    age_colour,
    readable_on,
)
from edgecloud_gym.render.chart import paint_chart
from edgecloud_gym.render.geometry import Box, count, grid, nice_ceiling, percent, seconds
from edgecloud_gym.render.nodes import paint_nodes
from edgecloud_gym.render.slots import CLOUD_COLOURS, EDGE_COLOURS, paint_slots
from edgecloud_gym.results.snapshot import SlotView, Snapshot, title

WIDTH: Final = 960  # both multiples of 16: video codecs want that
HEIGHT: Final = 640

_QUEUE: Final = Box(16, 96, 224, 312)
_EDGE: Final = Box(256, 96, 376, 312)
_CLOUD: Final = Box(648, 96, 296, 312)
_NODES: Final = Box(256, 96, 688, 312)  # the place of both
_CHART: Final = Box(16, 424, 928, 200)


class Picture:
    """Paints snapshots of one episode after another.

    Its only memory is the scale of the waiting ages, which never shrinks within an episode.
    """

    def __init__(self) -> None:
        self.canvas = Canvas(WIDTH, HEIGHT)
        self._oldest = 1.0

    def reset(self) -> None:
        """Forgets the last episode."""
        self._oldest = 1.0

    def paint(self, view: Snapshot) -> None:
        """Paints a snapshot on the canvas."""
        self._oldest = max(self._oldest, nice_ceiling(max(view.ages, default=0.0) or 1.0))
        self.canvas.clear()
        _paint_header(self.canvas, view)
        _paint_queue(self.canvas, view, self._oldest)
        if view.nodes:
            inner = _panel(self.canvas, _NODES, "Nodes", f"{count(view.running)} running")
            paint_nodes(self.canvas, inner, view.nodes)
        else:
            _paint_edge(self.canvas, view)
            _paint_cloud(self.canvas, view)
        latest = f"latest {count(len(view.jcts))} completions" if view.completed else ""
        _panel(self.canvas, _CHART, "Job completion time", latest)
        paint_chart(self.canvas, _CHART, view)


def _paint_header(canvas: Canvas, view: Snapshot) -> None:
    canvas.text(title(view), 16, 27, size=20)
    canvas.text(f"t = {seconds(view.time)}", 16, 54, size=13)
    verb = "until" if view.time < view.duration else "ended at"
    end = f"arrivals {verb} {seconds(view.duration)}"
    canvas.text(end, 112, 54, colour=MUTED)
    dispatched = view.arrived - view.queue_length
    numbers = (
        ("arrived", count(view.arrived), INK),
        ("waiting", count(view.queue_length), age_colour(0.7)),
        ("running", count(view.running), INK),
        ("completed", count(view.completed), INK),
        ("offloaded", percent(view.offloaded / dispatched) if dispatched else "-", CLOUD),
    )
    for i, (name, value, colour) in enumerate(reversed(numbers)):
        right = WIDTH - 16 - 96 * i
        canvas.text(value, right, 27, size=20, colour=colour, align="right")
        canvas.text(name, right, 54, colour=MUTED, align="right")
    canvas.bar(Box(16, 74, WIDTH - 32, 6), view.time / view.duration, MUTED, BORDER, radius=3)


def _paint_queue(canvas: Canvas, view: Snapshot, oldest: float) -> None:
    inner = _panel(canvas, _QUEUE, "Queue", f"{count(view.queue_length)} waiting")
    legend = Box(inner.x, inner.bottom - 20, inner.w, 6)
    area = inner.cut(bottom=52)
    # As many places as the pool has, or as can be told apart.
    places = grid(area, min(view.pool_size, 240), aspect=2.0, largest=(64, 24), gap=4)
    for place in places:
        canvas.box(place, FAINT, radius=3)
    shown = list(zip(places, view.candidates, view.ages, strict=False))
    for place, request, age in shown:
        colour = age_colour(age / oldest)
        canvas.box(place, colour, radius=3)
        canvas.caption(place, str(request), readable_on(colour))
    if beyond := view.queue_length - len(shown):
        canvas.text(f"+ {count(beyond)} more behind them", inner.x, legend.y - 16, colour=MUTED)
    for i in range(legend.w):
        canvas.box(Box(legend.x + i, legend.y, 1, legend.h), age_colour(i / legend.w))
    canvas.text("waiting 0 s", legend.x, legend.bottom + 9, size=11, colour=MUTED)
    end = seconds(oldest)
    canvas.text(end, legend.right, legend.bottom + 9, size=11, colour=MUTED, align="right")


def _paint_edge(canvas: Canvas, view: Snapshot) -> None:
    what = "sequences" if view.continuous else "batches"
    inner = _panel(canvas, _EDGE, "Edge", _busy(view.edge, what), EDGE)
    capacity = 1 if view.continuous else view.batch_capacity
    paint_slots(canvas, inner, view.edge, capacity, EDGE_COLOURS)


def _paint_cloud(canvas: Canvas, view: Snapshot) -> None:
    inner = _panel(canvas, _CLOUD, "Cloud", _busy(view.cloud, "slots"), CLOUD)
    paint_slots(canvas, inner, view.cloud, 1, CLOUD_COLOURS)


def _panel(canvas: Canvas, box: Box, title: str, note: str, colour: Colour = INK) -> Box:
    """Paints an empty card with a title and a note; returns the room inside."""
    canvas.box(box, CARD, radius=8)
    canvas.frame(box, BORDER, radius=8)
    canvas.text(title, box.x + 14, box.y + 21, size=15, colour=colour)
    canvas.text(note, box.right - 14, box.y + 21, colour=MUTED, align="right")
    return box.cut(left=14, top=42, right=14, bottom=14)


def _busy(slots: Sequence[SlotView], what: str) -> str:
    busy = sum(bool(slot.requests) for slot in slots)
    return f"{count(busy)} of {count(len(slots))} {what} busy" if slots else ""
