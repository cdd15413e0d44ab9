"""The picture of tokens: how soon the first one comes, and how quickly the others."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from agents.report.figures import LINE, figure_with_legend, folded, keep_plain, most_lines, scale
from agents.report.styles import styles
from agents.report.tables import JCT, known
from agents.statistics import CommonSeeds

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from agents.report.styles import Style

_PANEL: Final = 4.6  # inches
_METRICS: Final = {"ttft": "time to first token (s)", "tpot": "time per output token (s)"}
_ENDS: Final = ("p50", "p95", "p99")


def knows_tokens(common: CommonSeeds) -> bool:
    """Tells whether there is anything to draw of a scenario."""
    return bool(common.seeds) and known(common.rows, "ttft_p50")


def draw_tokens(scenarios: Mapping[str, CommonSeeds], path: Path) -> None:
    """Draws the median with the 95th and 99th percentile of each agent, and writes a PNG.

    Args:
        scenarios: Those in which tokens are known, by label.
        path: The file, complete or absent.
    """
    everyone = dict.fromkeys(str(a) for c in scenarios.values() for a in c.rows["agent"].unique())
    look = styles(everyone)
    rows = [0.8 + max(0.27, LINE * most_lines(look)) * len(everyone) for _ in scenarios]
    with figure_with_legend(_PANEL * len(_METRICS), sum(rows), look, path) as figure:
        axes = figure.subplots(len(scenarios), len(_METRICS), squeeze=False)
        for row, (label, common) in zip(axes, scenarios.items(), strict=True):
            means = common.rows.groupby("agent").mean(numeric_only=True)
            means = means.sort_values(JCT, ascending=False)  # the best on top
            for axis, (metric, title) in zip(row, _METRICS.items(), strict=True):
                _draw(axis, means, metric, look)
                axis.set_xlabel(f"{title}: {', '.join(_ENDS)}")
            keep_plain(row[0].set_title(folded(label, 46), loc="left", fontweight="bold"))


def _draw(axes: Axes, means: pd.DataFrame, metric: str, look: Mapping[str, Style]) -> None:
    values = []
    for place, (agent, row) in enumerate(means.iterrows()):
        ends = [float(row[f"{metric}_{end}"]) for end in _ENDS]
        values += ends
        style = look[str(agent)]
        axes.plot([ends[0], ends[-1]], [place, place], color=style.color, linewidth=1.2)
        axes.plot(ends[:1], [place], marker=style.marker, color=style.color, markersize=5.5)
        for end, marker in zip(ends[1:], "|d", strict=True):
            axes.plot([end], [place], marker=marker, color=style.color, markersize=6)
    axes.set_yticks(range(len(means)), [folded(str(agent)) for agent in means.index])
    for text in axes.get_yticklabels():
        keep_plain(text)
    axes.set_ylim(-0.6, len(means) - 0.4)
    scale(axes, "x", values)
    axes.grid(alpha=0.3, which="both", axis="x")
