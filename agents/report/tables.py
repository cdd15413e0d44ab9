"""Results as columns of text, for whatever shows them: terminal, Markdown, HTML.

Every table compares the agents on the seeds that all of them finished (`common_seeds`), and marks
the best one by the same rule: the lowest mean JCT of those that do not know the true times.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from agents.statistics import (
    ORACLES,
    Estimate,
    bootstrap_mean,
    common_seeds,
    interquartile_mean,
    paired_difference,
    values_by_seed,
)

if TYPE_CHECKING:
    import pandas as pd

JCT: Final = "jct_mean_censored"  # equal to the plain mean where every request was finished
TAILS: Final = {"p95": "jct_p95_censored", "p99": "jct_p99_censored"}
NOTHING: Final = "–"
_LONG: Final = 12  # characters of a baseline's label that still go into a title
_EQUAL: Final = 1e-9  # relative difference of means that are taken for the same
_FIGURES: Final = 3  # significant digits of the smallest number of a column


@dataclass(frozen=True)
class TextTable:
    """Columns of text of equal length, one row per agent.

    Attributes:
        columns: The cells of each column, by its title.
        best: The cells that belong to the best agent: row and title.
    """

    columns: Mapping[str, Sequence[str]]
    best: frozenset[tuple[int, str]] = field(default=frozenset())

    def only(self, titles: Sequence[str]) -> TextTable:
        """Returns the table with some of its columns."""
        return TextTable({title: self.columns[title] for title in titles}, self.best)

    @property
    def rows(self) -> list[tuple[str, ...]]:
        """The cells row by row."""
        return list(zip(*self.columns.values(), strict=True))


def ranking(rows: pd.DataFrame, baseline: str, *, wide: bool = False) -> TextTable:
    """Returns one scenario's agents, best first.

    Args:
        rows: The summary's rows of one scenario.
        baseline: The agent whom the others are compared with; left out if it did not run.
        wide: Whether there is room for more: the interquartile mean over seeds, the mean absolute
            error of the predicted times, goodput.

    Returns:
        The number of seeds, mean JCT with its interval, the paired difference from the baseline as
        a share of its JCT, the share of requests in time if there is an objective, the share served
        by the cloud or, where there are any, the number of unfinished requests, what ``wide`` adds,
        and by number the agents whom each beats: the paired interval of the difference lies below
        0.
    """
    rows = common_seeds(rows).rows
    by_seed = values_by_seed(rows, JCT)
    means = rows.groupby("agent").mean(numeric_only=True).sort_values(JCT)
    agents = [str(agent) for agent in means.index]
    columns = {
        "#": [str(number) for number in range(1, len(agents) + 1)],
        "agent": agents,
        "n": [str(len(by_seed))] * len(agents),
        "JCT s": intervals(by_seed, agents),
    }
    if baseline in by_seed:
        columns[versus(baseline)] = [_difference(by_seed, agent, baseline) for agent in agents]
    if known(means, "slo_attainment"):
        columns["in time"] = [_percent(value) for value in means["slo_attainment"]]
        if wide:
            columns["goodput /s"] = numbers(means["goodput"])
    columns["cloud"] = [_percent(value) for value in means["offload_rate"]]
    if means["unfinished"].any():
        del columns["cloud"]
        columns["unfinished"] = [f"{value:,.0f}" for value in means["unfinished"]]
    if wide:
        columns["IQM s"] = numbers([interquartile_mean(by_seed[agent]) for agent in agents])
        if known(means, "prediction_error_mean"):
            columns["error s"] = _errors(means)
    columns["beats"] = [_beaten(by_seed, agent, agents) for agent in agents]
    best = best_of(means[JCT])
    return TextTable(columns, frozenset((agents.index(a), t) for a in best for t in columns))


def tails(rows: pd.DataFrame, baseline: str) -> TextTable:
    """Returns one scenario's 95th and 99th percentiles of JCT, agents as in `ranking`.

    Args:
        rows: The summary's rows of one scenario.
        baseline: The agent whom the others are compared with; left out if it did not run.

    Returns:
        Per percentile, its mean over the seeds with its interval, and the paired difference from
        the baseline as a share of the baseline's.
    """
    rows = common_seeds(rows).rows
    means = rows.groupby("agent").mean(numeric_only=True).sort_values(JCT)
    agents = [str(agent) for agent in means.index]
    columns: dict[str, list[str]] = {"agent": agents}
    best = set()
    for name, metric in TAILS.items():
        by_seed = values_by_seed(rows, metric)
        columns[f"{name} s"] = intervals(by_seed, agents)
        if baseline in by_seed:
            title = f"{name} {versus(baseline)}"
            columns[title] = [_difference(by_seed, agent, baseline) for agent in agents]
        best |= {(agents.index(agent), f"{name} s") for agent in best_of(means[metric])}
    return TextTable(columns, frozenset(best))


def sweep(
    summary: pd.DataFrame, loads: Mapping[str, float], baseline: str, metric: str = JCT
) -> TextTable:
    """Returns a metric of one environment at several loads.

    Args:
        summary: The rows of its scenarios, and perhaps of others.
        loads: The load of each of its scenarios, by label.
        baseline: The agent whom the others are compared with.
        metric: A JCT, s.

    Returns:
        The agents, best over all loads first, those without a run at some load last; for each load
        the mean over seeds (s) with the paired difference from the baseline in parentheses.
    """
    by_load = {
        load: values_by_seed(common_seeds(summary[summary["env"] == label]).rows, metric)
        for label, load in sorted(loads.items(), key=lambda item: item[1])
    }
    everyone = dict.fromkeys(str(a) for a in summary.loc[summary["env"].isin(loads), "agent"])
    agents = sorted(everyone, key=lambda agent: _place(agent, list(by_load.values())))
    columns: dict[str, list[str]] = {"agent": agents}
    best = set()
    for load, by_seed in by_load.items():
        title = f"load {load:g}"
        means = by_seed.mean()
        shown = dict(zip(means.index, numbers(means), strict=True))
        columns[title] = [_compared(shown, by_seed, agent, baseline) for agent in agents]
        best |= {(agents.index(agent), title) for agent in best_of(means)}
    return TextTable(columns, frozenset(best))


def _place(agent: str, tables: Sequence[pd.DataFrame]) -> tuple[int, float]:
    """Returns what agents are sorted by: loads lacking, then how they compare over the others."""
    # Geometric, so that no load outweighs the others.
    shares = [
        float(np.log(table[agent].mean() / np.exp(np.log(table.mean()).mean())))
        for table in tables
        if agent in table
    ]
    return len(tables) - len(shares), float(np.mean(shares)) if shares else np.inf


def _compared(shown: Mapping[str, str], by_seed: pd.DataFrame, agent: str, baseline: str) -> str:
    if agent not in by_seed:
        return NOTHING
    if baseline not in by_seed or agent == baseline:
        return shown[agent]
    return f"{shown[agent]} ({_difference(by_seed, agent, baseline)})"


def versus(baseline: str) -> str:
    """Returns the title of a column of differences; a long label is left to the notes."""
    return f"vs {baseline}" if len(baseline) <= _LONG else "vs baseline"


def numbers(values: Iterable[float]) -> list[str]:
    """Returns numbers with equal decimals, so many that the smallest has three digits.

    >>> numbers([0.1712, 0.1688, 2.5])
    ['0.171', '0.169', '2.500']
    >>> numbers([263.6, 1204.2, float("nan")])
    ['264', '1204', '–']
    """
    found = [float(value) for value in values]
    decimals = decimals_for(found)
    return [_number(value, decimals) for value in found]


def decimals_for(values: Iterable[float]) -> int:
    """Returns the decimals with which the smallest of some numbers has three digits."""
    sizes = [value for value in values if np.isfinite(value) and value > 0.0]
    if not sizes:
        return 2
    return int(np.clip(_FIGURES - 1 - np.floor(np.log10(min(sizes))), 0, 9))


def _number(value: float, decimals: int) -> str:
    return NOTHING if np.isnan(value) else f"{value:z.{decimals}f}"


def intervals(by_seed: pd.DataFrame, agents: Sequence[str]) -> list[str]:
    """Returns means over the seeds with their bootstrap intervals."""
    estimates = [bootstrap_mean(by_seed[agent]) for agent in agents]
    decimals = decimals_for([estimate.mean for estimate in estimates])
    return [estimated(estimate, decimals) for estimate in estimates]


def estimated(estimate: Estimate, decimals: int) -> str:
    """Returns a mean with its interval, if it has one."""
    mean, low, high = (_number(value, decimals) for value in estimate)
    return f"{mean} [{low}, {high}]" if np.isfinite(estimate.low) else mean


def _difference(by_seed: pd.DataFrame, agent: str, baseline: str) -> str:
    if agent == baseline:
        return NOTHING
    difference = paired_difference(by_seed[agent], by_seed[baseline])
    mean, low, high = (100.0 * x / by_seed[baseline].mean() for x in difference)
    interval = f" [{_signed(low)}, {_signed(high)}]" if np.isfinite(low) else ""
    return f"{_signed(mean)}%{interval}"


def _signed(value: float) -> str:
    if not np.isfinite(value):
        return NOTHING
    return f"{value:+z.1f}" if abs(value) < 9.95 else f"{value:+.0f}"


def _percent(share: float) -> str:
    return f"{100 * share:.0f}%" if np.isfinite(share) else NOTHING


def _errors(means: pd.DataFrame) -> list[str]:
    """Returns prediction errors, with the share of requests that they cover where it is not all."""
    shown = numbers(means["prediction_error_mean"])
    shares = means["predictions"] / means["completed"]
    return [
        f"{error} ({_percent(share)})" if error != NOTHING and share < 0.995 else error
        for error, share in zip(shown, shares, strict=True)
    ]


def _beaten(by_seed: pd.DataFrame, agent: str, agents: Sequence[str]) -> str:
    """Returns the numbers of the agents whose JCT is significantly longer, as ranges."""
    found = [
        number
        for number, other in enumerate(agents, start=1)
        if other != agent and paired_difference(by_seed[agent], by_seed[other]).high < 0.0
    ]
    if not found:
        return NOTHING
    breaks = np.flatnonzero(np.diff(found) > 1) + 1
    ranges = [(part[0], part[-1]) for part in np.split(np.array(found), breaks)]
    return ",".join(str(a) if a == b else f"{a}–{b}" for a, b in ranges)


def best_of(means: pd.Series[Any]) -> list[str]:
    """Returns the agents of the lowest mean, several if equal, oracles left out of account."""
    others = means.drop(index=[*ORACLES], errors="ignore").dropna()
    # Sums of the same times in another order differ in their last digits.
    equal = others[np.isclose(others, others.min(), rtol=_EQUAL, atol=0.0)]
    return [str(agent) for agent in equal.index]


def known(means: pd.DataFrame, name: str) -> bool:
    """Tells whether any agent has a metric."""
    return name in means and bool(means[name].notna().any())
