"""Results as tables for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import numpy as np
from rich import box
from rich.table import Table

from agents.statistics import (
    FEWEST,
    ORACLE,
    bootstrap_mean,
    interquartile_mean,
    paired_difference,
    regret_over_time,
)

if TYPE_CHECKING:
    import pandas as pd

QUARTERS: Final = ("1st quarter", "2nd", "3rd", "4th")
SWEEP_LEGEND: Final = """\
Mean job completion time (s) over the seeds; in parentheses the difference from the baseline, paired
seed by seed, with its 95 % bootstrap interval."""
LEARNING_LEGEND: Final = """\
Regret per request (s): JCT less the JCT of the same request under sjf-oracle, in each quarter of
the requests in order of arrival, with its 95 % bootstrap interval over the seeds and its share of
the baseline's. An episode begins with an empty queue, where nobody has regrets: what is learnt
shows in the share before it shows in the seconds."""
CENSORED: Final = "jct_mean_censored"  # equal to the plain mean where every request was finished


def legend(summary: pd.DataFrame, wide: bool = False) -> str:
    """Returns what readers of `ranking` need to know.

    Args:
        summary: The rows of all scenarios.
        wide: As the table is.
    """
    lines = [
        "JCT: mean job completion time over the seeds, with its 95 % bootstrap interval.",
        "vs: difference paired seed by seed. beats: the agents whom this one is faster",
        "than by a paired interval that excludes 0.",
    ]
    if wide:
        lines.append("IQM: interquartile mean of the seeds' mean JCTs.")
        lines.append("error: mean |predicted - true| time.")
    if summary["seed"].nunique() < FEWEST:
        lines.append(f"Intervals, and who beats whom, need {FEWEST} seeds.")
    if summary["unfinished"].any():
        lines.append("Unfinished requests count with their age: JCT and p95 are lower bounds.")
    return "\n".join(lines)


def ranking(summary: pd.DataFrame, baseline: str, wide: bool = False) -> dict[str, list[str]]:
    """Returns one scenario's agents, best first, as columns of text.

    Args:
        summary: The rows of one scenario.
        baseline: The agent whom the others are compared with; left out if it did not run.
        wide: Whether there is room for more: the interquartile mean over seeds, and the mean
            absolute error of the predicted times.

    Returns:
        Mean JCT with its interval, the 95th percentile of JCT, what ``wide`` adds, the paired
        difference from the baseline as a share of its JCT, the share of requests served by the
        cloud (or, where there are any, the number of unfinished requests), and by number the agents
        whom each beats: the paired interval of the difference lies below 0.
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
    if wide:
        columns["IQM s"] = [_short(interquartile_mean(by_seed[agent])) for agent in agents]
        columns["error s"] = [_short(value) for value in means["prediction_error_mean"]]
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


def sweep(
    summary: pd.DataFrame, loads: Mapping[str, float], baseline: str
) -> tuple[dict[str, list[str]], dict[str, str]]:
    """Returns one environment's mean JCTs at several loads, as columns of text.

    Args:
        summary: The rows of its scenarios, and perhaps of others.
        loads: The load of each of its scenarios, by label.
        baseline: The agent whom the others are compared with.

    Returns:
        The agents, best over all loads first, and for each load the mean JCT (s) with the paired
        difference from the baseline in parentheses; and the best agent at each load, by the title
        of the column, the oracle left out of account.
    """
    mine = summary[summary["env"].isin(loads)]
    means = mine.pivot_table(index="agent", columns="env", values=CENSORED, sort=False)
    # Geometric, so that no load outweighs the others.
    agents = [str(agent) for agent in np.log(means).mean(axis=1).sort_values().index]
    columns = {"agent": agents}
    best = {}
    for label, load in sorted(loads.items(), key=lambda item: item[1]):
        rows = mine[mine["env"] == label]
        by_seed = rows.pivot_table(index="seed", columns="agent", values=CENSORED, dropna=False)
        title = f"load {load:g}"
        columns[title] = [_compared(by_seed, agent, baseline) for agent in agents]
        best[title] = str(means[label].drop(index=ORACLE, errors="ignore").idxmin())
    return columns, best


def _compared(by_seed: pd.DataFrame, agent: str, baseline: str) -> str:
    if agent not in by_seed:
        return "–"
    mean = _short(by_seed[agent].mean())
    if baseline not in by_seed or agent == baseline:
        return mean
    return f"{mean} ({_difference(by_seed, agent, baseline)})"


def learning(requests: pd.DataFrame, baseline: str) -> dict[str, list[str]]:
    """Returns one scenario's regret per request by quarters of the episode, as columns of text.

    Args:
        requests: The scenario's rows of the request log.
        baseline: The agent of whose regret each cell gives the share as well, if it ran.

    Returns:
        The agents but the oracle, least regret in the last quarter first; no row without it.
    """
    table = regret_over_time(requests, len(QUARTERS)).set_index("agent")
    table = table.drop(index=ORACLE, errors="ignore")
    agents = table[table["window"] == len(QUARTERS) - 1].sort_values("regret").index
    columns = {"agent": [str(agent) for agent in agents]}
    for window, title in enumerate(QUARTERS):
        # An episode of fewer requests than quarters leaves some of them empty.
        rows = table[table["window"] == window].reindex(agents)[["regret", "low", "high"]]
        cells = [_estimate(*row) for row in rows.to_numpy()]
        if baseline in agents and rows["regret"][baseline] > 0.0:
            shares = rows["regret"] / rows["regret"][baseline]
            cells = [f"{c}, {100 * s:z.0f}%" for c, s in zip(cells, shares, strict=True)]
        columns[title] = cells
    return columns


def _interval(values: pd.Series[float]) -> str:
    return _estimate(*bootstrap_mean(values))


def _estimate(mean: float, low: float, high: float) -> str:
    return f"{_short(mean)} [{_short(low)}, {_short(high)}]" if np.isfinite(low) else _short(mean)


def _difference(by_seed: pd.DataFrame, agent: str, baseline: str) -> str:
    if agent == baseline:
        return "–"
    difference = paired_difference(by_seed[agent], by_seed[baseline])
    mean, low, high = (100.0 * x / by_seed[baseline].mean() for x in difference)
    interval = f" [{_signed(low)}, {_signed(high)}]" if np.isfinite(low) else ""
    return f"{_signed(mean)}%{interval}"


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
    return f"{value:z.2f}" if value < 99.995 else f"{value:.0f}"


def _signed(value: float) -> str:
    if not np.isfinite(value):
        return "–"
    return f"{value:+z.1f}" if abs(value) < 9.95 else f"{value:+.0f}"
