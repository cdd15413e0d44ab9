"""The command line, as a user meets it."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner, Result

from agents.cli.app import make_app
from agents.report.tables import legend, ranking, ranking_table
from agents.statistics import ORACLE
from tests.agents.conftest import write_requests


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of the reference's keys, without embeddings or slowdown curve."""
    path = tmp_path_factory.mktemp("data") / "toy.jsonl"
    write_requests(path, np.random.default_rng(0), 100)
    return path


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(make_app(), [str(a) for a in arguments], env={"COLUMNS": "80"})


def compare(dataset: Path, output: Path, *arguments: object) -> Result:
    fixed = ("compare", "--dataset", dataset, "--output", output, "--workers", 1)
    return invoke(*fixed, "--seeds", 2, "--duration", 20, *arguments)


def test_compare_all_environments(dataset: Path, tmp_path: Path) -> None:
    result = compare(dataset, tmp_path, "--agents", "fcfs, sjf-oracle")
    assert result.exit_code == 0, result.output
    for name in ("Static", "TimeSeries", "Continuous"):
        assert f"EdgeCloud-{name}-v0" in result.output
    assert "no measured slowdown curve" in result.output
    assert max(map(len, result.output.splitlines()[:-1])) <= 80
    assert "…" not in result.output
    summary = pd.read_csv(tmp_path / "summary.csv")
    assert len(summary) == 3 * 2 * 2
    assert (tmp_path / "comparison.png").read_bytes()[1:4] == b"PNG"
    again = compare(dataset, tmp_path, "--agents", "fcfs, sjf-oracle")
    assert again.output == result.output


def test_settings_and_loads(dataset: Path, tmp_path: Path) -> None:
    result = compare(
        dataset,
        tmp_path,
        *("--env", "EdgeCloud-Static-v0", "--env", "EdgeCloud-Continuous-v0"),
        *("--load", 0.5, "--load", 0.8, "--agents", "fcfs,historical-lrt:memory=7"),
        *("--set", "edge_batch_capacity=2", "--set", "arrivals=poisson", "--set", "drain=False"),
    )
    assert result.exit_code == 0, result.output
    assert (tmp_path / "load_sweep.png").read_bytes()[1:4] == b"PNG"
    record = json.loads((tmp_path / "run.json").read_text())
    assert [item["settings"] for item in record["agents"]] == [{}, {"memory": 7}]
    settings = {item["label"]: item["settings"] for item in record["scenarios"]}
    assert list(settings) == [
        f"EdgeCloud-{name}-v0 load {load}"
        for name in ("Static", "Continuous")
        for load in (0.5, 0.8)
    ]
    assert settings["EdgeCloud-Static-v0 load 0.5"]["edge_batch_capacity"] == 2
    assert "edge_batch_capacity" not in settings["EdgeCloud-Continuous-v0 load 0.5"]
    assert settings["EdgeCloud-Static-v0 load 0.8"]["drain"] is False


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--agents", "fcsf"], "did you mean 'fcfs'"),
        (["--env", "CartPole-v1"], "EdgeCloud-Static-v0"),
        (["--env", "Nowhere-v0"], "Nowhere"),
        (["--set", "durration=3"], "did you mean 'duration'"),
        (["--set", "drain"], "must be KEY=VALUE"),
        (["--set", "network_rtt=-1"], "network_rtt=-1"),
        (["--load", "0.5", "--arrival-rate", "2"], "at most one"),
        (["--agents", "c2ucb"], "edgecloud embed"),
        (["--baseline", "nobody"], "unknown agent 'nobody'"),
        (["--agents", "historical-lrt:memory=0"], "memory=0"),
        (["--agents", "historical-lrt:memry=3"], "memry"),
    ],
)
def test_bad_input(dataset: Path, tmp_path: Path, arguments: list[str], message: str) -> None:
    result = compare(dataset, tmp_path, *arguments)
    assert result.exit_code == 2
    assert message in " ".join(result.output.split())
    assert "Traceback" not in result.output
    assert not list(tmp_path.iterdir())


def test_missing_dataset(tmp_path: Path) -> None:
    result = compare(tmp_path / "none.jsonl", tmp_path)
    assert result.exit_code == 2
    assert "none.jsonl" in result.output


def test_failing_runs_are_named_and_the_rest_is_shown(dataset: Path, tmp_path: Path) -> None:
    result = compare(
        dataset,
        tmp_path,
        *("--env", "EdgeCloud-Static-v0", "--agents", "fcfs,cloud-only"),
        *("--set", "cloud_concurrency=0"),
    )
    assert result.exit_code == 1
    assert "cloud-only" in result.output
    assert "cloud_concurrency" in result.output
    assert "beats" in result.output


def test_without_typer_the_message_is_clear() -> None:
    code = "import sys; sys.modules['typer'] = None; from agents.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "pip install 'edgecloud-gym[agents]'" in done.stderr
    assert "Traceback" not in done.stderr


def summary_of(seeds: int) -> pd.DataFrame:
    """Four agents, two of them equal, with what is common to a seed and a little of their own."""
    rng = np.random.default_rng(0)
    noise = rng.normal(0.0, 1.0, seeds)
    means = {"slow": 9.0, "fcfs": 5.0, "same": 5.0, ORACLE: 3.0}
    rows = [
        {
            "agent": agent,
            "seed": seed,
            "jct_mean_censored": mean + noise[seed] + 0.01 * rng.normal(),
            "jct_p95_censored": 2 * mean,
            "prediction_error_mean": np.nan,
            "offload_rate": 0.5,
            "unfinished": 0.0,
        }
        for agent, mean in means.items()
        for seed in range(seeds)
    ]
    return pd.DataFrame(rows)


def test_table_ranks_and_marks_who_beats_whom() -> None:
    table = ranking_table(summary_of(8), "fcfs")
    cells = {str(column.header): list(column.cells) for column in table.columns}
    assert cells["agent"][0] == ORACLE
    assert cells["agent"][-1] == "slow"
    assert cells["beats"][0] == "2–4"
    assert cells["beats"][-1] == "–"
    assert table.rows[0].style == "bold"
    assert "need 5 seeds" not in legend(summary_of(8))


def test_few_seeds_prove_nothing() -> None:
    columns = ranking(summary_of(4), "fcfs", wide=True)
    assert set(columns["beats"]) == {"–"}
    assert not any("[" in cell for column in columns.values() for cell in column)
    assert columns["vs fcfs"][-1].startswith("+")
    assert "need 5 seeds" in legend(summary_of(4))
