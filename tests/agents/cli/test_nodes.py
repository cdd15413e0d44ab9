"""Clusters on the command line."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import Result

from tests.agents.cli.conftest import invoke, words

Compare = Callable[..., Result]


@pytest.fixture
def cluster(tmp_path: Path) -> Path:
    path = tmp_path / "cluster.yaml"
    path.write_text(
        "- {kind: engine, name: here, model: smollm2-135m-cpu, backlog: 8}\n"
        "- {kind: slots, name: there, slots: 4}\n"
    )
    return path


def test_a_cluster_of_a_file(compare: Compare, cluster: Path, tmp_path: Path) -> None:
    agents = ("--agents", "fcfs,join-shortest-queue")
    result = compare("--nodes", cluster, *agents)
    assert result.exit_code == 0, result.output
    assert "EdgeCloud-Cluster-v0" in result.output
    log = pd.read_csv(tmp_path / "out" / "requests.csv")
    assert set(log["node"]) == {"here", "there"}


@pytest.mark.usefixtures("pictures")
def test_systems_of_two_kinds_share_a_folder(compare: Compare, tmp_path: Path) -> None:
    """Each has columns of its own, which are empty for the other."""
    result = compare("--env", "static", "--env", "cluster", "--agents", "fcfs")
    assert result.exit_code == 0, result.output
    log = pd.read_csv(tmp_path / "out" / "requests.csv")
    by_env = log.groupby("env")["first_token_time"].count()
    assert by_env["EdgeCloud-Static-v0"] == 0
    assert by_env["EdgeCloud-Cluster-v0"] > 0
    assert (tmp_path / "out" / "comparison.png").exists()
    page = tmp_path / "report.html"
    assert invoke("report", tmp_path / "out", "--output", page).exit_code == 0


def test_nodes_are_for_clusters(compare: Compare, cluster: Path, tmp_path: Path) -> None:
    result = compare("--nodes", cluster, "--env", "static")
    assert result.exit_code == 2
    assert "EdgeCloud-Static-v0 has an edge and a cloud, not nodes" in words(result)
    cluster.write_text("- {kind: slotz, name: there}\n")
    result = compare("--nodes", cluster)
    assert result.exit_code == 2
    assert "node 1: kind='slotz'" in words(result)
    assert not (tmp_path / "out").exists()


def test_tokens_and_columns_in_tables(compare: Compare, cluster: Path, tmp_path: Path) -> None:
    fixed = (
        "--nodes",
        cluster,
        "--agents",
        "fcfs,least-kv",
        "--set",
        "slo={'ttft': 1.0, 'jct': 9}",
    )
    result = compare(*fixed, "--columns", "cloud_seconds,preemptions")
    assert result.exit_code == 0, result.output
    for text in (
        "TTFT p50 s",
        "TPOT p99 ms",
        "cloud_seconds",
        "in time",
        "TTFT ≤ 1 s and JCT ≤ 9 s",
    ):
        assert text in words(result)
    page = tmp_path / "page.md"
    reported = invoke("report", tmp_path / "out", "--output", page, "--columns", "cloud_seconds")
    assert reported.exit_code == 0, reported.output
    assert r"cloud\_seconds" in page.read_text(encoding="utf-8")
    wrong = invoke("report", tmp_path / "out", "--columns", "cloud_second")
    assert wrong.exit_code == 2
    assert "did you mean 'cloud_seconds'" in words(wrong)


@pytest.mark.parametrize("command", ["train", "evaluate"])
def test_a_file_of_nodes_says_the_environment(command: str, tmp_path: Path) -> None:
    """The nodes are looked at, and not an option missed; with neither, both are named."""
    path = tmp_path / "cluster.yaml"
    path.write_text("- {kind: slotz, name: there}\n")
    model = tmp_path / "model.npz"
    rest = ["c2ucb", "--output", model] if command == "train" else [model]
    assert "kind='slotz'" in words(invoke(command, *rest, "--nodes", path))
    neither = invoke(command, *rest)
    assert neither.exit_code == 2
    assert "give --env, or --nodes for a cluster" in words(neither)
