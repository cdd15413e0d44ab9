"""Tables of regret: how much longer requests take than under who knows the true times."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agents.report.tables import JCT, NOTHING, TextTable, decimals_for, estimated
from agents.statistics import (
    ORACLE,
    Estimate,
    common_seeds,
    paired_difference,
    regret_over_time,
    values_by_seed,
    yardsticks,
)

if TYPE_CHECKING:
    import pandas as pd

QUARTERS: Final = ("1st quarter", "2nd", "3rd", "4th")


def regrets(rows: pd.DataFrame) -> TextTable | None:
    """Returns one scenario's regret per request against each yardstick that played.

    Args:
        rows: The summary's rows of one scenario.

    Returns:
        The agents as in `ranking`; per yardstick the mean over the seeds (s) of the paired
        difference of mean JCTs, with its interval. None where no yardstick played beside others, or
        requests were left unfinished: the regret of the finished alone would flatter.
    """
    rows = common_seeds(rows).rows
    means = rows.groupby("agent").mean(numeric_only=True).sort_values(JCT)
    agents = [str(agent) for agent in means.index]
    against = yardsticks(agents)
    if not against or len(agents) < 2 or means["unfinished"].any():
        return None
    by_seed = values_by_seed(rows, JCT)
    columns = {"agent": agents}
    for oracle in against:
        others = [agent for agent in agents if agent != oracle]
        found = {agent: paired_difference(by_seed[agent], by_seed[oracle]) for agent in others}
        decimals = decimals_for([max(abs(estimate.mean) for estimate in found.values())])
        cells = {agent: estimated(estimate, decimals) for agent, estimate in found.items()}
        columns[regret_title(oracle)] = [cells.get(agent, NOTHING) for agent in agents]
    return TextTable(columns)


def regret_title(oracle: str) -> str:
    """Returns the title of a column of regret."""
    return f"regret s ({oracle})"


def learning(requests: pd.DataFrame, baseline: str, oracle: str = ORACLE) -> TextTable:
    """Returns one scenario's regret per request by quarters of the episode.

    Args:
        requests: The scenario's rows of the request log.
        baseline: The agent of whose regret each cell gives the share as well, if it ran.
        oracle: Whom all are compared with.

    Returns:
        The agents but the oracle, least regret in the last quarter first; no row without it.
    """
    table = regret_over_time(requests, len(QUARTERS), oracle).set_index("agent")
    table = table.drop(index=oracle, errors="ignore")
    agents = table[table["window"] == len(QUARTERS) - 1].sort_values("regret").index
    columns = {"agent": [str(agent) for agent in agents]}
    # Regrets go down to 0 and below: the largest sets how exact they are.
    decimals = decimals_for([table["regret"].abs().max()] if len(table) else [])
    for window, title in enumerate(QUARTERS):
        # An episode of fewer requests than quarters leaves some of them empty.
        rows = table[table["window"] == window].reindex(agents)[["regret", "low", "high"]]
        cells = [estimated(Estimate(*row), decimals) for row in rows.to_numpy()]
        if baseline in agents and rows["regret"][baseline] > 0.0:
            shares = rows["regret"] / rows["regret"][baseline]
            cells = [f"{c}, {100 * s:z.0f}%" for c, s in zip(cells, shares, strict=True)]
        columns[title] = cells
    return TextTable(columns)
