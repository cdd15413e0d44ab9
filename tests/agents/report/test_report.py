"""The HTML page of a results folder."""

import json
import re
from html.parser import HTMLParser
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from agents import AgentSpec, ExperimentError, ExperimentResult, Scenario, run_experiment
from agents.cli.app import make_app
from agents.report.terminal import print_results
from edgecloud_gym import RequestDataset

ENV_ID = "EdgeCloud-Static-v0"
VOID = {"meta", "img"}


class Page(HTMLParser):
    """Collects cells and addresses, and checks that every element is closed in its turn."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.cells: list[str] = []
        self.addresses: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "td":
            self.cells.append(data)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("a<b")
    data = RequestDataset.from_arrays(base_latency=np.ones(9), name="<data>")
    settings = {"dataset": data, "observe": "id", "duration": 20.0, "cloud_concurrency": 0}
    with pytest.raises(ExperimentError):
        run_experiment(ENV_ID, ["fcfs", "random", "cloud-only"], 2, settings, folder)
    (folder / "comparison.png").write_bytes(b"\x89PNG...")
    return folder


def test_one_page_with_everything(results: Path) -> None:
    done = CliRunner().invoke(make_app(), ["report", str(results)])
    assert done.exit_code == 0, done.output
    page = Page((results / "report.html").read_text(encoding="utf-8"))
    assert page.open == []
    assert {"fcfs", "random"} <= set(page.cells)
    assert all(address.startswith("data:image/png;base64,") for address in page.addresses)
    assert len(page.addresses) == 1
    text = (results / "report.html").read_text(encoding="utf-8")
    assert "agent cloud-only, seed 1" in text
    assert "&lt;data&gt;" in text
    assert "<data>" not in text
    assert json.loads((results / "run.json").read_text())["versions"]["numpy"] in text


LOADS = (0.6, 1.5)


@pytest.fixture(scope="module")
def load_sweep(tmp_path_factory: pytest.TempPathFactory) -> ExperimentResult:
    data = RequestDataset.from_arrays(np.random.default_rng(0).exponential(1.0, 99))
    settings = {"dataset": data, "observe": "id", "duration": 60.0}
    scenarios = [Scenario(ENV_ID, {"load": load}, f"{ENV_ID} load {load}") for load in LOADS]
    agents = ["fcfs", "sjf-oracle", "random"]
    return run_experiment(scenarios, agents, 3, settings, tmp_path_factory.mktemp("sweep"))


def test_learning_is_shown_where_the_oracle_ran(load_sweep: ExperimentResult) -> None:
    assert CliRunner().invoke(make_app(), ["report", str(load_sweep.output)]).exit_code == 0
    cells = Page((load_sweep.output / "report.html").read_text(encoding="utf-8")).cells
    # The table of the last load; after it "random" stands once more, with its configuration.
    *_, at, _ = (i for i, cell in enumerate(cells) if cell == "random")
    quarters = [float(cell.split()[0].rstrip(",")) for cell in cells[at + 1 : at + 5]]
    overload = load_sweep.summary[load_sweep.summary["env"] == f"{ENV_ID} load {LOADS[1]}"]
    means = overload.groupby("agent")["jct_mean"].mean()
    assert np.mean(quarters) == pytest.approx(means["random"] - means["sjf-oracle"], rel=0.05)


def test_markdown(load_sweep: ExperimentResult, tmp_path: Path) -> None:
    path = tmp_path / "results.md"
    done = CliRunner().invoke(make_app(), ["report", str(load_sweep.output), "--output", str(path)])
    assert done.exit_code == 0, done.output
    text = path.read_text(encoding="utf-8")
    for name in ("mean", "p95", "p99"):
        assert f"### {ENV_ID}: {name} JCT (s) by load" in text
    lines = [line for line in text.splitlines() if line.startswith("|")]
    head, rule, *rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in lines[:5]
    ]
    assert head == ["agent", "load 0.6", "load 1.5"]
    assert set(rule) == {"---"}
    assert rows[0][0] == "sjf-oracle"
    means = load_sweep.summary.groupby(["agent", "env"])["jct_mean"].mean()
    for agent, *cells in rows:
        for load, cell in zip(LOADS, cells, strict=True):
            bold = cell.startswith("**")
            at_load = means[:, f"{ENV_ID} load {load}"]
            assert float(cell.strip("*").split()[0]) == pytest.approx(at_load[agent], rel=0.005)
            assert bold == (agent == at_load.drop("sjf-oracle").idxmin())
            assert ("%" in cell) == (agent != "fcfs")


def test_scenarios_of_one_load_are_no_sweep(tmp_path: Path) -> None:
    data = RequestDataset.from_arrays(np.random.default_rng(0).exponential(1.0, 99))
    settings = {"dataset": data, "observe": "id", "duration": 20.0, "drain": False}
    scenarios = [Scenario(ENV_ID, {"cloud_concurrency": n}, f"cloud {n}") for n in (1, 2)]
    run_experiment(scenarios, ["fcfs", "sjf-oracle"], 2, settings, tmp_path / "results")
    for name in ("page.html", "page.md"):
        arguments = ["report", str(tmp_path / "results"), "--output", str(tmp_path / name)]
        done = CliRunner().invoke(make_app(), arguments)
        assert done.exit_code == 0, done.output
        text = (tmp_path / name).read_text(encoding="utf-8")
        assert text.count("cloud 1") == text.count("cloud 2") > 0
        assert "by load" not in text
        assert "Unfinished requests count with their age" in text
        assert "Learning" not in text  # regret of the finished alone would flatter


def test_a_page_of_another_kind(load_sweep: ExperimentResult) -> None:
    done = CliRunner().invoke(make_app(), ["report", str(load_sweep.output), "--output", "a.pdf"])
    assert done.exit_code == 2
    assert ".html or .md" in done.output


def test_not_a_results_folder(tmp_path: Path) -> None:
    done = CliRunner().invoke(make_app(), ["report", str(tmp_path)])
    assert done.exit_code == 2
    assert "summary.csv" in done.output
    assert not list(tmp_path.iterdir())


def test_every_page_names_the_failures_and_how_agents_played(results: Path, tmp_path: Path) -> None:
    for name in ("page.html", "page.md"):
        done = report(results, "--output", tmp_path / name)
        assert done.exit_code == 0, done.output
        text = (tmp_path / name).read_text(encoding="utf-8").replace("\\_", "_")
        assert "agent cloud-only, seeds 0, 1: ValueError" in text
        assert "not work_conserving: fcfs, random" in text or "not work_conserving: every" in text
        assert "cloud-only has failed on seeds 0, 1 and is not ranked" in text


def test_the_page_has_the_whole_configuration(results: Path) -> None:
    assert report(results).exit_code == 0
    text = (results / "report.html").read_text(encoding="utf-8")
    for name in ("network_rtt = 0.05", "cloud_concurrency = 0", "telemetry_interval = 1.0"):
        assert name in text
    assert "others: the defaults" not in text
    assert json.loads((results / "run.json").read_text())["date"] in text


def test_one_rule_for_the_best(load_sweep: ExperimentResult, tmp_path: Path) -> None:
    """The oracle is never in bold, whoever shows the table."""
    report(load_sweep.output, "--output", tmp_path / "page.html")
    report(load_sweep.output, "--output", tmp_path / "page.md")
    html = (tmp_path / "page.html").read_text(encoding="utf-8")
    best = re.findall(r'<td class="agent"><b>(.*?)</b></td>', html)
    assert len(best) == len(LOADS)
    assert "sjf-oracle" not in best
    table = print_text(load_sweep)
    for label in best:
        assert f"\x1b[1m{label}" in table
    assert "\x1b[1msjf-oracle" not in table


def print_text(results: ExperimentResult) -> str:
    file = StringIO()
    print_results(Console(file=file, force_terminal=True, width=80), results, "fcfs")
    return file.getvalue()


SPECIAL = "a|b_c*d*[e](f)<g>`h`$i$~j~"


def test_labels_do_not_become_markup(tmp_path: Path) -> None:
    data = RequestDataset.from_arrays(np.ones(9))
    settings = {"dataset": data, "observe": "id", "duration": 20.0}
    scenarios = [Scenario(ENV_ID, {}, SPECIAL)]
    specs = [AgentSpec("fcfs", label=SPECIAL), AgentSpec("random")]
    run_experiment(scenarios, specs, 2, settings, tmp_path / "out")
    done = report(tmp_path / "out", "--output", tmp_path / "a.md", "--baseline", SPECIAL)
    assert done.exit_code == 0, done.output
    text = (tmp_path / "a.md").read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line.startswith("|")]
    # Columns are where Markdown sees a bar without a backslash.
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in rows[:4]}) == 1
    for line in text.splitlines():
        if SPECIAL[0] + "\\|" in line:
            plain = re.sub(r"\\(.)", r"\1", line)
            assert SPECIAL in plain
    report(tmp_path / "out", "--baseline", SPECIAL)
    page = Page((tmp_path / "out" / "report.html").read_text(encoding="utf-8"))
    assert page.open == []
    assert SPECIAL in page.cells


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda folder: (folder / "run.json").write_text("[]"), "run.json"),
        (lambda folder: (folder / "run.json").write_text("nul"), "run.json: not JSON"),
        (lambda folder: (folder / "summary.csv").write_text("a,b\n1\n"), "do not belong together"),
        (lambda folder: (folder / "requests.csv").unlink(), "do not belong together"),
        (lambda folder: (folder / "report.html").mkdir(), "nothing can be written there"),
    ],
)
def test_broken_folders_are_told_in_a_line(break_it: Any, message: str, tmp_path: Path) -> None:
    data = RequestDataset.from_arrays(np.ones(9))
    settings = {"dataset": data, "observe": "id", "duration": 20.0}
    run_experiment(ENV_ID, ["fcfs"], 2, settings, tmp_path / "out")
    break_it(tmp_path / "out")
    done = report(tmp_path / "out")
    assert done.exit_code == 2
    assert message in done.output
    assert done.output.startswith("error: ")


def test_the_baseline_must_have_played(load_sweep: ExperimentResult, tmp_path: Path) -> None:
    done = report(load_sweep.output, "--baseline", "fcsf", "--output", tmp_path / "a.md")
    assert done.exit_code == 2
    assert "did you mean 'fcfs'" in done.output
    data = RequestDataset.from_arrays(np.ones(9))
    settings = {"dataset": data, "observe": "id", "duration": 20.0}
    run_experiment(ENV_ID, ["random"], 2, settings, tmp_path / "out")
    assert report(tmp_path / "out", "--output", tmp_path / "a.md").exit_code == 0
    assert "The baseline fcfs has not run" in (tmp_path / "a.md").read_text(encoding="utf-8")


def test_pictures_of_another_experiment_are_not_shown(tmp_path: Path) -> None:
    data = RequestDataset.from_arrays(np.ones(9))
    settings = {"dataset": data, "observe": "id", "duration": 20.0}
    run_experiment(ENV_ID, ["fcfs"], 2, settings, tmp_path, plots=True)
    (tmp_path / "load_sweep.png").write_bytes(b"\x89PNG of another day")
    assert report(tmp_path).exit_code == 0
    page = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert len(page.addresses) == 1


def report(folder: object, *arguments: object) -> Result:
    given = ["report", str(folder), *map(str, arguments)]
    return CliRunner().invoke(make_app(), given)
