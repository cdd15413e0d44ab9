"""Tables of the three protocols in nine cells: all agents, and ours against every other."""

import numpy as np
from writing import BANDITS, BASELINE, INFORMED, markdown, read, short, signed

OURS = ("predicted-sjf", "index", "index-aged", "warm-linear", "ppo")
FROZEN_TWIN = "warm-linear"  # which is predicted-sjf as long as it may not learn


def readme(load: float = 0.95, protocol: str = "new-frozen") -> str:
    """Returns the README's table, narrow enough for a terminal: one load, three environments."""
    table = read("protocols")
    rows = table[(table["protocol"] == protocol) & (table["load"] == load)]
    rows = rows[rows["agent"] != FROZEN_TWIN]
    means = rows.pivot_table(index="agent", columns="env", values="jct", sort=False)
    agents = np.log(means).mean(axis=1).sort_values().index
    best = {env_id: means[env_id].drop(index=list(INFORMED)).idxmin() for env_id in means}
    cells = {}
    for row in rows.itertuples():
        change = 100.0 * (row.jct / means.loc[BASELINE, row.env] - 1.0)
        cell = f"{row.jct:.2f}" + ("" if row.agent == BASELINE else f" ({change:+.0f}%)")
        cells[row.agent, row.env] = f"**{cell}**" if best[row.env] == row.agent else cell
    lines = [[agent, *(cells[agent, env_id] for env_id in means)] for agent in agents]
    return markdown([f"load {load:g}", *map(short, means)], lines)


def protocols(name: str) -> str:
    """Returns mean JCTs of a protocol in its nine cells, best first by their geometric mean.

    Args:
        name: The protocol: a group of the benchmark suite.
    """
    return _in_nine(name, "jct")


def tails(name: str) -> str:
    """Returns 95th percentiles of a protocol in its nine cells, in the order of the means."""
    return _in_nine(name, "p95", bold=False)


def _in_nine(protocol: str, value: str, bold: bool = True) -> str:
    table = read("protocols")
    rows = table[table["protocol"] == protocol]
    cells = list(dict.fromkeys(zip(rows["env"], rows["load"], strict=True)))
    means = rows.pivot_table(index="agent", columns=["env", "load"], values="jct")[cells]
    shown = rows.pivot_table(index="agent", columns=["env", "load"], values=value)[cells]
    agents = np.log(means).mean(axis=1).sort_values().index
    fair = shown.drop(index=list(INFORMED))
    best = {cell: fair[cell].idxmin() for cell in cells if bold}
    lines = []
    for agent in agents:
        numbers = [(cell, f"{shown.loc[agent, cell]:.2f}") for cell in cells]
        lines.append(
            [agent, *(f"**{text}**" if best.get(cell) == agent else text for cell, text in numbers)]
        )
    return markdown(["", *(f"{short(env_id)} {load:g}" for env_id, load in cells)], lines)


def verdicts(protocol: str) -> str:
    """Returns in how many of nine cells our agents are better than every bandit, and by what."""
    pairs = read("protocol_pairs")
    pairs = pairs[(pairs["protocol"] == protocol) & pairs["other"].isin(BANDITS)]
    means = read("protocols")
    means = means[means["protocol"] == protocol]
    p95 = means.pivot_table(index=["env", "load"], columns="agent", values="p95")
    lines = []
    for agent in OURS:
        mine = pairs[pairs["agent"] == agent].groupby(["env", "load"])
        lines.append(
            [
                agent,
                f"{int((mine['difference'].max() < 0).sum())}",
                f"{int((mine['difference_high'].max() < 0).sum())}",
                f"{int((p95[agent] <= p95[BASELINE]).sum())}",
            ]
        )
    head = [
        "of nine cells",
        "mean JCT below every bandit's",
        "all intervals exclude 0",
        "p95 not above FCFS's",
    ]
    return markdown(head, lines)


def against(query: str) -> str:
    """Returns how an agent's mean JCT differs from others', as shares of theirs, by cell.

    Args:
        query: Protocol, agent and the others, separated by spaces.
    """
    protocol, agent, *others = query.split()
    pairs = read("protocol_pairs")
    pairs = pairs[(pairs["protocol"] == protocol) & (pairs["agent"] == agent)]
    table = read("protocols")
    means = table[table["protocol"] == protocol].set_index(["env", "load", "agent"])["jct"]
    lines = []
    for (env_id, load), cell in pairs.groupby(["env", "load"], sort=False):
        rows = cell.set_index("other")
        texts = []
        for other in others:
            unit = means[env_id, load, other]
            names = ("difference", "difference_low", "difference_high")
            mean, low, high = (100.0 * rows.loc[other, name] / unit for name in names)
            texts.append(f"{signed(mean)} % [{signed(low)}, {signed(high)}]")
        lines.append([f"{short(env_id)} {load:g}", *texts])
    return markdown([f"{agent}, against", *others], lines)


def boosts(_: str = "") -> str:
    """Returns orders of the queue as ratios to shortest predicted first, over the nine cells."""
    table = read("boosts")
    metrics = ["mean", "p95", "p99", "wait"]
    cells = table.set_index(["env", "load", "agent"])[metrics]
    ratios = cells / cells.xs("predicted-sjf", level="agent")
    means = np.exp(np.log(ratios).groupby("agent", sort=False).mean())
    lines = [
        [agent, *(f"{value:.2f}" for value in means.loc[agent])]
        for agent in dict.fromkeys(table["agent"])
    ]
    return markdown(["", "mean JCT", "p95", "p99", "longest wait"], lines)
