"""What a dataset or a workload trace holds, as a picture.

The colours are those of Okabe and Ito, which people of any colour vision can tell apart.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import NDArray

from data_tools.describing.describe import Description
from data_tools.describing.quantities import Arrivals, Quantity, Slowdown, shown
from edgecloud_gym.files import replacing
from edgecloud_gym.fonts import any_script

BLUE, ORANGE, VERMILION, GREY = "#0072B2", "#E69F00", "#D55E00", "#666666"
COLUMNS = 2
BINS = 40
WIDE_RANGE = 30.0  # 99th over 1st percentile from which an axis is logarithmic
FARTHEST = 1e100  # beyond it, and below its inverse, values are drawn there: axes overflow
WINDOWS = 100  # of the arrival rate over time, about

Panel = Callable[[Axes], None]


@any_script()
def save_figure(description: Description, path: Path) -> None:
    """Draws the distributions, and the arrivals or the slowdown curve where there are any.

    Args:
        description: What to draw.
        path: The PNG to write; it is complete or not there.
    """
    panels = _panels(description)
    rows = -(-len(panels) // COLUMNS)
    figure = Figure(figsize=(5.0 * COLUMNS, 3.2 * rows + 0.4), dpi=120, layout="constrained")
    title = f"{description.name}: {description.kind}"
    figure.suptitle(title, fontweight="bold", parse_math=False)
    for index, panel in enumerate(panels, start=1):
        axes = figure.add_subplot(rows, COLUMNS, index)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25, linewidth=0.6)
        axes.set_axisbelow(True)
        panel(axes)
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png")


def _panels(description: Description) -> list[Panel]:
    panels: list[Panel] = []
    quantities = [_drawn(item) for item in description.quantities if len(item.values) > 1]
    arrivals = description.arrivals
    # Long enough to say, and not too long to draw.
    if (
        arrivals is not None
        and np.isfinite(arrivals.dispersion(1.0))
        and arrivals.duration < FARTHEST
    ):
        panels += [partial(_rate, arrivals=arrivals), partial(_dispersion, arrivals=arrivals)]
    panels += [partial(_distribution, quantity=quantity) for quantity in quantities]
    if description.relation is not None:
        x, y = map(_drawn, description.relation)
        panels.append(partial(_relation, x=x, y=y))
    if description.slowdown is not None:
        panels.append(partial(_slowdown, slowdown=description.slowdown))
    return panels


def _drawn(quantity: Quantity) -> Quantity:
    values = quantity.values
    inside = np.where(values > 0, np.clip(values, 1 / FARTHEST, FARTHEST), values)
    return Quantity(quantity.label, quantity.unit, inside)


def _distribution(axes: Axes, quantity: Quantity) -> None:
    """Draws a histogram with median and 95th percentile."""
    values = quantity.values
    edges, wide = _bins(quantity)
    axes.hist(values, bins=list(edges), color=BLUE)
    if wide:
        axes.set_xscale("log")
    left_out = int((values < edges[0]).sum())
    if left_out:
        note = f"{left_out:,} of {len(values):,} below {shown(edges[0])} {quantity.unit} not shown"
        axes.set_title(note, fontsize=8, loc="left", color=GREY)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    marks = ((50, "median", "--", ORANGE), (95, "95th percentile", ":", VERMILION))
    for percentile, name, style, color in marks:
        at = float(np.percentile(values, percentile))
        label = f"{name} {shown(at)} {quantity.unit}"
        axes.axvline(at, linestyle=style, color=color, linewidth=2, label=label)
    axes.margins(y=0.3)  # room for the legend above the bars
    axes.legend(fontsize=8, loc="upper right", framealpha=0.9)
    _label(axes, quantity.title, "Count")


def _bins(quantity: Quantity) -> tuple[NDArray[np.float64], bool]:
    """Returns bin edges, and whether they call for a logarithmic axis."""
    values = quantity.values
    if _is_wide(values):
        # A few outliers near zero would take half of the axis.
        low, first = values[values > 0].min(), float(np.percentile(values[values > 0], 0.5))
        low = first if low < first / 10 else low
        return np.geomspace(low, values.max() * 1.001, BINS + 1), True
    if quantity.unit == "tokens":  # bins of equally many whole numbers
        width = max(1.0, np.ceil(np.ptp(values) / BINS))
        return np.arange(values.min() - 0.5, values.max() + width + 0.5, width), False
    low, high = float(values.min()), float(values.max())
    if high - low <= 1e-9 * high:  # too close for bins between them
        low, high = (0.9 * low, 1.1 * high) if high > 0 else (-0.5, 0.5)
    return np.linspace(low, high, BINS + 1), False


def _relation(axes: Axes, x: Quantity, y: Quantity) -> None:
    opacity = float(np.clip(300 / len(x.values), 0.05, 0.5))
    axes.scatter(x.values, y.values, s=8, alpha=opacity, color=BLUE, linewidths=0)
    if _is_wide(x.values):
        axes.set_xscale("log")
    if _is_wide(y.values):
        axes.set_yscale("log")
    _label(axes, x.title, y.title)


def _is_wide(values: NDArray[np.float64]) -> bool:
    """Whether values differ so much that their axis should be logarithmic."""
    positive = values[values > 0]
    if positive.size < 2:
        return False
    low, high = np.percentile(positive, (1, 99))
    return bool(high > WIDE_RANGE * low)


def _slowdown(axes: Axes, slowdown: Slowdown) -> None:
    n = np.arange(1, len(slowdown.curve) + 1)
    if len(slowdown.sizes):
        last = int(slowdown.sizes.max())
        inside, outside = n <= last, n >= last
        axes.plot(n[inside], slowdown.curve[inside], color=BLUE, label="fit")
        if outside.sum() > 1:
            axes.plot(n[outside], slowdown.curve[outside], "--", color=BLUE, label="extrapolated")
        spread = None
        if len(slowdown.quartiles):
            spread = np.abs(slowdown.quartiles.T - slowdown.measured)
        axes.errorbar(
            slowdown.sizes,
            slowdown.measured,
            yerr=spread,
            fmt="o",
            markersize=4,
            color=VERMILION,
            capsize=3,
            label="measured" if spread is None else "measured, with quartiles",
        )
        axes.legend(fontsize=8, loc="upper left")
    else:
        axes.plot(n, slowdown.curve, color=BLUE)
    axes.set_ylim(bottom=0)
    _label(axes, "Requests in the batch, n", "Slowdown s(n), times")


def _rate(axes: Axes, arrivals: Arrivals) -> None:
    window = max(1.0, float(np.ceil(arrivals.duration / WINDOWS)))
    counts = arrivals.counts(window)
    unit, name = _clock(arrivals.duration)
    edges = np.arange(len(counts) + 1) * window / unit
    axes.stairs(counts / window, edges, color=BLUE, fill=True, alpha=0.8)
    label = f"mean {shown(arrivals.rate)} requests/s"
    axes.axhline(arrivals.rate, color=ORANGE, linestyle="--", linewidth=2, label=label)
    axes.margins(x=0, y=0.25)
    axes.legend(fontsize=8, loc="upper right", framealpha=0.9)
    _label(axes, f"Time since the first arrival, {name}", f"Arrivals in {window:g} s, requests/s")


def _dispersion(axes: Axes, arrivals: Arrivals) -> None:
    windows = np.geomspace(1.0, max(2.0, arrivals.duration / 20), 25)
    values = np.array([arrivals.dispersion(float(window)) for window in windows])
    known = np.isfinite(values) & (values > 0)
    axes.loglog(windows[known], values[known], color=BLUE, marker="o", markersize=3, label="trace")
    axes.axhline(1.0, color=ORANGE, linestyle="--", linewidth=2, label="Poisson process")
    axes.legend(fontsize=8, loc="upper left")
    _label(axes, "Window, s", "Variance / mean of arrival counts")


def _clock(duration: float) -> tuple[float, str]:
    """Returns the unit that suits a duration in s: its length in s, and its name."""
    if duration > 2 * 86_400:
        return 86_400.0, "days"
    if duration > 2 * 3_600:
        return 3_600.0, "h"
    return (60.0, "min") if duration > 120 else (1.0, "s")


def _label(axes: Axes, x: str, y: str) -> None:
    """Names the axes and writes plain numbers on them, no powers of ten."""
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
