"""Tables and numbers for the site of experiments, validation and speed, from docs/data/."""

import json
from functools import partial

import numpy as np
from writing import (
    BANDITS,
    BASELINE,
    DATA,
    LINEAR,
    NEURAL,
    ORACLE,
    estimate,
    markdown,
    read,
    share,
    span,
)


def schedulers(env_id: str, br: str = "<br>") -> str:
    """Returns mean JCTs by load with differences from FCFS, best over all loads first.

    Args:
        env_id: Which environment; its name heads the first column.
        br: What separates a mean from its difference in a cell.
    """
    table = read("schedulers")
    rows = table[table["env"] == env_id]
    means = rows.pivot_table(index="agent", columns="load", values="jct", sort=False)
    agents = np.log(means).mean(axis=1).sort_values().index  # geometric: no load outweighs
    best = {load: means[load].drop(index=ORACLE).idxmin() for load in means}
    cells = {}
    for row in rows.itertuples():
        mean = f"{row.jct:.2f}"
        if row.agent != BASELINE:
            mean += f"{br}({share(row, means.loc[BASELINE, row.load])})"
        cells[row.agent, row.load] = f"**{mean}**" if best[row.load] == row.agent else mean
    lines = [[agent, *(cells.get((agent, load), "–") for load in means)] for agent in agents]
    return markdown([f"`{env_id}`", *(f"load {load:g}" for load in means)], lines)


def intervals(env_id: str) -> str:
    """Returns mean and 95th percentile of JCT by load, each with its interval."""
    table = read("schedulers")
    rows = table[table["env"] == env_id]
    loads = rows["load"].unique()
    order = rows[rows["load"] == loads[0]].sort_values("jct")["agent"]
    cells = {
        (row.agent, row.load): f"{estimate(row.jct, row.jct_low, row.jct_high)}<br>"
        f"{estimate(row.p95, row.p95_low, row.p95_high)}"
        for row in rows.itertuples()
    }
    lines = [[agent, *(cells.get((agent, load), "–") for load in loads)] for agent in order]
    return markdown([f"`{env_id}`", *(f"load {load:g}" for load in loads)], lines)


def learning(oracle: str = "") -> str:
    """Returns regret per request by quarter of the long episodes, least in the last first.

    Args:
        oracle: The yardstick; sjf-oracle if it is empty.
    """
    table = read("learning_regret")
    against = oracle or ORACLE
    if "oracle" in table:  # a file of before there were two yardsticks has one
        table = table[table["oracle"] == against]
    rows = table[table["agent"] != against]
    last = rows[rows["quarter"] == rows["quarter"].max()].sort_values("regret")
    lines = []
    for agent in last["agent"]:
        mine = rows[rows["agent"] == agent].sort_values("quarter")
        cells = [
            f"{estimate(row.regret, row.low, row.high)}<br>{100 * row.share:z.0f} %"
            for row in mine.itertuples()
        ]
        lines.append([agent, *cells])
    return markdown(["", "1st quarter", "2nd", "3rd", "4th"], lines)


def learned(_: str = "") -> str:
    """Returns mean JCT and prediction error of the long episodes."""
    lines = [
        [
            row.agent,
            estimate(row.jct, row.jct_low, row.jct_high),
            "–" if np.isnan(row.prediction_error) else f"{row.prediction_error:.2f}",
        ]
        for row in read("learning").sort_values("jct").itertuples()
    ]
    return markdown(["", "mean JCT (s)", "mean error of predicted times (s)"], lines)


def predictor(which: str) -> str:
    """Returns the bundled predictor's scores on the test prompts, or one of the numbers."""
    table = read("predictor").set_index("name")["value"]
    if which == "requests":
        return f"{table['requests']:.0f}"
    if which == "again":
        return f"{100.0 * table['again']:.0f} %"
    groups = read("predictor_groups")
    fifths = ", ".join(f"{r.expected:.2f} / {r.observed:.2f}" for r in groups.itertuples())
    lines = [
        ["R² of log time", f"{table['r2']:.3f}"],
        [
            f"the most that is possible, by {table['repeated']:.0f} prompts",
            f"{table['ceiling']:.3f}",
        ],
        ["Kendall's τ of predicted and true times", f"{table['kendall']:.3f}"],
        ["pairs in the right order (concordance)", f"{table['concordance']:.3f}"],
        ["log score (nats; lower is better)", f"{table['log_score']:.3f}"],
        ["CRPS", f"{table['crps']:.3f} s"],
        ["mean expected by mean true time", f"{table['expected_ratio']:.3f}"],
        ["the same, by fifths of the expected time (s)", fifths],
        ["Kendall's τ of the answers' lengths", f"{table['tokens_kendall']:.3f}"],
    ]
    return markdown(["test prompts", ""], lines)


def paper(_: str = "") -> str:
    """Returns the paper's overload by both counts, best by the full one first."""
    rows = read("paper")
    tables = []
    for env, mine in rows.groupby("env", sort=False):
        completed = mine["jct_completed"].rank(method="min").astype(int)
        everyone = mine["jct_all"].rank(method="min").astype(int)
        lines = [
            [
                mine["agent"][i],
                f"{mine['jct_completed'][i]:.1f}",
                str(completed[i]),
                f"≥ {mine['jct_all'][i]:.1f}",
                str(everyone[i]),
                f"{mine['completed'][i]:,.0f}",
                f"{mine['unfinished'][i]:,.0f}",
            ]
            for i in mine["jct_all"].sort_values().index
        ]
        head = ["", "completed: JCT (s)", "rank", "all: JCT (s)", "rank", "completed", "unfinished"]
        tables.append(f"`{env}`\n\n{markdown(head, lines)}")
    return "\n\n".join(tables)


def speed(_: str = "") -> str:
    """Returns ratios to CartPole-v1, a column for each code that was measured."""
    rows = read("speed")
    codes = [name for name in rows.columns if name not in ("name", "goal")]
    lines = [
        [
            row["name"],
            *("–" if np.isnan(row[code]) else f"{row[code]:.3g}" for code in codes),
            "" if np.isnan(row["goal"]) else f"≥ {row['goal']:g}",
        ]
        for _, row in rows.iterrows()
    ]
    return markdown(["", *codes, "goal"], lines)


def closed_forms(_: str = "") -> str:
    """Returns exact and simulated means."""
    lines = [
        [
            row.model,
            row.service,
            f"{row.load:g}",
            row.quantity,
            f"{row.exact:.3f}",
            f"{row.simulated:.3f} [{row.low:.3f}, {row.high:.3f}]",
        ]
        for row in read("closed_forms").itertuples()
    ]
    head = ["system", "service times", "load", "mean of", "exact (s)", "simulated (s)"]
    return markdown(head, lines, "llrlrr")


def reference_traces(_: str = "") -> str:
    """Returns how far the simulator is from traces of the paper's code."""
    lines = [
        [
            row.agent,
            f"{row.edge_concurrency} / {row.edge_batch_capacity} / {row.cloud_concurrency}",
            f"{row.requests:,}",
            f"{row.same_node:,}",
            f"{row.largest_difference:g}",
        ]
        for row in read("reference_traces").itertuples()
    ]
    head = ["scheduler", "batches / K / cloud slots", "requests", "same node", "difference (s)"]
    return markdown(head, lines)


def identities(name: str) -> str:
    """Returns how far the environments are from an identity."""
    compared = {"littles law": "episodes", "lanes": "numbers compared"}[name]
    table = read("identities")
    lines = [
        [f"`{row.env}`", f"{row.compared:,}", f"{row.largest_difference:.1g}"]
        for row in table[table["identity"] == name].itertuples()
    ]
    return markdown(["environment", compared, "largest difference"], lines)


def versions(step: str) -> str:
    """Returns with what a step was run."""
    found = json.loads((DATA / "versions.json").read_text())[step]
    return ", ".join(f"{name} {number}" for name, number in found.items())


def count(query: str) -> str:
    """Returns a number that text states: see `COUNTS`."""
    return COUNTS[query]()


def _wins() -> str:
    table = read("schedulers")
    rows = table[table["agent"].isin(BANDITS)]
    return f"{int((rows['jct_difference_high'] < 0).sum())} of {len(rows)}"


def _tails(sign: int) -> str:
    table = read("schedulers")
    rows = table[table["agent"].isin(BANDITS)]
    edge = rows["p95_difference_high"] if sign < 0 else rows["p95_difference_low"]
    return f"{int((edge * sign > 0).sum())} of {len(rows)}"


def _within() -> str:
    rows = read("closed_forms")
    inside = (rows["low"] <= rows["exact"]) & (rows["exact"] <= rows["high"])
    return f"{int(inside.sum())} of {len(rows)}"


def _best_places() -> str:
    """Returns how often each agent has the lowest mean JCT of all that do not know the times."""
    table = read("schedulers")
    rows = table[table["agent"] != ORACLE]
    first = rows.loc[rows.groupby(["env", "load"])["jct"].idxmin(), "agent"].value_counts()
    return ", ".join(f"{agent} {number}" for agent, number in first.items())


def _neural_wins() -> str:
    rows = read("schedulers")
    highest = rows[rows["load"] == rows["load"].max()]
    means = highest.pivot_table(index="env", columns="agent", values="jct")
    pairs = [means[fast] < means[slow] for fast in NEURAL for slow in LINEAR]
    return f"{int(sum(pair.sum() for pair in pairs))} of {len(pairs) * len(means)}"


def _slower_than_fcfs() -> str:
    rows = read("schedulers")
    mine = rows[rows["agent"] == "historical-lrt"]
    return f"{int((mine['jct_difference_low'] > 0).sum())} of {len(mine)}"


def _lanes() -> str:
    rows = read("closed_forms")
    return f"{rows['lanes'].max()} of {rows['requests'].max():,} requests each"


COUNTS = {
    "best": _best_places,
    "lanes": _lanes,
    "lrt": _slower_than_fcfs,
    "longer tails": partial(_tails, 1),
    "neural": _neural_wins,
    "shorter tails": partial(_tails, -1),
    "wins": _wins,
    "within": _within,
}


def about(name: str) -> str:
    """Returns how many seeds and requests a summary rests on, and how long its episodes are."""
    rows = read(name)
    seeds = f"{span(rows['seeds'])} seed" + ("" if rows["seeds"].max() == 1 else "s")
    return (
        f"{seeds}; episodes of {span(rows['duration'])} s with {span(rows['requests'])} "
        "requests on average"
    )


def ecosystem(_: str = "") -> str:
    """Returns which library works with the environments in which form, and how."""
    table = read("ecosystem")
    forms = table.columns[2:]
    lines = []
    for library, rows in table.groupby("library", sort=False):
        cells = []
        for form in forms:
            by_way = rows.groupby(form, sort=False)["env"].agg(list)
            ways = [
                way if len(by_way) == 1 else f"{way} ({', '.join(e.split('-')[1] for e in envs)})"
                for way, envs in by_way.items()
            ]
            cells.append("; ".join(ways))
        lines.append([library, *cells])
    head = ["All four environments", *forms]
    return markdown(head, lines, "l" * len(head))
