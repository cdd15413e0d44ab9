"""The pictures: what is in them, and that nothing in them is cut or lost."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread
from matplotlib.text import Text

from agents import AGENT_NAMES, AgentSpec, ExperimentError, Scenario, run_experiment
from agents.report import figures as drawing
from agents.report.plots import draw_all, draw_experiment, draw_load_sweep
from agents.report.styles import styles
from agents.statistics import ORACLE
from edgecloud_gym import RequestDataset

STATIC = "EdgeCloud-Static-v0"
SETTINGS: dict[str, Any] = {
    "dataset": RequestDataset.from_arrays(np.random.default_rng(0).exponential(1.0, 99)),
    "observe": "id",
    "duration": 20.0,
}
REGISTRY = [name for name in AGENT_NAMES if name != "sb3"]


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that are drawn, in order."""
    drawn: list[Figure] = []

    class Kept(Figure):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            drawn.append(self)

    monkeypatch.setattr(drawing, "Figure", Kept)
    return drawn


def legend_of(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def assert_nothing_overlaps(figure: Figure) -> None:
    """No text lies outside the picture, or on a text of another panel."""
    figure.draw_without_rendering()
    boxes = []
    for axes in figure.axes:
        texts = [axes.xaxis.label, axes.yaxis.label, *axes.get_yticklabels(), *axes.texts]
        texts += [text for text in axes.get_children() if isinstance(text, Text)]
        boxes.append([t.get_window_extent() for t in texts if t.get_text() and t.get_visible()])
    whole = figure.bbox.padded(2)
    for number, mine in enumerate(boxes):
        for box in mine:
            assert whole.x0 <= box.x0
            assert box.x1 <= whole.x1
            for other in boxes[number + 1 :]:
                assert not any(box.padded(-1).overlaps(another) for another in other)


def test_a_style_is_an_agents_own() -> None:
    found = styles(REGISTRY)
    assert len(set(found.values())) == len(REGISTRY)
    assert styles(["cn-ts", "mine"])["mine"] == styles(["mine", "fcfs", "other"])["mine"]
    settings = styles(["cn-greedy", "cn-greedy:epsilon=0.2", "cn-greedy:epsilon=0.3"])
    assert len({style.color for style in settings.values()}) == 1
    assert len(set(settings.values())) == 3
    many = styles([f"agent {number}" for number in range(60)])
    assert len(set(many.values())) == 60
    # In grey, lines and markers alone tell the agents of the registry apart.
    assert len({style[1:] for style in found.values()}) == len(REGISTRY)


def test_a_sweep_shows_every_agent(figures: list[Figure], tmp_path: Path) -> None:
    """Of many agents, one of which failed at one load."""
    labels = [f"agent with a long name {number}" for number in range(11)]
    specs = [AgentSpec("random", label=label) for label in labels]
    specs += [AgentSpec("edge-only"), AgentSpec("sjf-oracle")]
    scenarios = [
        Scenario(STATIC, {"load": load, "edge_concurrency": edge}, f"load {load}")
        for load, edge in ((0.5, 1), (0.8, 1))
    ]
    with_failure = [*scenarios, Scenario(STATIC, {"load": 0.9, "edge_concurrency": 1}, "load 0.9")]
    result = run_experiment(with_failure, specs, 2, SETTINGS, tmp_path / "out")
    summary = result.summary
    failed = (summary["env"] == "load 0.9") & (summary["agent"] == "edge-only")
    vars(result)["summary"] = summary[~failed]
    draw_load_sweep(result, tmp_path / "sweep.png")
    (figure,) = figures
    assert_nothing_overlaps(figure)
    assert [label.replace("\n", " ") for label in legend_of(figure)] == [
        *labels,
        "edge-only",
        "sjf-oracle",
    ]
    (axes,) = figure.axes
    assert len(axes.containers) == 13
    assert len(axes.containers[11].lines[0].get_xdata()) == 2
    picture = imread(tmp_path / "sweep.png")
    assert picture.shape[1] > 600


def test_the_oracle_alone_in_a_sweep(figures: list[Figure], tmp_path: Path) -> None:
    scenarios = [Scenario(STATIC, {"load": load}, f"load {load}") for load in (0.5, 0.8)]
    result = run_experiment(scenarios, ORACLE, 2, SETTINGS, tmp_path)
    assert [path.name for path in draw_all(result, tmp_path)] == [
        "comparison.png",
        "load_sweep.png",
    ]
    assert legend_of(figures[1]) == [ORACLE]
    (points,) = figures[1].axes[0].containers
    assert list(points.lines[0].get_xdata()) == [0.5, 0.8]  # alone it needs no room beside it


@pytest.mark.parametrize("drain", [True, False])
def test_labels_of_any_length_have_room(drain: bool, figures: list[Figure], tmp_path: Path) -> None:
    """Of sixteen agents: no label lies on its neighbour's, none of the legend is cut."""
    labels = [f"agent-{number} " + "long " * number for number in range(15)]
    labels.append("cn-greedy:hidden=[256,256]:epsilon=0.2:learning_rate=0.001")
    specs = [AgentSpec("random", label=label) for label in labels]
    scenarios = [Scenario(STATIC, {"load": load}, f"load {load}") for load in (0.5, 0.8)]
    result = run_experiment(scenarios, specs, 1, {**SETTINGS, "drain": drain}, tmp_path)
    draw_all(result, tmp_path)
    for figure in figures:
        assert_nothing_overlaps(figure)
        legend = figure.legends[0].get_window_extent()
        assert figure.bbox.padded(2).y0 <= legend.y0
        assert legend.x1 <= figure.bbox.padded(2).x1
        for texts in (figure.axes[0].get_yticklabels(), figure.legends[0].get_texts()):
            boxes = sorted(
                (t.get_window_extent() for t in texts if t.get_text()), key=lambda b: b.y0
            )
            assert all(a.y1 <= b.y0 + 1 for a, b in pairwise(boxes))
    shown = [text.replace("\n", " ").strip() for text in legend_of(figures[0])]
    assert shown[:15] == [label.strip() for label in labels[:15]]


def test_failures_are_named_in_the_pictures(figures: list[Figure], tmp_path: Path) -> None:
    scenarios = [Scenario(STATIC, {"load": load}, f"load {load}") for load in (0.5, 0.8)]
    result = run_experiment(scenarios, ["fcfs", "random"], 3, SETTINGS, tmp_path)
    lost = (result.summary["env"] == "load 0.8") & (result.summary["agent"] == "random")
    for seeds, said in (([1], "2 of 3 seeds"), ([0, 1, 2], "3 seeds")):
        figures.clear()
        kept = run_experiment(scenarios, ["fcfs", "random"], 3, SETTINGS, tmp_path)
        vars(kept)["summary"] = result.summary[~(lost & result.summary["seed"].isin(seeds))]
        draw_all(kept, tmp_path)
        titles = [axes.get_title(loc="left") for axes in figures[0].axes if axes.get_title("left")]
        assert titles[1].startswith("3 seeds, ")
        assert "failed" not in titles[1]
        assert titles[3].startswith(said)
        assert titles[3].endswith("; failed: random")
        assert figures[1].axes[0].get_xlabel().endswith("\nfailed: random at 0.8")


def test_labels_are_drawn_as_they_are(figures: list[Figure], tmp_path: Path) -> None:
    labels = ["_hidden", "$x^2$", "a|b", "[a]", "50 % $", "\\frac", "語"]
    specs = [AgentSpec("fcfs", label=label) for label in labels]
    titles = [f"{' '.join(some)} load" for some in (labels[:4], labels[4:])]
    scenarios = [Scenario(STATIC, {"load": 0.5}, title) for title in titles]
    result = run_experiment(scenarios, [*specs, "sjf-oracle"], 1, SETTINGS, tmp_path)
    draw_all(result, tmp_path)
    for figure in figures:
        assert set(labels) <= set(legend_of(figure))
    ticks = [tick.get_text() for tick in figures[0].axes[0].get_yticklabels()]
    assert set(labels) <= set(ticks)
    found = [axes.get_title(loc="left") for axes in figures[0].axes]
    assert [title for title in found if title.endswith("load")] == titles


def test_the_unfinished_stand_beside_every_mean(figures: list[Figure], tmp_path: Path) -> None:
    settings = {**SETTINGS, "drain": False, "load": 2.0, "slo": 3.0}
    result = run_experiment(STATIC, ["fcfs", "random"], 2, settings, tmp_path)
    draw_experiment(result, tmp_path / "a.png")
    (figure,) = figures
    assert_nothing_overlaps(figure)
    axes = figure.axes[0]
    beside = [text.get_text() for text in axes.texts]
    counts = result.summary.groupby("agent")["unfinished"].mean()
    assert len(beside) == 2
    for text, agent in zip(beside, [t.get_text() for t in axes.get_yticklabels()], strict=True):
        assert f"{counts[agent]:,.0f} unfinished" in text
        assert "%" in text
    assert "objective 3 s" in axes.get_xlabel()
    assert "lower bound" in axes.get_xlabel()
    # The means with the unfinished at their age.
    diamonds = [line for line in axes.get_lines() if line.get_marker() == "D"][-1]
    means = result.summary.groupby("agent")["jct_mean_censored"].mean().sort_values(ascending=False)
    assert np.asarray(diamonds.get_xdata()) == pytest.approx(means.to_numpy())


def test_an_agent_that_finishes_nothing_is_drawn(figures: list[Figure], tmp_path: Path) -> None:
    settings = {**SETTINGS, "drain": False, "duration": 0.5, "arrival_rate": 4.0}
    run_experiment(STATIC, ["fcfs", "random"], 3, settings, tmp_path, plots=True)
    assert len(figures) == 1


def test_failed_and_empty_seeds_are_in_no_curve(figures: list[Figure], tmp_path: Path) -> None:
    settings = {**SETTINGS, "edge_concurrency": 0}
    with pytest.raises(ExperimentError) as caught:
        run_experiment(STATIC, ["fcfs", "edge-only"], 2, settings, tmp_path)
    draw_experiment(caught.value.result, tmp_path / "a.png")
    assert legend_of(figures[0]) == ["fcfs"]
    nothing = run_experiment(STATIC, "fcfs", 2, {**SETTINGS, "arrival_rate": 1e-9}, None)
    assert draw_all(nothing, tmp_path) == []


def test_ticks_are_written_alike(figures: list[Figure], tmp_path: Path) -> None:
    settings = {**SETTINGS, "load": 3.0, "duration": 200.0}
    result = run_experiment(STATIC, ["fcfs", "edge-only", "sjf-oracle"], 2, settings, tmp_path)
    draw_experiment(result, tmp_path / "a.png")
    figures[0].draw_without_rendering()
    for axes in figures[0].axes:
        for tick in (*axes.get_xticklabels(), *axes.get_yticklabels()):
            assert "e+" not in tick.get_text()
            assert "$" not in tick.get_text()


def test_tokens_are_drawn_where_they_are_known(figures: list[Figure], tmp_path: Path) -> None:
    settings = {"duration": 30.0, "load": 0.7, "slo": {"ttft": 1.0}}
    result = run_experiment("EdgeCloud-Cluster-v0", ["fcfs", "random"], 2, settings, tmp_path)
    assert [path.name for path in draw_all(result, tmp_path)] == ["comparison.png", "tokens.png"]
    first, further = figures[-1].axes
    assert first.get_xlabel() == "time to first token (s): p50, p95, p99"
    assert further.get_xlabel() == "time per output token (s): p50, p95, p99"
    names = [text.get_text() for text in first.get_yticklabels()]
    means = result.summary.groupby("agent")["jct_mean"].mean().sort_values(ascending=False)
    assert names == list(means.index)
    medians = [line.get_xdata()[0] for line in first.lines[0::4]]
    expected = result.summary.groupby("agent")["ttft_p50"].mean()[names]
    assert medians == pytest.approx(expected.tolist())
