"""Predicted against measured, as a picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from data_tools.calibration.calibrate import Calibration
from edgecloud_gym.files import replacing
from edgecloud_gym.fonts import any_script

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
KINDS = {"e2e": "From sending to last token", "ttft": "From sending to first token"}


@any_script()
def save_figure(result: Calibration, path: Path) -> None:
    """Draws each request's measured and simulated times, first and last token.

    Args:
        result: What was calibrated.
        path: The PNG to write; it is complete or not there.
    """
    figure = Figure(figsize=(9.6, 4.8), dpi=120, layout="constrained")
    figure.suptitle(result.model.name or "Engine", fontweight="bold", parse_math=False)
    for index, (kind, title) in enumerate(KINDS.items(), start=1):
        axes = figure.add_subplot(1, 2, index)
        values = []
        for colour, (name, (real, made)) in zip(
            COLOURS * len(result.pairs), result.pairs.items(), strict=False
        ):
            x, y = getattr(real, kind), getattr(made, kind)
            axes.scatter(x, y, s=9, color=colour, alpha=0.5, linewidths=0, label=name)
            values += [x, y]
        ends = np.concatenate(values)
        line = [float(ends.min()), float(ends.max())]
        axes.plot(line, line, color="#666666", linewidth=0.8)
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlabel("measured (s)")
        axes.set_ylabel("simulated (s)")
        axes.set_title(title, fontsize=10)
        axes.grid(alpha=0.25, linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=7, frameon=False)
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png")
