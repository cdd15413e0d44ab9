"""A results folder as Markdown, to paste into a paper's notes or a README."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from agents.report.tables import LEARNING_LEGEND, SWEEP_LEGEND, learning, legend, ranking, sweep

if TYPE_CHECKING:
    import pandas as pd


def render_markdown(
    summary: pd.DataFrame,
    sweeps: Mapping[str, Mapping[str, float]],
    requests: pd.DataFrame | None,
    baseline: str,
) -> str:
    """Returns a table per environment that was played at several loads, and per other scenario.

    Args:
        summary: See `ranking`.
        sweeps: Per environment id that was played at several loads, the load of each label.
        requests: The request log for the tables of regret over time, or ``None`` for none.
        baseline: The agent whom the tables compare with.
    """
    parts = []
    swept: set[str] = set()
    for env_id, loads in sweeps.items():
        swept |= loads.keys()
        columns, best = sweep(summary, loads, baseline)
        parts += [f"### {env_id}", _table(columns, best), SWEEP_LEGEND]
    for label, rows in summary.groupby("env", sort=False):
        if label not in swept:
            parts += [f"### {label}", _table(ranking(rows, baseline, wide=True))]
            parts.append(legend(rows, wide=True))
    if requests is not None:
        parts.append("### Learning")
        for label, log in requests.groupby("env", sort=False):
            parts.append(f"#### {label}\n\n{_table(learning(log, baseline))}")
        parts.append(LEARNING_LEGEND)
    return "\n\n".join(parts) + "\n"


def _table(columns: Mapping[str, list[str]], best: Mapping[str, str] | None = None) -> str:
    """Returns a table; in a column that has a best agent, that agent's cell in bold."""
    agents = columns["agent"]
    rows: list[list[Any]] = []
    for number, agent in enumerate(agents):
        cells = [
            f"**{cells[number]}**" if (best or {}).get(title) == agent else cells[number]
            for title, cells in columns.items()
        ]
        rows.append(cells)
    lines = [list(columns), ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
