"""The paper's experiment in tables: as its code counts, and with nobody left out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from agents.report.words import counted
from edgecloud_gym.files import replacing
from edgecloud_gym.fonts import any_script

if TYPE_CHECKING:
    import pandas as pd

PROPOSED: Final = "cn-ducb"  # the paper's own
COMPLETED, ALL = "jct_mean", "jct_mean_censored"


def paper_table(summary: pd.DataFrame) -> pd.DataFrame:
    """Returns a row per simulator and scheduler, means over the seeds, quickest first.

    Columns ``env``, ``agent``, ``seeds``, ``requests``, ``completed``, ``unfinished``,
    ``jct_completed`` (s): the mean over completed requests alone, which the paper's code reports,
    ``jct_all`` (s): the mean over all that arrived, the unfinished counted at their age, a lower
    bound, and the place of each scheduler by either.
    """
    columns = {
        "arrived": "requests",
        "completed": "completed",
        "unfinished": "unfinished",
        COMPLETED: "jct_completed",
        ALL: "jct_all",
    }
    runs = summary.groupby(["env", "agent"], sort=False)
    table = runs[list(columns)].mean().rename(columns=columns)
    table.insert(0, "seeds", runs["seed"].nunique())
    table = table.reset_index()
    for count in ("completed", "all"):
        ranks = table.groupby("env", sort=False)[f"jct_{count}"].rank(method="min")
        table[f"place_{count}"] = ranks.astype(int)
    order = {env: number for number, env in enumerate(dict.fromkeys(table["env"]))}
    return table.sort_values(
        ["env", "jct_all"], key=lambda c: c.map(order) if c.name == "env" else c
    ).reset_index(drop=True)


def lines_of(table: pd.DataFrame) -> Iterator[str]:
    """Yields what a reader should see: both counts side by side, and what they say."""
    for env, rows in table.groupby("env", sort=False):
        yield ""
        seeds = counted(int(rows["seeds"].iloc[0]), "seed")
        yield f"{env}: {rows['requests'].iloc[0]:,.0f} requests, {seeds}"
        yield f"{'':17}  {'completed requests alone':^24}   {'all that arrived':^30}"
        yield f"{'':17}  {'place':>5} {'JCT s':>8} {'number':>9}   {'place':>5} {'JCT s':>11} " + (
            f"{'unfinished':>12}"
        )
        for row in rows.itertuples():
            yield (
                f"{row.agent:17}  {row.place_completed:5} {row.jct_completed:8.1f} "
                f"{row.completed:9,.0f}   {row.place_all:5} {f'>= {row.jct_all:.1f}':>11} "
                f"{row.unfinished:12,.0f}"
            )
    yield ""
    yield from claims(table)


def claims(table: pd.DataFrame) -> Iterator[str]:
    """Yields the paper's claims, each with what was found."""
    places = [
        f"{rows['place_completed'].iloc[0]} and {rows['place_all'].iloc[0]} in {env}"
        for env, rows in table[table["agent"] == PROPOSED].groupby("env", sort=False)
    ]
    if places:
        yield (
            f"The paper: {PROPOSED} is the quickest. Here its places, by completed requests alone "
            f"and by all, are {', '.join(places)}."
        )
    for _, rows in table.groupby("env", sort=False):
        agents = rows["agent"].to_numpy()
        first = agents[rows["place_completed"].argmin()]
        fullest = agents[rows["place_all"].argmin()]
        if first != fullest:
            yield (
                f"{rows['env'].iloc[0]}: who leaves long requests waiting looks quick. {first} is "
                f"the quickest by what it completed, {fullest} by all."
            )


@any_script()
def draw_paper(table: pd.DataFrame, path: Path) -> None:
    """Draws both counts, a panel per simulator, and writes a PNG, complete or not at all."""
    from matplotlib.figure import Figure

    groups = list(table.groupby("env", sort=False))
    figure = Figure(figsize=(4.2 * len(groups) + 1, 3.6), layout="constrained")
    for axes, (env, rows) in zip(
        figure.subplots(1, len(groups), squeeze=False)[0], groups, strict=True
    ):
        places = range(len(rows))[::-1]
        axes.hlines(places, rows["jct_completed"], rows["jct_all"], color="0.8", zorder=1)
        axes.scatter(rows["jct_completed"], places, label="completed alone", marker="o")
        axes.scatter(rows["jct_all"], places, label="all that arrived", marker=">")
        axes.set(xscale="log", title=env, xlabel="mean JCT (s)")
        axes.set_yticks(places, rows["agent"])
    axes.legend(loc="lower right", fontsize="small")
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=120)
