"""``edgecloud compare``, as a user meets it."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import Result

from tests.agents.cli.conftest import words

Compare = Callable[..., Result]
STATIC = "EdgeCloud-Static-v0"


@pytest.mark.usefixtures("pictures")
def test_all_environments(compare: Compare, tmp_path: Path) -> None:
    result = compare("--agents", "fcfs, sjf-oracle")
    assert result.exit_code == 0, result.output
    for name in ("Static", "TimeSeries", "Continuous"):
        assert f"EdgeCloud-{name}-v0" in result.output
    assert "no measured slowdown curve" in words(result)
    assert max(map(len, result.output.splitlines()[2:-1])) <= 80
    assert "…" not in result.output
    summary = pd.read_csv(tmp_path / "out" / "summary.csv")
    assert len(summary) == 3 * 2 * 2
    assert (tmp_path / "out" / "comparison.png").read_bytes()[1:4] == b"PNG"
    again = compare("--agents", "fcfs, sjf-oracle")
    assert "12 runs, 12 of them done: nothing is left to play." in words(again)
    shown = [r.output[r.output.index("EdgeCloud-Static") :] for r in (result, again)]
    assert shown[0] == shown[1]


@pytest.mark.usefixtures("pictures")
def test_settings_and_loads(compare: Compare, tmp_path: Path) -> None:
    result = compare(
        *("--env", STATIC, "--env", "continuous"),
        *("--load", 0.5, "--load", 0.8, "--agents", "fcfs,historical-lrt:memory=7"),
        *("--set", "edge_batch_capacity=2", "--set", "arrivals=poisson", "--set", "drain=false"),
    )
    assert result.exit_code == 0, result.output
    assert (tmp_path / "out" / "load_sweep.png").read_bytes()[1:4] == b"PNG"
    assert "edge_batch_capacity is no setting of EdgeCloud-Continuous-v0" in words(result)
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert [item["settings"] for item in record["agents"]] == [{}, {"memory": 7}]
    settings = {item["label"]: item["settings"] for item in record["scenarios"]}
    assert list(settings) == [
        f"EdgeCloud-{name}-v0 load {load}"
        for name in ("Static", "Continuous")
        for load in (0.5, 0.8)
    ]
    assert settings[f"{STATIC} load 0.5"]["edge_batch_capacity"] == 2
    assert "edge_batch_capacity" not in settings["EdgeCloud-Continuous-v0 load 0.5"]
    assert settings[f"{STATIC} load 0.8"]["drain"] is False


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--agents", "fcsf"], "did you mean 'fcfs'"),
        (["--agents", ""], "name at least one"),
        (["--agents", " , "], "a name is missing"),
        (["--agents", "fcfs,fcfs"], "each agent may occur once"),
        (["--agents", "sb3"], "agent 'sb3' needs path=..."),
        (["--agents", "fcfs,sb3:path=none.zip"], "none.zip: a file of Stable-Baselines3 holds"),
        (["--agents", "fcfs,sb3:path=none.zip", "--trust"], "none.zip"),
        (["--agents", "historical-lrt:memory=0"], "memory=0"),
        (["--agents", "historical-lrt:memry=3"], "did you mean 'memory'"),
        (["--agents", "historical-lrt:memory=3:memory=4"], "memory: is given twice"),
        (["--agents", "cn-ducb:hidden=[64,64"], "']' is missing"),
        (["--agents", "sb3:path=C:\\m.zip"], "put in quotes"),
        (["--agents", "c2ucb"], "edgecloud embed"),
        (["--agents", "cloud-only", "--set", "cloud_concurrency=0"], "does not fit"),
        (["--agents", "historical-lrt", "--set", "work_conserving=true"], "work_conserving=False"),
        (["--env", "CartPole-v1"], STATIC),
        (["--env", "Nowhere-v0"], "Nowhere"),
        (["--env", "EdgeCloud-Sttic-v0"], "did you mean 'EdgeCloud-Static-v0'"),
        (["--env", "static", "--env", STATIC], "--env EdgeCloud-Static-v0: is given twice"),
        (["--set", "durration=3"], "did you mean 'duration'"),
        (["--set", "max_episode_steps=5"], "unknown setting max_episode_steps=5"),
        (["--set", "render_mode=human"], "unknown setting render_mode='human'"),
        (["--set", "drain"], "must be KEY=VALUE"),
        (["--set", "drain=maybe"], "drain='maybe': must be True or False"),
        (["--set", "network_rtt=-1"], "network_rtt=-1"),
        (["--set", "slo=1", "--set", "slo=2"], "slo: is given twice"),
        (["--set", "split=tset"], "did you mean 'test'"),
        (["--load", "0.5", "--arrival-rate", "2"], "at most one"),
        (["--load", "0.5", "--set", "load=0.9"], "--load [0.5] and --set load=0.9"),
        (["--load", "0.5", "--load", "0.5"], "--load 0.5: is given twice"),
        (["--dataset", "smollm2-135m", "--set", "dataset=x.jsonl"], "and --set dataset=x.jsonl"),
        (["--duration", "5", "--set", "duration=6"], "--duration 5.0 and --set duration=6"),
        (["--arrival-rate", "5", "--set", "arrival_rate=6"], "--arrival-rate 5.0 and --set"),
        (["--rate-scale", "2"], "there is no --trace"),
        (["--trace", "none.csv"], "none.csv"),
        (["--baseline", "nobody"], "unknown agent"),
        (["--agents", "ppo-static"], "ppo:model=FILE"),
        (["--baseline", "fcsf"], "did you mean 'fcfs'"),
        (["--baseline", "random", "--agents", "fcfs"], "must be one of those compared: fcfs"),
        (["--seeds", "0"], "--seeds"),
        (["--env", "[red]x"], "[red]x"),
        (["--dataset", "no[/such]/d.jsonl"], "no[/such]/d.jsonl"),
    ],
)
def test_bad_input(compare: Compare, tmp_path: Path, arguments: list[str], message: str) -> None:
    result = compare(*arguments)
    assert result.exit_code == 2, result.output
    assert message in words(result)
    assert result.output.splitlines()[-1].startswith("error: ")
    assert "Traceback" not in result.output
    assert "environment creator" not in result.output  # Gymnasium's addition of every setting
    assert not list(tmp_path.iterdir())


def test_the_default_baseline_may_be_absent(compare: Compare) -> None:
    result = compare("--env", "static", "--agents", "random,round-robin")
    assert result.exit_code == 0
    assert "The baseline fcfs has not run" in words(result)


def test_failing_runs_are_named_and_the_rest_is_shown(
    compare: Compare, monkeypatch: pytest.MonkeyPatch
) -> None:
    from agents.schedulers.heuristics import RandomScheduler

    def faulty(*_: object) -> None:
        raise RuntimeError("[red]no[/red]")

    monkeypatch.setattr(RandomScheduler, "decide", faulty)
    result = compare("--env", "static", "--agents", "fcfs,random")
    assert result.exit_code == 1
    assert "failed: EdgeCloud-Static-v0, agent random, seeds 0, 1: RuntimeError: [red]no[/red]" in (
        words(result)
    )
    assert "random has failed on seeds 0, 1 and is not ranked" in words(result)
    assert "beats" in result.output


def test_nobody_finishes(compare: Compare, monkeypatch: pytest.MonkeyPatch) -> None:
    from agents.schedulers.heuristics import FCFS

    monkeypatch.setattr(FCFS, "decide", lambda *_: 1 / 0)
    result = compare("--env", "static", "--agents", "fcfs")
    assert result.exit_code == 1
    assert "agent fcfs, seeds 0, 1: ZeroDivisionError" in words(result)
    assert "run.json failures.txt" in words(result)


@pytest.mark.usefixtures("pictures")
def test_another_experiment_in_the_folder(compare: Compare, tmp_path: Path) -> None:
    swept = ("--env", "static", "--agents", "fcfs", "--load", 0.5, "--load", 0.8)
    assert compare(*swept).exit_code == 0
    before = (tmp_path / "out" / "summary.csv").read_bytes()
    result = compare("--env", "static", "--agents", "fcfs")
    assert result.exit_code == 2
    assert "scenarios there and not here: EdgeCloud-Static-v0 load 0.5" in words(result)
    assert "--overwrite" in result.output
    assert (tmp_path / "out" / "summary.csv").read_bytes() == before
    result = compare("--env", "static", "--agents", "fcfs", "--overwrite")
    assert result.exit_code == 0, result.output
    assert not (tmp_path / "out" / "load_sweep.png").exists()


def test_brackets_are_no_markup(compare: Compare, tmp_path: Path, bare: Path) -> None:
    odd = tmp_path / "data[final]"
    odd.mkdir()
    (odd / "[red]d.jsonl").write_bytes(bare.read_bytes())
    output = tmp_path / "results[final]"
    result = compare(
        *("--env", "static", "--agents", "fcfs,historical-lrt:initial=[bold]0.1[/bold]"[:4]),
        *("--output", output, "--dataset", odd / "[red]d.jsonl"),
    )
    assert result.exit_code == 0, result.output
    assert f"Results in {output}:" in result.output
    assert (output / "summary.csv").exists()


def test_settings_of_agents_with_commas(compare: Compare, learnable: Path, tmp_path: Path) -> None:
    result = compare(
        *("--dataset", learnable, "--env", "static"),
        *("--agents", "fcfs,cn-ducb:hidden=[8,8]:nu=0.5,cn-ts:hidden=(4,)"),
    )
    assert result.exit_code == 0, result.output
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert [item["all_settings"].get("hidden") for item in record["agents"]] == [None, [8, 8], [4]]


def test_a_slowdown_that_was_given_is_not_missed(compare: Compare) -> None:
    given = ("--env", "continuous", "--agents", "fcfs", "--set", "edge_slowdown=[1,1.1,1.2,1.3]")
    assert "slow each other down" not in words(compare(*given))


@pytest.mark.usefixtures("pictures")
def test_nothing_arrives(compare: Compare) -> None:
    result = compare("--arrival-rate", 0.0001, "--duration", 10, "--agents", "fcfs")
    assert result.exit_code == 0, result.output
    assert "no results of 2 seeds: on 2 no request arrived" in words(result)
    assert "nan" not in result.output
    assert "comparison.png" not in result.output


def test_the_user_decides_on_idle_places(compare: Compare) -> None:
    result = compare("--env", "static", "--agents", "fcfs", "--set", "work_conserving=yes")
    assert "work_conserving: idle places are filled for every agent" in words(result)


def test_processors_are_those_it_may_use() -> None:
    from agents.cli.shared.options import PROCESSORS

    if hasattr(os, "sched_getaffinity"):
        assert len(os.sched_getaffinity(0)) == PROCESSORS


@pytest.mark.parametrize("place", ["file", "file/below"])
def test_an_output_that_cannot_be_written(compare: Compare, tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("mine")
    result = compare("--agents", "fcfs", "--output", tmp_path / place)
    assert result.exit_code == 2
    assert "nothing can be written there" in result.output
    assert "Results" not in result.output
