"""Tables and numbers for the site and the README, from the summary files under docs/data/."""

import json
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

DATA = Path(__file__).resolve().parent / "data"
BASELINE, ORACLE = "fcfs", "sjf-oracle"
LINEAR = ("clinucb", "c2ucb")
NEURAL = ("cn-greedy", "cn-ducb", "neural-linear", "cn-ts")
BANDITS = (*LINEAR, *NEURAL)
OURS = ("predicted-sjf", "index", "index-aged", "warm-linear", "ppo")
FROZEN_TWIN = "warm-linear"  # which is predicted-sjf as long as it may not learn
INFORMED = (ORACLE, "oracle-placement")  # they know the true times


def read(name: str) -> pd.DataFrame:
    """Reads a summary file.

    Raises:
        FileNotFoundError: If its step has not been run; the step is named.
    """
    path = DATA / f"{name}.csv"
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing: python docs/rebuild.py makes it")
    return pd.read_csv(path)


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
    return _table([f"load {load:g}", *map(_short, means)], lines)


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
            mean += f"{br}({_difference(row, means.loc[BASELINE, row.load])})"
        cells[row.agent, row.load] = f"**{mean}**" if best[row.load] == row.agent else mean
    lines = [[agent, *(cells.get((agent, load), "–") for load in means)] for agent in agents]
    return _table([f"`{env_id}`", *(f"load {load:g}" for load in means)], lines)


def intervals(env_id: str) -> str:
    """Returns mean and 95th percentile of JCT by load, each with its interval."""
    table = read("schedulers")
    rows = table[table["env"] == env_id]
    loads = rows["load"].unique()
    order = rows[rows["load"] == loads[0]].sort_values("jct")["agent"]
    cells = {
        (row.agent, row.load): f"{_estimate(row.jct, row.jct_low, row.jct_high)}<br>"
        f"{_estimate(row.p95, row.p95_low, row.p95_high)}"
        for row in rows.itertuples()
    }
    lines = [[agent, *(cells.get((agent, load), "–") for load in loads)] for agent in order]
    return _table([f"`{env_id}`", *(f"load {load:g}" for load in loads)], lines)


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
            f"{_estimate(row.regret, row.low, row.high)}<br>{100 * row.share:z.0f} %"
            for row in mine.itertuples()
        ]
        lines.append([agent, *cells])
    return _table(["", "1st quarter", "2nd", "3rd", "4th"], lines)


def learned(_: str = "") -> str:
    """Returns mean JCT and prediction error of the long episodes."""
    lines = [
        [
            row.agent,
            _estimate(row.jct, row.jct_low, row.jct_high),
            "–" if np.isnan(row.prediction_error) else f"{row.prediction_error:.2f}",
        ]
        for row in read("learning").sort_values("jct").itertuples()
    ]
    return _table(["", "mean JCT (s)", "mean error of predicted times (s)"], lines)


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
    return _table(["test prompts", ""], lines)


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
    return _table(["", *(f"{_short(env_id)} {load:g}" for env_id, load in cells)], lines)


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
    return _table(["", "mean JCT", "p95", "p99", "longest wait"], lines)


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
    return _table(head, lines)


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
            texts.append(f"{_signed(mean)} % [{_signed(low)}, {_signed(high)}]")
        lines.append([f"{_short(env_id)} {load:g}", *texts])
    return _table([f"{agent}, against", *others], lines)


def _short(env_id: str) -> str:
    return env_id.removeprefix("EdgeCloud-").removesuffix("-v0")


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
        tables.append(f"`{env}`\n\n{_table(head, lines)}")
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
    return _table(["", *codes, "goal"], lines)


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
    return _table(head, lines, "llrlrr")


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
    return _table(head, lines)


def identities(name: str) -> str:
    """Returns how far the environments are from an identity."""
    compared = {"littles law": "episodes", "lanes": "numbers compared"}[name]
    table = read("identities")
    lines = [
        [f"`{row.env}`", f"{row.compared:,}", f"{row.largest_difference:.1g}"]
        for row in table[table["identity"] == name].itertuples()
    ]
    return _table(["environment", compared, "largest difference"], lines)


def engines(model: str) -> str:
    """Returns how well an engine model holds on what it was not fitted on, in per cent."""
    table = read("engines")
    lines = [
        [
            row.fitted_on,
            row.judged_on,
            *(
                "–" if pd.isna(value) else f"{value:+.1f}"
                for value in (row.e2e_mean, row.e2e_p99, row.ttft_mean, row.ttft_p50, row.tpot_mean)
            ),
            "–" if pd.isna(row.e2e_mape) else f"{row.e2e_mape:.1f}",
        ]
        for row in table[table["model"] == model].itertuples()
        if not row.fitted
    ]
    head = [
        "fitted on",
        "judged on",
        "E2E mean",
        "E2E p99",
        "TTFT mean",
        "TTFT p50",
        "TPOT mean",
        "MAPE",
    ]
    return _table(head, lines, "llrrrrrr")


def engine_peers(_: str = "") -> str:
    """Returns what other simulators say of themselves, in per cent."""
    lines = [
        [
            f"[{row.simulator}]({row.source})",
            row.server,
            row.judged_on,
            *(
                "–" if pd.isna(v) else f"{v:+.1f}"
                for v in (row.e2e_mean, row.ttft_mean, row.tpot_mean)
            ),
            *("–" if pd.isna(v) else f"{v:.1f}" for v in (row.e2e_mape, row.ttft_mape)),
        ]
        for row in read("engine_peers").itertuples()
    ]
    head = [
        "simulator",
        "server",
        "how",
        "E2E mean",
        "TTFT mean",
        "TPOT mean",
        "E2E MAPE",
        "TTFT MAPE",
    ]
    return _table(head, lines, "lllrrrrr")


def engine_list(_: str = "") -> str:
    """Returns the bundled engine models with their numbers."""
    from edgecloud_gym.engines import bundled_engines, load_engine

    lines = []
    for name in bundled_engines():
        model = load_engine(name)
        curve = "curve" if model.step_times else f"{1e3 * model.step_floor:.2f}"
        token = "–" if model.step_times else f"{1e6 * model.token_time:.1f}"
        cache = "–" if model.kv_tokens is None else f"{model.kv_tokens:,}"
        lines.append(
            [f"`{name}`", model.hardware, curve, token, f"{1e6 * model.context_time:.3f}",
             f"{model.sequences:,}", cache]
        )  # fmt: skip
    head = [
        "name",
        "hardware",
        "floor (ms)",
        "token (µs)",
        "cached token (µs)",
        "sequences",
        "cache (tokens)",
    ]
    return _table(head, lines, "llrrrrr")


def live(_: str = "") -> str:
    """Returns live and simulated times by agent, quickest live first, and the picture of them.

    Measured by ``python -m tests.agents.gateway.sim_to_real --publish docs``.
    """
    if not (DATA / "live.csv").exists():
        return "*Not measured with this version yet.*"
    table = read("live")
    lines = []
    for arrivals, rows in table.groupby("arrivals", sort=False):
        ranks = rows["jct_mean_sim"].rank().astype(int)
        for place, (index, row) in enumerate(rows.iterrows(), 1):
            cells = [arrivals, row["agent"]]
            for metric in ("jct_mean", "ttft_mean"):
                measured, simulated = row[f"{metric}_live"], row[f"{metric}_sim"]
                error = 100.0 * (simulated / measured - 1.0)
                cells += [f"{measured:.2f}", f"{simulated:.2f}", f"{error:+.0f} %"]
            lines.append([*cells, f"{place} / {ranks[index]}"])
    head = [
        "arrivals",
        "",
        "JCT live (s)",
        "simulated",
        "",
        "TTFT live (s)",
        "simulated",
        "",
        "rank",
    ]
    pairs = int(table["contradicted"].sum()) // 2
    said = (
        f"{table['requests'].iloc[0]} requests per agent at {table['rate'].iloc[0]:g}/s. Ranks are "
        f"live / simulated; pairs of agents that are ranked otherwise in simulation although they "
        f"differ live by more than the 95 % interval of their paired difference: {pairs}."
    )
    picture = "![Live and simulated times of each agent](assets/live.png)"
    return f"{_table(head, lines, 'llrrrrrrr')}\n\n{said}\n\n{picture}"


def gateway(_: str = "") -> str:
    """Returns what the gateway adds to a request, in ms.

    Measured by ``python -m tests.benchmarks.gateway --publish docs``.
    """
    if not (DATA / "gateway.csv").exists():
        return "*Not measured with this version yet.*"
    lines = [
        [
            row.agent,
            f"{row.what}, p{row.percentile}",
            f"{row.direct:.1f}",
            f"{row.gateway:.1f}",
            f"{row.added:+.1f}",
            "" if np.isnan(row.goal) else f"≤ {row.goal:g}",
        ]
        for row in read("gateway").itertuples()
    ]
    head = ["agent", "ms", "direct", "by the gateway", "added", "goal"]
    return _table(head, lines, "llrrrr")


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
    seeds = f"{_range(rows['seeds'])} seed" + ("" if rows["seeds"].max() == 1 else "s")
    return (
        f"{seeds}; episodes of {_range(rows['duration'])} s with {_range(rows['requests'])} "
        "requests on average"
    )


def _range(values: Iterable[float]) -> str:
    low, high = min(values), max(values)
    return f"{low:,.0f}" if round(low) == round(high) else f"{low:,.0f} to {high:,.0f}"


def _difference(row: object, baseline: float) -> str:
    """Returns a paired difference as a share of the baseline, with its interval."""
    names = ("jct_difference", "jct_difference_low", "jct_difference_high")
    mean, low, high = (100.0 * getattr(row, name) / baseline for name in names)
    return f"{_signed(mean)}% [{_signed(low)}, {_signed(high)}]"


def _signed(value: float) -> str:
    return f"{value:+z.1f}" if abs(value) < 9.95 else f"{value:+.0f}"


def _estimate(mean: float, low: float, high: float) -> str:
    return f"{mean:z.2f} [{low:z.2f}, {high:z.2f}]"


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
    return _table(head, lines, "l" * len(head))


def _table(head: Sequence[str], lines: Iterable[Sequence[str]], align: str = "") -> str:
    """Returns a Markdown table; its first column is aligned left, the others right by default."""
    rules = {"l": "---", "r": "--:"}
    rule = [rules[letter] for letter in align or "l".ljust(len(head), "r")]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [head, rule, *lines])
