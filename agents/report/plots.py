"""The pictures of an experiment: one row per scenario, and JCT against load."""

from __future__ import annotations

import textwrap
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from agents.report.legends import objective
from agents.report.results import PLOT, SWEEP_PLOT, Results, sweeps
from agents.report.sections import regret_rows
from agents.report.styles import Style, styles
from agents.report.tables import JCT
from agents.statistics import (
    ORACLE,
    CommonSeeds,
    bootstrap_mean,
    common_seeds,
    regret,
    values_by_seed,
)
from edgecloud_gym.files import replacing

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.text import Text

_LOW, _HIGH = 5, 95  # percentiles at the ends of a box's whiskers
_FOLD: Final = 22  # characters of a label in a line
_PANEL: Final = 4.6  # inches
_DPI: Final = 130


def draw_all(results: Results, folder: Path) -> list[Path]:
    """Draws what there is to draw into a folder; returns the pictures."""
    drawn = []
    if any(len(common.seeds) for common in _common(results).values()):
        draw_experiment(results, folder / PLOT)
        drawn.append(folder / PLOT)
        if sweeps(results.record):
            draw_load_sweep(results, folder / SWEEP_PLOT)
            drawn.append(folder / SWEEP_PLOT)
    return drawn


def draw_experiment(results: Results, path: Path) -> None:
    """Draws JCT distributions, queue lengths over time and regret, and writes a PNG.

    Args:
        results: An experiment in which requests arrived.
        path: The file, complete or absent.
    """
    scenarios = {label: common for label, common in _common(results).items() if common.seeds}
    look = styles(dict.fromkeys(str(agent) for agent in results.summary["agent"]))
    regrets = regret_rows(results)
    columns = 3 if regrets else 2
    tallest = max(common.rows["agent"].nunique() for common in scenarios.values())
    height = max(3.2, 1.2 + 0.27 * tallest)
    with _figure(_PANEL * (columns + 0.3), height * len(scenarios), look, path) as figure:
        ratios = [1.3, *[1.0] * (columns - 1)]  # the first has labels and counts beside it
        axes = figure.subplots(len(scenarios), columns, squeeze=False, width_ratios=ratios)
        for row, (label, common) in zip(axes, scenarios.items(), strict=True):
            slo = _objective_of(results, label)
            log = results.requests[results.requests["env"] == label]
            draw_jct(row[0], common.of(log), common.rows, look, slo)
            _plain(row[0].set_title(_folded(label, 46), loc="left", fontweight="bold"))
            series = results.timeseries[results.timeseries["env"] == label]
            draw_queue(row[1], common.of(series), look)
            if label in regrets:
                draw_regret(row[2], regrets[label], look)
            elif regrets:
                row[2].set_axis_off()


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
    height = max(3.4 * len(metrics), 0.6 + 0.24 * len(look))
    with _figure(_PANEL * len(swept), height, look, path) as figure:
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
                    _scale(axis, "y", widest)  # logarithmic in all panels or in none
            row[0].set_ylabel(title)
        for axis, env_id in zip(axes[0], swept, strict=True):
            axis.set_title(env_id, loc="left", fontweight="bold")
        for axis in axes[-1]:
            axis.set_xlabel("load (share of capacity)")


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
    # Side by side, so that the intervals of agents that are level can be told apart.
    steps = np.linspace(-0.08, 0.08, len(look)) * min(np.diff(list(by_load)))
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
    by_agent = {str(name): part["jct"].dropna() for name, part in requests.groupby("agent")}
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
    axes.set_yticks(range(1, len(order) + 1), [_folded(name) for name in order])
    for tick in axes.get_yticklabels():
        _plain(tick)
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
    _scale(axes, "x", np.concatenate(ends).tolist() if ends else [])
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
    _symmetric_scale(axes, linear_below=10.0)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("time (s)")
    axes.set_ylabel("waiting requests")
    axes.grid(alpha=0.3)


def draw_regret(axes: Axes, requests: pd.DataFrame, look: Mapping[str, Style]) -> None:
    """Draws regret against sjf-oracle, summed over the requests so far, the mean over seeds."""
    for agent, mine in regret(requests).groupby("agent", sort=False):
        if agent == ORACLE:
            continue
        by_seed = mine.pivot_table(index="request_id", columns="seed", values="regret")
        total = by_seed.cumsum().mean(axis=1, skipna=False).dropna()
        _line(axes, total.index, total, look[str(agent)])
    _symmetric_scale(axes, linear_below=100.0)
    axes.axhline(0.0, color="black", linewidth=0.8)
    axes.set_xlabel("requests so far")
    axes.set_ylabel(f"regret against {ORACLE} (s)")
    axes.grid(alpha=0.3)


def _line(axes: Axes, x: Any, y: Any, style: Style) -> None:
    every = max(1, len(x) // 6)
    axes.plot(x, y, linewidth=1.3, markersize=4.5, markevery=every, **style._asdict())


@contextmanager
def _figure(width: float, height: float, look: Mapping[str, Style], path: Path) -> Iterator[Figure]:
    """Yields a figure with a legend of all agents at its right, which is then written."""
    labels = [_folded(label) for label in look]
    longest = max(len(line) for label in labels for line in label.split("\n"))
    figure = Figure(figsize=(width + 0.7 + 0.075 * longest, height), layout="constrained")
    FigureCanvasAgg(figure)
    yield figure
    handles = [Line2D([], [], markersize=5, **style._asdict()) for style in look.values()]
    # Labels that begin with an underscore would be left out: they get their text afterwards.
    legend = figure.legend(
        handles, ["x"] * len(handles), loc="outside right upper", frameon=False, handlelength=3
    )
    for text, label in zip(legend.get_texts(), labels, strict=True):
        text.set_text(label)
        _plain(text)
    with warnings.catch_warnings(), replacing(path) as temporary:
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        figure.savefig(temporary, dpi=_DPI)


def _plain(text: Text) -> None:
    """Keeps a user's text from being read as mathematics."""
    text.set_parse_math(False)


def _folded(label: str, width: int = _FOLD) -> str:
    return "\n".join(textwrap.wrap(label, width)) or label


def _scale(axes: Axes, which: Literal["x", "y"], values: Sequence[float]) -> None:
    """Makes an axis logarithmic where its values span more than a factor of three."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    known = [value for value in values if np.isfinite(value) and value > 0.0]
    if known and max(known) >= 3.0 * min(known):
        (axes.set_xscale if which == "x" else axes.set_yscale)("log")
        subs = (1.0, 2.0, 5.0) if max(known) < 300.0 * min(known) else (1.0,)
        axis.set_major_locator(LogLocator(subs=subs))
        axis.set_minor_formatter(NullFormatter())
    axis.set_major_formatter(_NUMBERS)


def _symmetric_scale(axes: Axes, linear_below: float) -> None:
    """Makes the y axis logarithmic above a value where one agent would flatten most of them."""
    peaks = [float(np.nanmax(np.asarray(line.get_ydata(), float))) for line in axes.get_lines()]
    if peaks and max(peaks) > 8.0 * max(float(np.median(peaks)), linear_below / 8.0):
        axes.set_yscale("symlog", linthresh=linear_below)
    axes.xaxis.set_major_formatter(_NUMBERS)
    axes.yaxis.set_major_formatter(_NUMBERS)


_NUMBERS = FuncFormatter(lambda value, _: f"{value:,.0f}" if abs(value) >= 1000 else f"{value:g}")


def _common(results: Results) -> dict[str, CommonSeeds]:
    """Returns the comparable runs of each scenario."""
    return {
        str(label): common_seeds(rows) for label, rows in results.summary.groupby("env", sort=False)
    }


def _objective_of(results: Results, label: str) -> float | None:
    (scenario,) = (s for s in results.record["scenarios"] if s["label"] == label)
    return objective(scenario)
