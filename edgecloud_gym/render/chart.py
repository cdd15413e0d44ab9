"""The chart of job completion times against the time of completion."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from edgecloud_gym.render.canvas import CLOUD, EDGE, FAINT, INK, MUTED, Canvas
from edgecloud_gym.render.geometry import Box, scale_from_zero, seconds, ticks
from edgecloud_gym.results.snapshot import Snapshot

_AVERAGED: Final = 25  # completions in the moving mean


def paint_chart(canvas: Canvas, card: Box, view: Snapshot) -> None:
    """Paints the latest completions, their moving mean, and the episode's mean."""
    _paint_key(canvas, card, view)
    plot = card.cut(left=66, top=42, right=176, bottom=30)
    times, jcts = view.finish_times, view.jcts
    start, end = _span(view)
    scale = scale_from_zero(float(jcts.max(initial=0.0)) or 1.0, 4)
    highest = scale[-1]
    for value in scale:
        y = plot.bottom - plot.h * value / highest
        canvas.line(((plot.x, y), (plot.right, y)), FAINT)
        canvas.text(f"{value:,g} s", plot.x - 8, y, size=11, colour=MUTED, align="right")
    for value in ticks(start, end, 8):
        x = plot.x + plot.w * (value - start) / (end - start)
        canvas.text(f"{value:,g} s", x, plot.bottom + 13, size=11, colour=MUTED, align="centre")
    xs = plot.x + plot.w * (times - start) / (end - start)
    for x, jct, on_cloud in zip(xs, jcts, view.on_cloud, strict=True):
        y = plot.bottom - plot.h * jct / highest
        if on_cloud:
            canvas.diamond(x, y, 3.2, CLOUD)
        else:
            canvas.disc(x, y, 2.6, EDGE)
    if len(jcts) > 1:
        ys = plot.bottom - plot.h * moving_mean(jcts, _AVERAGED) / highest
        canvas.line(list(zip(xs, ys, strict=True)), INK, width=1.5)


def _span(view: Snapshot) -> tuple[float, float]:
    """Returns the first and the last time shown, the former less than the latter (s)."""
    if view.completed == len(view.jcts):
        return 0.0, max(view.time, min(1.0, view.duration))
    start = float(view.finish_times[0])
    # All those shown may have ended just now, as one batch.
    return min(start, view.time - 1e-3), view.time


def moving_mean(values: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    """Returns at each place the mean of it and what precedes it, ``width`` values at most."""
    sums = np.concatenate(([0.0], np.cumsum(values)))
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(0, ends - width)
    return np.asarray((sums[ends] - sums[starts]) / (ends - starts))


def _paint_key(canvas: Canvas, card: Box, view: Snapshot) -> None:
    x = card.right - 150
    canvas.text(seconds(view.mean_jct), x, card.y + 62, size=24)
    canvas.text("mean over the episode", x, card.y + 86, size=11, colour=MUTED)
    y = card.y + 118
    canvas.disc(x + 5, y, 3.5, EDGE)
    canvas.text("edge", x + 18, y, colour=MUTED)
    canvas.diamond(x + 5, y + 20, 4, CLOUD)
    canvas.text("cloud", x + 18, y + 20, colour=MUTED)
    canvas.line(((x, y + 40), (x + 11, y + 40)), INK, width=1.5)
    canvas.text(f"mean of the last {_AVERAGED}", x + 18, y + 40, colour=MUTED)
