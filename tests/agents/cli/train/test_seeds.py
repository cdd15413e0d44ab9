"""Several trainings at once: each is the one that its seed alone would be."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.agents.cli.conftest import invoke, words

BRIEFLY = ("--env", "static", "--duration", 20, "--episodes", 2)


def train(learnable: Path, output: Path, *options: Any) -> Any:
    return invoke("train", "c2ucb", "--dataset", learnable, "--output", output, *BRIEFLY, *options)


@pytest.mark.parametrize("how", [["--workers", 2], ["--scheduler", "local"]])
def test_each_seed_has_a_file(
    how: list[Any], learnable: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "--scheduler" in how:
        pytest.importorskip("distributed", reason="needs the extra dask")
    result = train(learnable, tmp_path / "m.npz", "--seed", 3, "--seeds", 2, *how)
    assert result.exit_code == 0, result.output
    assert "2 models" in words(result)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m-3.npz", "m-4.npz"]
    assert train(learnable, tmp_path / "alone.npz", "--seed", 4).exit_code == 0
    assert (tmp_path / "m-4.npz").read_bytes() == (tmp_path / "alone.npz").read_bytes()
    before = (tmp_path / "m-3.npz").stat().st_mtime_ns
    monkeypatch.setattr("agents.cli.train.seeds.do_in_processes", do_here)
    assert train(learnable, tmp_path / "m.npz", "--seed", 3, "--seeds", 2, *how).exit_code == 0
    assert (tmp_path / "m-3.npz").stat().st_mtime_ns == before  # nothing is repeated
    longer = train(learnable, tmp_path / "m.npz", "--seed", 4, "--seeds", 1, *how, "--load", 1.0)
    assert longer.exit_code == 2
    assert "m-4.npz: is there already, and was trained with load 1.2" in words(longer)


def test_a_training_that_fails_takes_no_other_with_it(
    learnable: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from agents.experiments.training.training import Training

    play = Training.play

    def fail(self: Training, path: Path) -> None:
        if self.seed == 0:
            raise RuntimeError("no luck")
        play(self, path)

    monkeypatch.setattr(Training, "play", fail)
    monkeypatch.setattr("agents.cli.train.seeds.do_in_processes", do_here)
    result = train(learnable, tmp_path / "m.npz", "--seeds", 2)
    assert result.exit_code == 1
    assert "c2ucb, seed 0 failed: RuntimeError: no luck" in words(result)
    assert [path.name for path in tmp_path.iterdir()] == ["m-1.npz"]


def do_here(jobs: Any, count: int) -> Any:
    from agents.experiments.runs.errors import error_of

    del count
    for job, path in jobs:
        yield job, error_of(lambda: job.play(path))  # noqa: B023 - called now


def test_the_best_is_kept_and_the_spread_told(
    learnable: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agents.cli.train.seeds.do_in_processes", do_here)
    looks = ("--evaluate-every", 1, "--evaluation-seeds", 1, "--beside", "fcfs", "--seeds", 2)
    result = train(learnable, tmp_path / "m.npz", *looks)
    assert result.exit_code == 0, result.output
    scores = {}
    for seed in (0, 1):
        curve = pd.read_csv(tmp_path / f"m-{seed}.csv")
        scores[seed] = curve[curve["agent"] == "c2ucb"]["score"].min()
    kept = min(scores, key=lambda seed: scores[seed])
    found = json.loads((tmp_path / "m-seeds.json").read_text())
    assert found["kept"] == kept
    assert found["seeds"] == pytest.approx({str(seed): s for seed, s in scores.items()})
    assert found["std"] == pytest.approx(np.std([*scores.values()], ddof=1))
    assert (tmp_path / "m.npz").read_bytes() == (tmp_path / f"m-{kept}.npz").read_bytes()
    assert f"The best, of seed {kept}, is kept as" in words(result)
    other = train(learnable, tmp_path / "m.npz", *looks, "--seed", 7, "--load", 1.0)
    assert other.exit_code == 2  # what is kept there is of another training
    assert "m.npz: is there already" in words(other)
