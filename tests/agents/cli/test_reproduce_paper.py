"""``edgecloud reproduce-paper``, as a user meets it."""

from pathlib import Path

import pandas as pd
import pytest
from typer.testing import Result

from agents.experiments.paper import AGENTS
from agents.report.paper import claims, paper_table
from tests.agents.cli.conftest import invoke, words


def reproduce(output: Path, *arguments: object) -> Result:
    brief = ("--seeds", 1, "--duration", 40, "--workers", 1)
    return invoke("reproduce-paper", *brief, "--output", output, *arguments)


def test_both_counts_beside_each_other(tmp_path: Path) -> None:
    result = reproduce(tmp_path, "--env", "static", "--env", "continuous")
    assert result.exit_code == 0, result.output
    table = pd.read_csv(tmp_path / "paper.csv")
    assert {*table["agent"]} == {*AGENTS}
    assert len(table) == 2 * len(AGENTS)
    assert (table["jct_all"] >= 0).all()
    assert (table["completed"] + table["unfinished"] == table["requests"]).all()
    assert (tmp_path / "paper.png").read_bytes()[1:4] == b"PNG"
    assert not (tmp_path / "requests.csv").exists()  # kept run by run, as Parquet
    assert len(list((tmp_path / "runs").glob("*/requests.parquet"))) == len(table)
    page = tmp_path / "report.html"
    done = invoke("report", tmp_path)  # no request log is missing where none was to be written
    assert done.exit_code == 0, done.output
    assert page.read_text(encoding="utf-8").count("data:image/png") == 1
    again = reproduce(tmp_path, "--env", "static", "--env", "continuous")
    assert "18 runs, 18 of them done: nothing is left to play." in words(again)
    text = "EdgeCloud-Static-v0: "
    assert again.output[again.output.index(text) :] == result.output[result.output.index(text) :]


def test_only_what_it_would_take(tmp_path: Path) -> None:
    result = reproduce(tmp_path / "out", "--dry-run", "--env", "static")
    assert result.exit_code == 0, result.output
    assert "9 runs: about" in result.output
    assert not (tmp_path / "out").exists()


def test_a_cluster_is_not_of_the_paper(tmp_path: Path) -> None:
    result = reproduce(tmp_path, "--env", "cluster")
    assert result.exit_code == 2
    assert "must be among EdgeCloud-Static-v0" in words(result)


@pytest.mark.parametrize("postponed", [0.0, 9.0])
def test_who_postpones_is_told(postponed: float) -> None:
    runs = {
        "env": "system",
        "agent": ["cn-ducb", "fcfs"],
        "seed": 0,
        "arrived": 10,
        "completed": [5, 9],
        "unfinished": [5, 1],
        "jct_mean": [1.0, 3.0],
        "jct_mean_censored": [2.0 + postponed, 4.0],
    }
    table = paper_table(pd.DataFrame(runs))
    places = table.set_index("agent").loc["cn-ducb"]
    assert places["place_completed"] == 1
    assert places["place_all"] == (2 if postponed else 1)
    told = [line for line in claims(table) if "leaves long requests waiting" in line]
    assert len(told) == (1 if postponed else 0)
