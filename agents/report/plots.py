"""The pictures of an experiment: one row per scenario, and JCT against load."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from agents.report.figures import (
    CHARACTER,
    FOLD,
    LINE,
    figure_with_legend,
    folded,
    keep_plain,
    longest_line,
    most_lines,
    scale,
    scale_symmetrically,
)
from agents.report.legends import objective
from agents.report.results import PLOT, SWEEP_PLOT, TOKEN_PLOT, Results, sweeps
from agents.report.sections import comparable, facts, regret_rows
from agents.report.styles import Style, styles
from agents.report.tables import JCT
from agents.report.token_plots import draw_tokens, knows_tokens
from agents.statistics import (
    CommonSeeds,
    bootstrap_mean,
    common_seeds,
    regret,
    values_by_seed,
    yardsticks,
)

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

_LOW, _HIGH = 5, 95  # percentiles at the ends of a box's whiskers
_PANEL: Final = 4.6  # inches


def draw_all(results: Results, folder: Path) -> list[Path]:
    """Draws what there is to draw into a folder; returns the pictures."""
    drawn = []
    scenarios = _comparable(results)
    if any(len(common.seeds) for common in scenarios.values()):
        draw_experiment(results, folder / PLOT)
        drawn.append(folder / PLOT)
        if sweeps(results.record):
            draw_load_sweep(results, folder / SWEEP_PLOT)
            drawn.append(folder / SWEEP_PLOT)
        with_tokens = {label: c for label, c in scenarios.items() if knows_tokens(c)}
        if with_tokens:
            draw_tokens(with_tokens, folder / TOKEN_PLOT)
            drawn.append(folder / TOKEN_PLOT)
    return drawn


def draw_experiment(results: Results, path: Path) -> None:
    """Draws JCT distributions, queue lengths over time and regret, and writes a PNG.

    Args:
        results: An experiment in which requests arrived.
        path: The file, complete or absent.
    """
    scenarios = {label: common for label, common in _comparable(results).items() if common.seeds}
    look = styles(dict.fromkeys(str(agent) for agent in results.summary["agent"]))
    regrets = regret_rows(results)
    against = {label: yardsticks(rows["agent"].unique()) for label, rows in regrets.items()}
    columns = 2 + max(map(len, against.values()), default=0)
    tallest = max(common.rows["agent"].nunique() for common in scenarios.values())
    height = max(3.2, 1.2 + max(0.27, LINE * most_lines(look)) * tallest)
    width = _PANEL * (columns + 0.3) + CHARACTER * max(0, longest_line(look) - FOLD)
    with figure_with_legend(width, height * len(scenarios), look, path) as figure:
        ratios = [1.3, *[1.0] * (columns - 1)]  # the first has labels and counts beside it
        axes = figure.subplots(len(scenarios), columns, squeeze=False, width_ratios=ratios)
        for row, (label, common) in zip(axes, scenarios.items(), strict=True):
            slo = _objective_of(results, label)
            draw_jct(row[0], common.of(results.jcts(label)), common.rows, look, slo)
            keep_plain(row[0].set_title(folded(label, 46), loc="left", fontweight="bold"))
            series = results.timeseries[results.timeseries["env"] == label]
            draw_queue(row[1], common.of(series), look)
            keep_plain(row[1].set_title(_who_is_drawn(common), loc="left", fontsize="small"))
            compared = against.get(label, [])
            for axis, oracle in zip(row[2:], compared, strict=False):
                draw_regret(axis, regrets[label], look, oracle)
            for axis in row[2 + len(compared) :]:
                axis.set_axis_off()


def draw_load_sweep(results: Results, path: Path) -> None:
    """Draws mean JCT against load, with 95 % intervals over seeds, and writes a PNG.

    Args:
        results: An experiment of several loads.
        path: The file, complete or absent.
    """
    swept = sweeps(results.record)
    summary = results.summary
    look = styles(dict.fromkeys(str(agent) for agent in summary["agent"]))
    metrics = {JCT: "mean job completion time (s)"}
    if "slo_attainment" in summary and summary["slo_attainment"].notna().any():
        metrics["slo_attainment"] = "share of requests in time"
    runs = _comparable(results)
    with figure_with_legend(_PANEL * len(swept), 3.4 * len(metrics), look, path) as figure:
        axes = figure.subplots(len(metrics), len(swept), squeeze=False)
        for row, (metric, title) in zip(axes, metrics.items(), strict=True):
            drawn = [
                _draw_sweep(axis, summary, loads, look, metric)
                for axis, loads in zip(row, swept.values(), strict=True)
            ]
            widest = max(drawn, key=lambda means: max(means) / max(min(means), 1e-9))
            for axis in row:
                axis.grid(alpha=0.3, which="both")
                if metric == JCT:
                    scale(axis, "y", widest)  # logarithmic in all panels or in none
            row[0].set_ylabel(title)
        for axis, env_id in zip(axes[0], swept, strict=True):
            axis.set_title(env_id, loc="left", fontweight="bold")
        for axis, loads in zip(axes[-1], swept.values(), strict=True):
            keep_plain(axis.xaxis.label)
            axis.set_xlabel("\n".join(["load (share of capacity)", *_failed(loads, runs)]))


def _draw_sweep(
    axes: Axes,
    summary: pd.DataFrame,
    loads: Mapping[str, float],
    look: Mapping[str, Style],
    metric: str,
) -> list[float]:
    """Draws one environment's means of a metric over the seeds; returns them."""
    by_load = {
        load: values_by_seed(common_seeds(summary[summary["env"] == label]).rows, metric)
        for label, load in sorted(loads.items(), key=lambda item: item[1])
    }
    closest = min(np.diff(list(by_load)))
    # Side by side, so that the intervals of agents that are level can be told apart.
    steps = closest * (np.linspace(-0.08, 0.08, len(look)) if len(look) > 1 else np.zeros(1))
    for step, (agent, style) in zip(steps, look.items(), strict=True):
        points = [
            (load + step, *bootstrap_mean(by_seed[agent]))
            for load, by_seed in by_load.items()
            if agent in by_seed
        ]
        if points:
            x, mean, low, high = np.array(points).T
            spread = np.nan_to_num([mean - low, high - mean])
            axes.errorbar(
                x, mean, spread, capsize=2, markersize=4.5, linewidth=1.2, **style._asdict()
            )
    axes.set_xticks(list(by_load))
    return [float(value) for table in by_load.values() for value in table.mean()]


def draw_jct(
    axes: Axes,
    requests: pd.DataFrame,
    rows: pd.DataFrame,
    look: Mapping[str, Style],
    slo: float | None = None,
) -> None:
    """Draws each agent's JCTs over all seeds: box, 5th to 95th percentile, mean; best on top.

    Args:
        axes: Where.
        requests: The scenario's request log.
        rows: The scenario's rows of the summary.
        look: How each agent is drawn.
        slo: Objective on the JCT (s).
    """
    means = rows.groupby("agent").mean(numeric_only=True).sort_values(JCT, ascending=False)
    order = [str(agent) for agent in means.index]
    by_agent = {
        str(name): part["jct"].dropna() for name, part in requests.groupby("agent", observed=True)
    }
    boxes = axes.boxplot(
        [by_agent[name].to_numpy() for name in order],
        orientation="horizontal",
        widths=0.6,
        whis=(_LOW, _HIGH),
        showfliers=False,
        showmeans=True,
        meanprops={"marker": "D", "markerfacecolor": "white", "markeredgecolor": "black"},
        medianprops={"color": "black"},
        patch_artist=True,
    )
    for box, name in zip(boxes["boxes"], order, strict=True):
        box.set(facecolor=look[name].color, alpha=0.75)
    axes.set_yticks(range(1, len(order) + 1), [folded(name) for name in order])
    for tick in axes.get_yticklabels():
        keep_plain(tick)
    ends = [np.percentile(part, (_LOW, _HIGH)) for part in by_agent.values() if len(part)]
    what = ["job completion time (s): 5–95 %, quartiles, ◇ mean"]
    beside = [""] * len(order)
    if means["unfinished"].any():
        below = np.arange(1, len(order) + 1) - 0.2  # of the other mean, not on it
        axes.plot(means[JCT], below, "kD", markersize=5)
        ends.append(means[JCT].to_numpy())
        what[0] += ","
        what.append("of the completed; ◆ mean with the unfinished")
        what.append("at their age, a lower bound")
        beside = [f"{count:,.0f} unfinished" for count in means["unfinished"]]
    if slo is not None:
        axes.axvline(slo, color="black", linewidth=1.0, linestyle=":")
        what.append(f"┈ objective {slo:g} s, and the share in time")
        shares = [f"{100 * share:.0f} %" for share in means["slo_attainment"]]
        beside = [", ".join(filter(None, pair)) for pair in zip(shares, beside, strict=True)]
    for place, text in enumerate(beside, start=1):
        axes.text(
            1.01, place, text, transform=axes.get_yaxis_transform(), va="center", fontsize="small"
        )
    scale(axes, "x", np.concatenate(ends).tolist() if ends else [])
    axes.set_xlabel("\n".join(what))
    axes.grid(axis="x", alpha=0.3)


def draw_queue(axes: Axes, timeseries: pd.DataFrame, look: Mapping[str, Style]) -> None:
    """Draws the queue length over time, the mean over seeds."""
    for agent, mine in timeseries.groupby("agent", sort=False):
        table = mine.pivot_table(index="timestamp", columns="seed", values="queue_length")
        series = table.fillna(0.0).mean(axis=1)  # an episode that has ended has no queue
        # A running mean over a fortieth of the episode: single arrivals are noise here.
        width = max(1, len(series) // 40)
        smooth = series.rolling(width, center=True, min_periods=1).mean()
        _line(axes, smooth.index, smooth, look[str(agent)])
    scale_symmetrically(axes, linear_below=10.0)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("time (s)")
    axes.set_ylabel("waiting requests")
    axes.grid(alpha=0.3)


def draw_regret(axes: Axes, requests: pd.DataFrame, look: Mapping[str, Style], oracle: str) -> None:
    """Draws regret against an oracle, summed over the requests so far, the mean over seeds."""
    for agent, mine in regret(requests, oracle).groupby("agent", sort=False, observed=True):
        if agent == oracle:
            continue
        by_seed = mine.pivot_table(index="request_id", columns="seed", values="regret")
        total = by_seed.cumsum().mean(axis=1, skipna=False).dropna()
        _line(axes, total.index, total, look[str(agent)])
    scale_symmetrically(axes, linear_below=100.0)
    axes.axhline(0.0, color="black", linewidth=0.8)
    axes.set_xlabel("requests so far")
    axes.set_ylabel(f"regret against {oracle} (s)")
    axes.grid(alpha=0.3)


def _line(axes: Axes, x: Any, y: Any, style: Style) -> None:
    every = max(1, len(x) // 6)
    axes.plot(x, y, linewidth=1.3, markersize=4.5, markevery=every, **style._asdict())


def _who_is_drawn(common: CommonSeeds) -> str:
    """Returns on how many seeds the figures are, and whose runs failed."""
    failed = f"failed: {', '.join(common.missing)}" if common.missing else ""
    return folded("; ".join(filter(None, [facts(common), failed])), 60)


def _failed(loads: Mapping[str, float], runs: Mapping[str, CommonSeeds]) -> list[str]:
    """Returns lines that say whose runs failed at which loads."""
    missing = {
        f"{load:g}": ", ".join(runs[label].missing)
        for label, load in sorted(loads.items(), key=lambda item: item[1])
        if label in runs and runs[label].missing
    }
    named = "; ".join(f"{agents} at {load}" for load, agents in missing.items())
    return [folded(f"failed: {named}", 60)] if named else []


def _comparable(results: Results) -> dict[str, CommonSeeds]:
    """Returns the comparable runs of each scenario."""
    tables = results.summary.groupby("env", sort=False)
    return {str(label): comparable(rows, results.record) for label, rows in tables}


def _objective_of(results: Results, label: str) -> float | None:
    (scenario,) = (s for s in results.record["scenarios"] if s["label"] == label)
    return objective(scenario)
