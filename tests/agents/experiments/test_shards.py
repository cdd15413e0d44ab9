"""Shards of an experiment share a folder; what they write together is what one process writes."""

import time
from pathlib import Path
from typing import Any

import pytest

from agents import ExperimentError, run_experiment
from agents.experiments.merge import UnfinishedError, merge
from agents.experiments.play import ExperimentProgress
from agents.experiments.results.folder import OtherExperimentError
from agents.experiments.shard import Shard
from agents.report.results import read_results
from tests.agents.experiments.executors.test_executors import contents
from tests.agents.experiments.executors.test_workers import SETTINGS, on_odd_seeds, raise_unfriendly
from tests.agents.experiments.forks import play_slowly, start_slowly
from tests.agents.experiments.test_experiment import STATIC

AGENTS = ["fcfs", "random", "least-connections"]


def play(folder: Path, shard: Any = None, seeds: int = 3, **options: Any) -> Any:
    return run_experiment(STATIC, AGENTS, seeds, SETTINGS, folder, shard=shard, **options)


@pytest.mark.parametrize("order", [(1, 2, 3), (3, 1, 2)])
def test_the_last_shard_writes_what_one_process_would(
    order: tuple[int, ...], tmp_path: Path
) -> None:
    shared = tmp_path / "shared"
    for number in order:
        assert not (shared / "summary.csv").exists()
        result = play(shared, f"{number}/3")
    assert result.missing == 0
    play(tmp_path / "alone")
    assert contents(shared) == contents(tmp_path / "alone")
    assert not [*(shared / "runs" / ".locks").glob("?" * 20)]


def test_four_at_once_of_which_one_is_killed_and_two_are_the_same(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    first = [start_slowly(shared, f"{i}/3") for i in (1, 2, 3, 3)]
    while not [*shared.glob("runs/.????????????????????.*"), *shared.glob("runs/" + "?" * 20)]:
        assert first[0].is_alive()
        time.sleep(0.01)
    first[0].kill()
    again = start_slowly(shared, "1/3")
    for process in (*first[1:], again):
        process.join(120)
        assert process.exitcode == 0
    first[0].join()
    assert len(read_results(shared).summary) == 16
    assert play_slowly(tmp_path / "alone") == 0
    assert contents(shared) == contents(tmp_path / "alone")
    assert not [*shared.glob("runs/.????????????????????.*")]  # nothing half-written is left


def test_merging_tells_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no experiment was begun there"):
        merge(tmp_path)
    assert play(tmp_path, "2/3").missing == 6
    with pytest.raises(
        UnfinishedError, match=r"6 of 9 runs are still .*agent fcfs, seed 0"
    ) as caught:
        merge(tmp_path)
    assert len(caught.value.missing) == 6
    (tmp_path / "runs" / "experiment.json").write_text("[]")
    with pytest.raises(ValueError, match="not what an experiment writes"):
        merge(tmp_path)


def test_merging_is_what_the_last_shard_does(tmp_path: Path) -> None:
    for number in (1, 2, 3):
        play(tmp_path, f"{number}/3", seeds=2)
    before = contents(tmp_path)
    for name in ("summary.csv", "timeseries.csv", "requests.csv", "run.json"):
        (tmp_path / name).unlink()
    assert len(merge(tmp_path).summary) == 6
    assert contents(tmp_path) == before


def test_failures_of_other_shards_are_told(tmp_path: Path) -> None:
    agents = ["fcfs", on_odd_seeds(raise_unfriendly)]

    def shard(number: int, **options: Any) -> Any:
        return run_experiment(
            STATIC, agents, 4, SETTINGS, tmp_path, shard=Shard(number, 2), **options
        )

    shard(1)
    with pytest.raises(ExperimentError, match="2 of 8 runs failed") as caught:
        shard(2)
    assert {failure.run.seed for failure in caught.value.result.failures} == {1, 3}
    assert ", seeds 1, 3: " in str(caught.value)  # what fails alike is told once
    assert len(read_results(tmp_path).record["failures"]) == 2
    assert "UnfriendlyError" in (tmp_path / "failures.txt").read_text()


def test_what_failed_is_repeated_on_request(tmp_path: Path) -> None:
    seen: list[ExperimentProgress] = []
    agents = [on_odd_seeds(raise_unfriendly)]
    for retry, played in ((False, 2), (False, 0), (True, 1)):
        seen.clear()
        with pytest.raises(ExperimentError, match="1 of 2 runs failed"):
            run_experiment(
                STATIC, agents, 2, SETTINGS, tmp_path, progress=seen.append, retry_failed=retry
            )
        assert sum(progress.run is not None for progress in seen) == played
        told = [p.note for p in seen if p.note and "failed in an earlier call" in p.note]
        assert bool(told) == (played == 0)


@pytest.mark.parametrize(
    ("shard", "message"),
    [
        ("0/3", "shard=0: must be an integer from 1 to 3"),
        ("4/3", "shard=4"),
        ("1/0", "shards=0"),
        ("2", "shard '2': must be number/count, such as 2/4"),
        ("a/b", "must be number/count"),
        ("-1/2", "must be number/count"),
    ],
)
def test_shards_out_of_range(shard: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        play(tmp_path, shard)
    with pytest.raises(ValueError, match="shard=1/2: needs an output_dir"):
        run_experiment(STATIC, AGENTS, 1, SETTINGS, None, shard="1/2")


def test_a_shard_of_another_experiment(tmp_path: Path) -> None:
    play(tmp_path, "1/2", seeds=2)
    with pytest.raises(OtherExperimentError, match=r"begun by other code.*or other runs"):
        play(tmp_path, "2/2", seeds=3)
    with pytest.raises(OtherExperimentError, match="seeds there and not here: 1"):
        play(tmp_path, "2/2", seeds=1)


def test_every_run_is_in_one_shard() -> None:
    parts = [Shard(i, 4).of(range(10)) for i in (1, 2, 3, 4)]
    assert sorted(item for part in parts for item in part) == [*range(10)]
    assert Shard.parse(" 2/4") == Shard(2, 4)
    assert str(Shard(2, 4)) == "2/4"
