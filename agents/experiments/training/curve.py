"""The learning curve of a training: what validation said, kept as a table and drawn."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pandas as pd

from agents.experiments.training.validation import UNIT, score, scores
from edgecloud_gym.files import replacing
from edgecloud_gym.fonts import any_script

_COLUMNS: Final = ("agent", "done", "seconds", "score", "scenario", "jct_mean")


class Curve:
    """Rows of what an agent had learnt from and how it then played, and those beside it.

    Attributes:
        rows: One per agent, moment and scenario.
    """

    def __init__(self, name: str, scenarios: Sequence[str]) -> None:
        """Begins a curve of an agent."""
        self._name = name
        self._scenarios = list(scenarios)
        self.rows: list[dict[str, Any]] = []

    @classmethod
    def read(cls, path: Path, name: str, scenarios: Sequence[str]) -> Curve:
        """Returns the curve that a file holds; an empty one if there is no such file.

        Raises:
            ValueError: If the file holds something else.
        """
        curve = cls(name, scenarios)
        if path.exists():
            table = pd.read_csv(path)
            if tuple(table.columns) != _COLUMNS or set(table["scenario"]) != {*scenarios}:
                raise ValueError(f"{path}: is no learning curve of this training")
            curve.rows = table.to_dict("records")  # type: ignore[assignment]
        return curve

    def add(self, agent: str, done: int, seconds: float, means: Sequence[float]) -> float:
        """Adds a moment; returns its score."""
        unit = means if agent == UNIT else self.others[UNIT]
        found = score(means, unit)
        for scenario, mean in zip(self._scenarios, means, strict=True):
            values = (agent, done, round(seconds, 1), found, scenario, mean)
            self.rows.append(dict(zip(_COLUMNS, values, strict=True)))
        return found

    @property
    def others(self) -> dict[str, list[float]]:
        """Mean JCTs of the agents beside it, by scenario."""
        found: dict[str, list[float]] = {}
        for row in self.rows:
            if row["agent"] != self._name:
                found.setdefault(row["agent"], []).append(row["jct_mean"])
        return found

    @property
    def moments(self) -> list[tuple[int, float]]:
        """How much was learnt from, and the score then."""
        first = self._scenarios[0]
        mine = [r for r in self.rows if r["agent"] == self._name and r["scenario"] == first]
        return [(int(row["done"]), float(row["score"])) for row in mine]

    @property
    def best(self) -> float:
        """The lowest score so far; infinity before the first."""
        return min((found for _, found in self.moments), default=math.inf)

    @property
    def since_best(self) -> int:
        """How many moments have passed since the best one."""
        found = [value for _, value in self.moments]
        return len(found) - 1 - found.index(min(found)) if found else 0

    def write(self, path: Path) -> None:
        """Writes the table, complete or not at all, and the picture beside it."""
        with replacing(path) as temporary:
            pd.DataFrame(self.rows, columns=list(_COLUMNS)).to_csv(temporary, index=False)
        draw({self._name: self.moments}, scores(self.others), path.with_suffix(".png"))


@any_script()
def draw(
    curves: Mapping[str, Sequence[tuple[int, float]]], beside: Mapping[str, float], path: Path
) -> None:
    """Draws learning curves and the level of the agents beside them."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for label, moments in curves.items():
        axes.plot(*zip(*moments, strict=True), marker="o", markersize=3, label=label)
    for i, (label, level) in enumerate(beside.items()):
        axes.axhline(level, color=f"C{len(curves) + i}", linestyle="--", label=label)
    axes.set_xlabel("learnt from")
    axes.set_ylabel(f"mean JCT over that of {UNIT}")
    axes.legend()
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=120)
