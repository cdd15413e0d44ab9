"""What the study has found: printed, and put where the docs take it from."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

from edgecloud_gym.files import replacing

GOALS: Final = {"jct_mean": 0.15, "ttft_mean": 0.25}
LABELS: Final = {"jct_mean": "mean JCT", "ttft_mean": "mean time to first token"}
TABLE: Final = "data/live.csv"
PICTURE: Final = "assets/live.png"


def show(table: pd.DataFrame) -> None:
    """Prints the table and the verdicts."""
    print(f"mean JCT of one agent from run to run: {table['noise'].iloc[0]:.1%} apart")
    for arrivals, rows in table.groupby("arrivals", sort=False):
        first = rows.iloc[0]
        print(f"\n{arrivals}: {first['requests']} requests, {first['rate']:g}/s")
        for _, row in rows.iterrows():
            parts = []
            for name, goal in GOALS.items():
                live, simulated = row[f"{name}_live"], row[f"{name}_sim"]
                error = simulated / live - 1
                verdict = "" if abs(error) <= goal else f" MISSES {goal:.0%}"
                parts.append(f"{name} {live:.3f} s live, {simulated:.3f} s ({error:+.1%}{verdict})")
            print(f"{row['agent']:20s} {'; '.join(parts)}")
        print(f"ranking live:      {', '.join(rows['agent'])}")
        print(f"ranking simulated: {', '.join(rows.sort_values('jct_mean_sim')['agent'])}")
        print(f"pairs ranked otherwise beyond the interval: {rows['contradicted'].sum() // 2}")


def publish(table: pd.DataFrame, docs: Path) -> None:
    """Writes the table and the picture that `docs/live.md` shows."""
    with replacing(docs / TABLE) as temporary:
        table.to_csv(temporary, index=False, float_format="%.4f")
    with replacing(docs / PICTURE) as temporary:
        draw(table, temporary)


def draw(table: pd.DataFrame, path: Path) -> None:
    """Draws live times against simulated ones, a panel for each metric, to a PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4), layout="constrained")
    panels = figure.subplots(1, len(GOALS))
    markers = dict(zip(table["arrivals"].unique(), "os^", strict=False))
    for axes, (name, goal) in zip(panels, GOALS.items(), strict=True):
        values = table[[f"{name}_live", f"{name}_sim"]].to_numpy()
        line = np.array([0.0, 1.15 * np.nanmax(values)])
        axes.fill_between(line, (1 - goal) * line, (1 + goal) * line, color="0.9", zorder=0)
        axes.plot(line, line, color="0.6", linewidth=1, zorder=1)
        for number, agent in enumerate(sorted(table["agent"].unique())):
            for arrivals, marker in markers.items():
                rows = table[(table["agent"] == agent) & (table["arrivals"] == arrivals)]
                axes.scatter(
                    rows[f"{name}_live"], rows[f"{name}_sim"], marker=marker, color=f"C{number}",
                    label=f"{agent}, {arrivals}",
                )  # fmt: skip
        axes.set(xlim=line, ylim=line, xlabel=f"{LABELS[name]}, live (s)", ylabel="simulated (s)")
        axes.set_title(f"grey: within {goal:.0%}", fontsize="medium")
    panels[0].legend(fontsize="x-small")
    figure.savefig(path, dpi=120, format="png")
