"""The picture of a predictor's calibration."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from agents.prediction.scoring import LEVELS, Scores
from edgecloud_gym.files import replacing
from edgecloud_gym.fonts import any_script

_COLOUR: Final = "#4477aa"
_DPI: Final = 130


@any_script()
def draw_calibration(scores: Scores, title: str, path: Path) -> None:
    """Draws how often times stay below their predicted quantiles, and expected against true times.

    Args:
        scores: Of predictions.
        title: What was predicted.
        path: The PNG, complete or absent.
    """
    figure = Figure(figsize=(8.4, 4.0), layout="constrained")
    FigureCanvasAgg(figure)
    covered, expected = figure.subplots(1, 2)
    covered.set_title(title, loc="left", fontweight="bold").set_parse_math(False)
    covered.plot([0, 1], [0, 1], color="#999999", linestyle="--")
    # What chance alone would leave of a calibrated one, requests being independent.
    chance = 1.96 * np.sqrt(LEVELS * (1.0 - LEVELS) / scores.requests)
    covered.fill_between(LEVELS, LEVELS - chance, LEVELS + chance, color="#dddddd", linewidth=0)
    covered.plot(LEVELS, scores.coverage, color=_COLOUR, marker="o", markersize=4)
    covered.set_xlabel("predicted probability")
    covered.set_ylabel("share of the times below that quantile")
    limits = [0.8 * min(scores.expected.min(), scores.observed.min())]
    limits.append(1.25 * max(scores.expected.max(), scores.observed.max()))
    expected.plot(limits, limits, color="#999999", linestyle="--")
    expected.errorbar(
        scores.expected, scores.observed, 1.96 * scores.observed_error, color=_COLOUR, marker="o"
    )
    expected.set_xscale("log")
    expected.set_yscale("log")
    expected.set_xlabel("expected time (s), fifths of the requests")
    expected.set_ylabel("mean time (s), 95 % interval")
    for axes in (covered, expected):
        axes.grid(alpha=0.3)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=_DPI)
