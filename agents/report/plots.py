"""The picture of an experiment: one row per scenario."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from agents.statistics import ORACLE, bootstrap_mean, regret
from edgecloud_gym.files import replacing

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

    from agents.experiments.experiment import ExperimentResult

# Paul Tol's muted scheme: ten colours that stay apart for colour-blind readers.
_COLOURS = (
    "#332288",
    "#cc6677",
    "#117733",
    "#ddaa33",
    "#88ccee",
    "#aa4499",
    "#44aa99",
    "#882255",
    "#999933",
    "#777777",
)
_LINES = ("-", "--", ":")  # one after the other, once all colours are taken
_LOW, _HIGH = 5, 95  # percentiles at the ends of a box's whiskers


def draw_experiment(result: ExperimentResult, path: Path) -> None:
    """Draws JCT distributions, queue lengths over time and regret, and writes a PNG.

    Args:
        result: The experiment.
        path: The file, complete or absent.
    """
    requests, timeseries = result.requests, result.timeseries
    scenarios = list(dict.fromkeys(requests["env"]))
    styles = _styles(requests["agent"])
    # The regret of the finished alone would flatter whoever leaves the long ones.
    finished = bool(requests["jct"].notna().all())
    with_regret = ORACLE in styles and len(styles) > 1 and finished
    columns = 3 if with_regret else 2
    figure = Figure(figsize=(5.2 * columns, 0.9 + 3.3 * len(scenarios)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(scenarios), columns, squeeze=False)
    for row, scenario in zip(axes, scenarios, strict=True):
        mine = requests[requests["env"] == scenario]
        draw_jct(row[0], mine, styles)
        row[0].set_title(scenario, loc="left", fontweight="bold")
        draw_queue(row[1], timeseries[timeseries["env"] == scenario], styles)
        if with_regret:
            draw_regret(row[2], mine, styles)
    handles = axes[0, 1].get_legend_handles_labels()
    figure.legend(*handles, loc="outside upper center", ncols=min(len(styles), 6), frameon=False)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=130)


def draw_load_sweep(result: ExperimentResult, path: Path) -> None:
    """Draws mean JCT against load, with 95 % intervals over seeds, and writes a PNG.

    Args:
        result: An experiment of several loads.
        path: The file, complete or absent.
    """
    summary = result.summary
    scenarios = {run.scenario.label: run.scenario for run in result.runs}
    env_ids = list(dict.fromkeys(scenario.env_id for scenario in scenarios.values()))
    styles = _styles(summary["agent"])
    figure = Figure(figsize=(5.2 * len(env_ids), 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, len(env_ids), squeeze=False)[0]
    for axis, env_id in zip(axes, env_ids, strict=True):
        loads = {
            label: float(scenario.settings["load"])
            for label, scenario in scenarios.items()
            if scenario.env_id == env_id
        }
        for agent, style in styles.items():
            mine = summary[summary["agent"] == agent].groupby("env")["jct_mean_censored"]
            points = [
                (load, *bootstrap_mean(mine.get_group(label))) for label, load in loads.items()
            ]
            x, mean, low, high = np.array(sorted(points)).T
            axis.plot(x, mean, marker="o", markersize=4, label=agent, **style._asdict())
            axis.fill_between(x, low, high, color=style.color, alpha=0.15, linewidth=0)
        axis.set_yscale("log")
        _plain_ticks(axis.yaxis)
        axis.set_title(env_id, loc="left", fontweight="bold")
        axis.set_xlabel("load (share of capacity)")
        axis.grid(alpha=0.3, which="both")
    axes[0].set_ylabel("mean job completion time (s)")
    handles = axes[0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside upper center", ncols=min(len(styles), 6), frameon=False)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=130)


class Style(NamedTuple):
    """How an agent's curve is drawn."""

    color: str
    linestyle: str


def _styles(agents: pd.Series[str]) -> dict[str, Style]:
    """Returns a style per agent, in order of appearance; the oracle's is black."""
    names = dict.fromkeys(str(agent) for agent in agents)
    drawn = (Style(colour, line) for line in _LINES for colour in _COLOURS)
    return {
        name: Style("black", "-.") if name == ORACLE else next(drawn, Style("#777777", "-"))
        for name in names
    }


def draw_jct(axes: Axes, requests: pd.DataFrame, styles: Mapping[str, Style]) -> None:
    """Draws each agent's JCTs over all seeds: box, 5th to 95th percentile, mean; fastest on top."""
    groups = {
        str(name): part["jct"].dropna().to_numpy() for name, part in requests.groupby("agent")
    }
    order = sorted(groups, key=lambda name: -groups[name].mean())
    boxes = axes.boxplot(
        [groups[name] for name in order],
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
        box.set(facecolor=styles[name].color, alpha=0.75)
    axes.set_yticks(range(1, len(order) + 1), order)
    axes.set_xscale("log")
    _plain_ticks(axes.xaxis)
    whose = "" if requests["jct"].notna().all() else " of completed requests alone"
    axes.set_xlabel(f"job completion time (s){whose}: 5–95 %, quartiles, ◇ mean")
    axes.grid(axis="x", alpha=0.3)


def draw_queue(axes: Axes, timeseries: pd.DataFrame, styles: Mapping[str, Style]) -> None:
    """Draws the queue length over time, the mean over seeds."""
    means = timeseries.groupby(["agent", "timestamp"], sort=False)["queue_length"].mean()
    for agent, style in styles.items():
        if agent in means.index.get_level_values(0):
            series = means[agent].sort_index()
            # A running mean over a fortieth of the episode: single arrivals are noise here.
            width = max(1, len(series) // 40)
            smooth = series.rolling(width, center=True, min_periods=1).mean()
            axes.plot(smooth.index, smooth, label=agent, linewidth=1.3, **style._asdict())
    _scale(axes, linear_below=10.0)
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter("{x:,g}")
    axes.set_xlabel("time (s)")
    axes.set_ylabel("waiting requests")
    axes.grid(alpha=0.3)


def draw_regret(axes: Axes, requests: pd.DataFrame, styles: Mapping[str, Style]) -> None:
    """Draws regret against sjf-oracle, summed over the requests so far, the mean over seeds."""
    each = regret(requests)
    for agent, style in styles.items():
        mine = each[each["agent"] == agent]
        if agent == ORACLE or mine.empty:
            continue
        by_seed = mine.pivot_table(index="request_id", columns="seed", values="regret")
        total = by_seed.cumsum().mean(axis=1, skipna=False).dropna()
        axes.plot(total.index, total, linewidth=1.3, **style._asdict())
    _scale(axes, linear_below=100.0)
    axes.axhline(0.0, color="black", linewidth=0.8)
    axes.set_xlabel("requests so far")
    axes.set_ylabel(f"regret against {ORACLE} (s)")
    axes.yaxis.set_major_formatter("{x:,g}")
    axes.grid(alpha=0.3)


def _plain_ticks(axis: Axis) -> None:
    """Labels a logarithmic axis 1, 2, 5, 10, ..., not in powers."""
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter(NullFormatter())


def _scale(axes: Axes, linear_below: float) -> None:
    """Makes the y axis logarithmic above a value where one agent would flatten most of them."""
    peaks = [float(np.nanmax(np.asarray(line.get_ydata(), float))) for line in axes.get_lines()]
    if peaks and max(peaks) > 8.0 * max(float(np.median(peaks)), linear_below / 8.0):
        axes.set_yscale("symlog", linthresh=linear_below)
