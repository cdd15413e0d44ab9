"""The HTML page of a results folder."""

import json
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from agents import ExperimentError, ExperimentResult, run_experiment
from agents.cli.app import make_app
from agents.experiments.runs import Scenario
from agents.report.tables import learning
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
    at = max(i for i, cell in enumerate(cells) if cell == "random")  # the table of the last load
    quarters = [float(cell.split()[0].rstrip(",")) for cell in cells[at + 1 : at + 5]]
    overload = load_sweep.summary[load_sweep.summary["env"] == f"{ENV_ID} load {LOADS[1]}"]
    means = overload.groupby("agent")["jct_mean"].mean()
    assert np.mean(quarters) == pytest.approx(means["random"] - means["sjf-oracle"], rel=0.05)


def test_markdown(load_sweep: ExperimentResult, tmp_path: Path) -> None:
    path = tmp_path / "results.md"
    done = CliRunner().invoke(make_app(), ["report", str(load_sweep.output), "--output", str(path)])
    assert done.exit_code == 0, done.output
    lines = [line for line in path.read_text().splitlines() if line.startswith("|")]
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
            assert float(cell.strip("*").split()[0]) == pytest.approx(at_load[agent], abs=0.006)
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


def test_no_share_of_a_baseline_without_regret() -> None:
    log = pd.DataFrame({"env": "E", "seed": 0, "request_id": range(4), "jct": 1.0})
    logs = [log.assign(agent=agent) for agent in ("fcfs", "random", "sjf-oracle")]
    cells = learning(pd.concat(logs), "fcfs")
    assert cells["4th"] == ["0.00", "0.00"]


def test_a_page_of_another_kind(load_sweep: ExperimentResult) -> None:
    done = CliRunner().invoke(make_app(), ["report", str(load_sweep.output), "--output", "a.pdf"])
    assert done.exit_code == 2
    assert ".html or .md" in done.output


def test_not_a_results_folder(tmp_path: Path) -> None:
    done = CliRunner().invoke(make_app(), ["report", str(tmp_path)])
    assert done.exit_code == 2
    assert "summary.csv" in done.output
    assert not list(tmp_path.iterdir())
