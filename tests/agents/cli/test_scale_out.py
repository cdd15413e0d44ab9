"""Commands that play a part, on a cluster, or only say what they would."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from typer.testing import Result

from tests.agents.cli.conftest import invoke, words
from tests.agents.experiments.executors.test_executors import contents

Compare = Callable[..., Result]
STATIC = ("--env", "static", "--agents", "fcfs,random")


def test_a_dry_run_touches_nothing(compare: Compare, tmp_path: Path) -> None:
    result = compare(*STATIC, "--dry-run")
    assert result.exit_code == 0, result.output
    assert "4 runs: about 1 s on 1 process of" in words(result)
    assert "of disk." in words(result)
    assert not (tmp_path / "out").exists()


def test_a_plan_knows_what_is_done(compare: Compare) -> None:
    compare(*STATIC)
    assert "4 runs, 4 of them done: nothing is left to play." in words(
        compare(*STATIC, "--dry-run")
    )
    more = words(compare(*STATIC, "--seeds", 3, "--dry-run"))
    assert "6 runs, 4 of them done: about" in more
    assert "on 2 processes of" in words(compare(*STATIC, "--seeds", 9, "--workers", 2, "--dry-run"))


def test_shards_and_merging(compare: Compare, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = compare(*STATIC, "--shard", "1/2")
    assert first.exit_code == 0, first.output
    assert "Shard 1/2 is done; 2 runs of other shards are still to be played." in words(first)
    unfinished = invoke("merge", out)
    assert unfinished.exit_code == 2
    assert "2 of 4 runs are still to be played" in words(unfinished)
    last = compare(*STATIC, "--shard", "2/2")
    assert "Results in" in words(last)
    before = contents(out)
    (out / "summary.csv").unlink()
    merged = invoke("merge", out)
    assert merged.exit_code == 0, merged.output
    assert contents(out) == before
    assert len(pd.read_csv(out / "summary.csv")) == 4


def test_a_local_cluster(compare: Compare, tmp_path: Path) -> None:
    pytest.importorskip("distributed", reason="needs the extra dask")
    compare(*STATIC, "--output", tmp_path / "alone")
    result = compare(*STATIC, "--scheduler", "local")
    assert result.exit_code == 0, result.output
    assert contents(tmp_path / "out") == contents(tmp_path / "alone")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--shard", "3/2"], "shard=3: must be an integer from 1 to 2"),
        (["--shard", "half"], "shard 'half': must be number/count, such as 2/4"),
        (["--shard", "1/2", "--scheduler", "local"], "--scheduler local and --shard 1/2: give one"),
        (["--scheduler", "here:1"], "--workers 1: the workers are those of --scheduler here:1"),
    ],
)
def test_what_contradicts_itself(
    compare: Compare, options: list[str], message: str, tmp_path: Path
) -> None:
    result = compare(*STATIC, *options)
    assert result.exit_code == 2
    assert message in words(result)
    assert not (tmp_path / "out").exists()


def test_merging_what_is_no_experiment(tmp_path: Path) -> None:
    result = invoke("merge", tmp_path)
    assert result.exit_code == 2
    assert "no experiment was begun there" in words(result)


def test_failures_are_repeated_on_request(
    compare: Compare, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise RuntimeError("no luck")

    with monkeypatch.context() as patch:
        patch.setattr("agents.schedulers.heuristics.FCFS.decide", fail)
        assert compare(*STATIC).exit_code == 1
    again = compare(*STATIC)
    assert again.exit_code == 1
    assert "2 of the runs failed in an earlier call" in words(again)
    repeated = compare(*STATIC, "--retry-failed")
    assert repeated.exit_code == 0, repeated.output
    assert not (tmp_path / "out" / "failures.txt").exists()


def test_an_interruption_counts_what_is_kept(
    compare: Compare, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt  # before the workers could report what they have finished

    assert compare(*STATIC).exit_code == 0
    monkeypatch.setattr("agents.cli.shared.playing.play", interrupted)
    result = compare(*STATIC)
    assert result.exit_code == 130
    assert "Interrupted. 4 of 4 runs are kept" in words(result)
