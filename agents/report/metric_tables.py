"""Tables of metrics besides the JCT: of tokens where nodes know them, and of any on request."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from agents.report.tables import JCT, NOTHING, TextTable, best_of, intervals, known, numbers
from agents.statistics import common_seeds, values_by_seed
from edgecloud_gym.checks import did_you_mean
from edgecloud_gym.wording import shown

if TYPE_CHECKING:
    import pandas as pd

_LABELS: Final = ("env", "agent", "seed")
# Titles of the table of tokens: the metric, and in what multiple of its unit it is shown.
_TOKENS: Final = {
    "TTFT p50 s": ("ttft_p50", 1.0),
    "TTFT p99 s": ("ttft_p99", 1.0),
    "TPOT p50 ms": ("tpot_p50", 1e3),
    "TPOT p99 ms": ("tpot_p99", 1e3),
    "tokens/s": ("output_token_rate", 1.0),
    "preempted": ("preemptions", 1.0),
}


def tokens(rows: pd.DataFrame) -> TextTable | None:
    """Returns one scenario's times to first token and per token, agents as in the ranking.

    Args:
        rows: The summary's rows of one scenario.

    Returns:
        Means over the seeds; None where no node knows tokens.
    """
    rows = common_seeds(rows).rows
    means = rows.groupby("agent").mean(numeric_only=True).sort_values(JCT)
    if not known(means, "ttft_p50"):
        return None
    agents = [str(agent) for agent in means.index]
    columns: dict[str, Sequence[str]] = {"agent": agents}
    best = set()
    for title, (metric, unit) in _TOKENS.items():
        if not known(means, metric) or (metric == "preemptions" and not means[metric].any()):
            continue
        columns[title] = numbers(unit * means[metric])
        if title.startswith("T"):
            best |= {(agents.index(agent), title) for agent in best_of(means[metric])}
    return TextTable(columns, frozenset(best))


def chosen(rows: pd.DataFrame, metrics: Sequence[str]) -> TextTable | None:
    """Returns metrics that were asked for, with their intervals, agents as in the ranking.

    Args:
        rows: The summary's rows of one scenario.
        metrics: Columns of ``summary.csv``.

    Returns:
        Means over the seeds; None where the scenario has none of them.
    """
    rows = common_seeds(rows).rows
    means = rows.groupby("agent").mean(numeric_only=True).sort_values(JCT)
    agents = [str(agent) for agent in means.index]
    here = [metric for metric in metrics if known(means, metric)]
    columns: dict[str, Sequence[str]] = {"agent": agents}
    for metric in here:
        by_seed = values_by_seed(rows, metric)
        present = [agent for agent in agents if agent in by_seed]
        shown = dict(zip(present, intervals(by_seed, present), strict=True))
        columns[metric] = [shown.get(agent, NOTHING) for agent in agents]
    return TextTable(columns) if here else None


def check_columns(metrics: Sequence[str], summary: pd.DataFrame) -> None:
    """Raises ``ValueError``, with what there is, if a summary lacks a metric."""
    there = [str(name) for name in summary.select_dtypes("number").columns if name not in _LABELS]
    for metric in metrics:
        if metric not in there:
            raise ValueError(
                f"--columns {shown(metric)}: no such metric{did_you_mean(metric, there)}; there "
                f"are: {', '.join(there)}"
            )
