"""What the pictures have in common: a legend beside the panels, folded labels, readable axes."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from agents.report.styles import Style
from edgecloud_gym.files import replacing
from edgecloud_gym.fonts import any_script

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.text import Text

FOLD: Final = 24  # characters of a label in a line
CHARACTER: Final = 0.075  # inches
LINE: Final = 0.18  # inches
_WIDEST: Final = 60  # characters of a long label in a line
_DPI: Final = 130


@contextmanager
def figure_with_legend(
    width: float, height: float, look: Mapping[str, Style], path: Path
) -> Iterator[Figure]:
    """Yields a figure with a legend of all agents at its right, which is then written."""
    labels = [folded(label) for label in look]
    lines = sum(label.count("\n") + 1.3 for label in labels)
    size = (width + 0.7 + CHARACTER * longest_line(look), max(height, 0.4 + LINE * lines))
    with any_script(), replacing(path) as temporary:
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasAgg(figure)
        yield figure
        _add_legend(figure, look, labels)
        figure.savefig(temporary, dpi=_DPI)


def _add_legend(figure: Figure, look: Mapping[str, Style], labels: Sequence[str]) -> None:
    handles = [Line2D([], [], markersize=5, **style._asdict()) for style in look.values()]
    # Labels that begin with an underscore would be left out: they get their text afterwards.
    legend = figure.legend(
        handles, ["x"] * len(handles), loc="outside right upper", frameon=False, handlelength=3
    )
    for text, label in zip(legend.get_texts(), labels, strict=True):
        text.set_text(label)
        keep_plain(text)


def keep_plain(text: Text) -> None:
    """Keeps a user's text from being read as mathematics."""
    text.set_parse_math(False)


def folded(label: str, width: int = FOLD) -> str:
    """Returns a label in lines: two, if it fits into them, so that it stays beside its row."""
    widest = max(width, min(_WIDEST, len(label) // 2 + 6))
    return "\n".join(textwrap.wrap(label, widest, break_on_hyphens=False)) or label


def longest_line(labels: Iterable[str]) -> int:
    """Returns how many characters the longest line of folded labels has."""
    return max(len(line) for label in labels for line in folded(label).split("\n"))


def most_lines(labels: Iterable[str]) -> int:
    """Returns into how many lines labels are folded, at most."""
    return max(folded(label).count("\n") + 1 for label in labels)


def scale(axes: Axes, which: Literal["x", "y"], values: Sequence[float]) -> None:
    """Makes an axis logarithmic where its values span more than a factor of three."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    known = [value for value in values if np.isfinite(value) and value > 0.0]
    if known and max(known) >= 3.0 * min(known):
        (axes.set_xscale if which == "x" else axes.set_yscale)("log")
        span = max(known) / min(known)
        few = (1.0, 2.0, 5.0) if span < 300.0 else (1.0,)
        subs = (1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0) if span < 8.0 and which == "y" else few
        axis.set_major_locator(LogLocator(subs=subs))
        axis.set_minor_formatter(NullFormatter())
    axis.set_major_formatter(_NUMBERS)


def scale_symmetrically(axes: Axes, linear_below: float) -> None:
    """Makes the y axis logarithmic above a value where one agent would flatten most of them."""
    peaks = [float(np.nanmax(np.asarray(line.get_ydata(), float))) for line in axes.get_lines()]
    if peaks and max(peaks) > 8.0 * max(float(np.median(peaks)), linear_below / 8.0):
        axes.set_yscale("symlog", linthresh=linear_below)
    axes.xaxis.set_major_formatter(_NUMBERS)
    axes.yaxis.set_major_formatter(_NUMBERS)


_NUMBERS = FuncFormatter(lambda value, _: f"{value:,.0f}" if abs(value) >= 1000 else f"{value:g}")
