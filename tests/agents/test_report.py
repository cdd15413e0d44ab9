"""The HTML page of a results folder."""

import json
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from agents import ExperimentError, run_experiment
from agents.cli import make_app
from edgecloud_gym import RequestDataset

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
    data = RequestDataset.from_arrays(latency=np.ones(9), name="<data>")
    settings = {"dataset": data, "observe": "id", "duration": 20.0, "cloud_concurrency": 0}
    with pytest.raises(ExperimentError):
        run_experiment("EdgeCloud-Static-v0", ["fcfs", "random", "cloud-only"], 2, settings, folder)
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


def test_not_a_results_folder(tmp_path: Path) -> None:
    done = CliRunner().invoke(make_app(), ["report", str(tmp_path)])
    assert done.exit_code == 2
    assert "summary.csv" in done.output
    assert not list(tmp_path.iterdir())
