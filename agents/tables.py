"""Results as tables for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from rich import box
from rich.table import Table

from agents.statistics import bootstrap_mean, paired_difference

if TYPE_CHECKING:
    import pandas as pd

LEGEND: Final = """\
JCT: mean job completion time over the seeds, with its 95 % bootstrap interval.
vs: difference paired seed by seed. beats: the agents whom this one is faster
than by a paired interval that excludes 0."""
CENSORED_LEGEND: Final = "Unfinished requests count with their age: JCT and p95 are lower bounds."
CENSORED: Final = "jct_mean_censored"  # equal to the plain mean where every request was finished


def ranking(summary: pd.DataFrame, baseline: str) -> dict[str, list[str]]:
    """Returns one scenario's agents, best first, as columns of text.

    Args:
        summary: The rows of one scenario.
        baseline: The agent whom the others are compared with; left out if it did not run.

    Returns:
        Mean JCT with its interval, the 95th percentile of JCT, the paired difference from the
        baseline as a share of its JCT, the share of requests served by the cloud (or, where there
        are any, the number of unfinished requests), and by number the agents whom each beats: the
        paired interval of the difference lies below 0.
    """
    by_seed = summary.pivot_table(index="seed", columns="agent", values=CENSORED, dropna=False)
    means = summary.groupby("agent").mean(numeric_only=True).sort_values(CENSORED)
    agents = [str(agent) for agent in means.index]
    columns = {
        "#": [str(number) for number in range(1, len(agents) + 1)],
        "agent": agents,
        "JCT s": [_interval(by_seed[agent]) for agent in agents],
        "p95 s": [_short(value) for value in means["jct_p95_censored"]],
    }
    if baseline in by_seed:
        columns[f"vs {baseline}"] = [_difference(by_seed, agent, baseline) for agent in agents]
    if means["unfinished"].any():
        columns["unfinished"] = [f"{value:,.0f}" for value in means["unfinished"]]
    else:
        columns["cloud"] = [f"{100 * value:.0f}%" for value in means["offload_rate"]]
    columns["beats"] = [_beaten(by_seed, agent, agents) for agent in agents]
    return columns


def ranking_table(summary: pd.DataFrame, baseline: str) -> Table:
    """Returns `ranking` as a table of at most 80 columns, the best agent in bold."""
    columns = ranking(summary, baseline)
    table = Table(box=box.SIMPLE_HEAD, padding=0, pad_edge=False)
    for title in columns:
        table.add_column(title, justify="left" if title == "agent" else "right", no_wrap=True)
    for number, row in enumerate(zip(*columns.values(), strict=True)):
        table.add_row(*row, style=None if number else "bold")
    return table


def _interval(values: pd.Series[float]) -> str:
    mean, low, high = bootstrap_mean(values)
    return f"{_short(mean)} [{_short(low)}, {_short(high)}]"


def _difference(by_seed: pd.DataFrame, agent: str, baseline: str) -> str:
    if agent == baseline:
        return "–"
    difference = paired_difference(by_seed[agent], by_seed[baseline])
    mean, low, high = (100.0 * x / by_seed[baseline].mean() for x in difference)
    return f"{_signed(mean)}% [{_signed(low)}, {_signed(high)}]"


def _beaten(by_seed: pd.DataFrame, agent: str, agents: list[str]) -> str:
    """Returns the numbers of the agents whose JCT is significantly longer, as ranges."""
    numbers = [
        number
        for number, other in enumerate(agents, start=1)
        if other != agent and paired_difference(by_seed[agent], by_seed[other]).high < 0.0
    ]
    if not numbers:
        return "–"
    breaks = np.flatnonzero(np.diff(numbers) > 1) + 1
    ranges = [(part[0], part[-1]) for part in np.split(np.array(numbers), breaks)]
    return ",".join(str(a) if a == b else f"{a}–{b}" for a, b in ranges)


def _short(value: float) -> str:
    if not np.isfinite(value):
        return "–"
    return f"{value:.2f}" if value < 99.995 else f"{value:.0f}"


def _signed(value: float) -> str:
    if not np.isfinite(value):
        return "–"
    return f"{value:+.1f}" if abs(value) < 9.95 else f"{value:+.0f}"
