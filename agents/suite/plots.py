"""The pictures of the leaderboard: scores with intervals, and performance profiles."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np

from agents.report.figures import LINE, figure_with_legend, keep_plain
from agents.report.styles import styles
from agents.suite.board import Board
from agents.suite.markdown import PROFILE, SCORES
from agents.suite.scores import gap_shares, scored_cells, standings
from agents.suite.statistics import performance_profile
from edgecloud_gym.fonts import any_script

_LOWEST: Final = -0.5  # of the shares drawn: what is worse is cut off
_HIGHEST: Final = 1.25


@any_script()
def draw(board: Board, folder: Path) -> list[Path]:
    """Draws what there is to draw; returns the pictures, none where nothing is scored."""
    if not scored_cells(board):
        return []
    drawn = [folder / SCORES, folder / PROFILE]
    _draw_scores(board, drawn[0])
    _draw_profile(board, drawn[1])
    return drawn


def _draw_scores(board: Board, path: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from edgecloud_gym.files import replacing

    table = standings(board)[::-1]
    look = styles([s.agent for s in table])
    figure = Figure(figsize=(7.0, 1.2 + 0.24 * len(table)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for row, standing in enumerate(table):
        value, low, high = standing.score
        color = look[standing.agent].color
        if high < _LOWEST:
            axes.annotate(
                f"{value:.3g}", (_LOWEST, row), color=color, va="center", fontsize="small"
            )
            continue
        axes.plot([max(low, _LOWEST), high], [row, row], color=color, linewidth=6, alpha=0.35)
        axes.plot(value, row, marker="|", markersize=11, markeredgewidth=2.5, color=color)
    for end in (0.0, 1.0):
        axes.axvline(end, color="#999999", linewidth=0.8, zorder=0)
    axes.set_yticks(range(len(table)), [s.agent for s in table])
    axes.set_xlim(_LOWEST - 0.02, _HIGHEST)
    axes.set_ylim(-0.7, len(table) - 0.3)
    one = board.suite["one"]
    keep_plain(axes.set_xlabel(f"share of the gap from first come first served (0) to {one} (1)"))
    keep_plain(
        axes.set_title("Interquartile mean over scenarios, 95 % interval", loc="left", fontsize=10)
    )
    axes.spines[["top", "right"]].set_visible(False)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=130)


def _draw_profile(board: Board, path: Path) -> None:
    cells = scored_cells(board)
    complete = [s.agent for s in standings(board) if s.played == len(cells)]
    look = styles(complete)
    thresholds = np.linspace(_LOWEST, _HIGHEST, 351)
    profile = performance_profile(gap_shares(board, complete, cells).values, thresholds)
    with figure_with_legend(6.0, max(3.8, LINE * len(complete)), look, path) as figure:
        axes = figure.subplots()
        for agent, line in zip(complete, profile, strict=True):
            style = look[agent]
            axes.plot(
                thresholds,
                line,
                color=style.color,
                linestyle=style.linestyle,
                marker=style.marker,
                markevery=35,
                markersize=4,
                linewidth=1.4,
            )
        axes.set_xlim(_LOWEST, _HIGHEST)
        axes.set_ylim(0.0, 1.02)
        axes.set_xlabel("share of the gap closed")
        axes.set_ylabel("share of runs above it")
        axes.spines[["top", "right"]].set_visible(False)
