"""A results folder holds one experiment, all of it, or none."""

import errno
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from filelock import FileLock

from agents import AgentSpec, ExperimentError, Scenario, run_experiment
from agents.experiments.play import ExperimentProgress
from agents.experiments.results import folder as folder_module
from agents.report.results import read_results, read_table
from edgecloud_gym import RequestDataset
from edgecloud_gym.files import UnreadableFileError

STATIC = "EdgeCloud-Static-v0"
SETTINGS: dict[str, Any] = {
    "dataset": RequestDataset.from_arrays(base_latency=np.linspace(1.0, 2.0, 9)),
    "observe": "id",
    "duration": 20.0,
}
FILES = ("summary.csv", "timeseries.csv", "requests.csv", "run.json")


def play(folder: Path, agents: Any = ("fcfs", "random"), seeds: Any = 2, **options: Any) -> Any:
    return run_experiment(STATIC, agents, seeds, SETTINGS, folder, **options)


def contents(folder: Path) -> list[bytes]:
    return [(folder / name).read_bytes() for name in FILES]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"agents": ["fcfs"]}, "agents there and not here: random"),
        ({"seeds": 1}, "seeds there and not here: 1"),
        ({"seeds": [1, 2]}, "seeds there and not here: 0"),
        ({"env_kwargs": {**SETTINGS, "network_rtt": 0.2}}, "network_rtt.*not set there, 0.2 here"),
        ({"env_kwargs": {**SETTINGS, "duration": 9.0}}, "duration.* is 20.0 there, 9.0 here"),
        ({"env_id": Scenario(STATIC, {}, "other")}, "scenarios there and not here: EdgeCloud"),
        (
            {"agents": ["fcfs", AgentSpec("random", explore=False)]},
            "explore of random is True there, False here",
        ),
    ],
)
def test_another_experiment_is_refused(
    arguments: dict[str, Any], message: str, tmp_path: Path
) -> None:
    play(tmp_path, plots=True)
    before = contents(tmp_path)
    given = {"env_id": STATIC, "agents": ["fcfs", "random"], "seeds": 2, "env_kwargs": SETTINGS}
    with pytest.raises(ValueError, match=rf"(?s){message}.*overwrite"):
        run_experiment(**{**given, **arguments}, output_dir=tmp_path)
    assert contents(tmp_path) == before
    (tmp_path / "notes.txt").write_text("mine")
    result = run_experiment(**{**given, **arguments}, output_dir=tmp_path, overwrite=True)
    assert len(read_results(tmp_path).summary) == len(result.runs)
    assert not (tmp_path / "comparison.png").exists()
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert len([*(tmp_path / "runs").glob("?" * 20)]) == len(result.runs)


def test_an_experiment_may_grow(tmp_path: Path) -> None:
    seen: list[ExperimentProgress] = []
    play(tmp_path, plots=True)
    play(tmp_path, ["fcfs", "sjf-oracle", "random"], 3, progress=seen.append)
    assert (seen[0].done, seen[0].total) == (4, 9)
    assert not (tmp_path / "comparison.png").exists()  # it showed less
    assert len(read_results(tmp_path).summary) == 9


def test_the_same_again_touches_nothing(tmp_path: Path) -> None:
    play(tmp_path, plots=True)
    (tmp_path / "report.html").write_text("page")
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir() if path.is_file()}
    play(tmp_path)
    after = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir() if path.is_file()}
    assert after == before


def test_files_of_someone_else_are_kept(tmp_path: Path) -> None:
    (tmp_path / "summary.csv").write_text("mine")
    with pytest.raises(ValueError, match=r"summary\.csv.*does not say of what"):
        play(tmp_path)
    assert (tmp_path / "summary.csv").read_text() == "mine"


def test_a_write_that_fails_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    play(tmp_path)
    before = contents(tmp_path)
    write = folder_module._write_csv

    def full(path: Path, parts: Any) -> None:
        if path.name == "requests.csv":
            raise OSError(errno.ENOSPC, "No space left on device")
        write(path, parts)

    monkeypatch.setattr(folder_module, "_write_csv", full)
    with pytest.raises(OSError, match="No space left"):
        play(tmp_path, ["fcfs", "random", "sjf-oracle"])
    assert contents(tmp_path) == before
    assert len(read_results(tmp_path).summary) == 4
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]
    monkeypatch.undo()
    seen: list[ExperimentProgress] = []
    play(tmp_path, ["fcfs", "random", "sjf-oracle"], progress=seen.append)
    assert seen[0].done == 6  # nothing is played twice
    assert len(read_results(tmp_path).summary) == 6


@pytest.mark.parametrize("name", ["summary.csv", "requests.csv", "timeseries.csv"])
def test_files_of_two_experiments_are_not_taken_together(name: str, tmp_path: Path) -> None:
    play(tmp_path / "a")
    play(tmp_path / "b", seeds=3)
    whole = contents(tmp_path / "a")
    shutil.copy(tmp_path / "b" / name, tmp_path / "a")
    with pytest.raises(UnreadableFileError, match=rf"{name} and run\.json do not belong together"):
        read_results(tmp_path / "a")
    play(tmp_path / "a")  # mends it
    assert contents(tmp_path / "a")[:3] == whole[:3]


@pytest.mark.parametrize("damage", ["empty", "cut", "changed", "missing", "folder"])
@pytest.mark.parametrize("name", ["summary.json", "requests.parquet", "digests.json"])
def test_a_damaged_run_is_played_again(
    name: str, damage: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    play(tmp_path)
    whole = contents(tmp_path)
    run = next((tmp_path / "runs").glob("[!.]*/"))  # not the locks, which may come first
    file = run / name
    content = file.read_bytes()
    file.unlink()
    if damage == "folder":
        file.mkdir()
    elif damage != "missing":
        middle = len(content) // 2
        cut = {"empty": b"", "cut": content[:middle]}
        changed = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
        file.write_bytes(cut.get(damage, changed))
    seen: list[ExperimentProgress] = []
    play(tmp_path, progress=seen.append)
    assert [p.run is not None for p in seen].count(True) == 1
    assert "damaged; it is played again" in "".join(p.note or "" for p in seen)
    assert contents(tmp_path) == whole
    file.unlink()
    play(tmp_path)
    assert "played again" in caplog.text


def test_nothing_outlives_a_failure_of_all(tmp_path: Path) -> None:
    play(tmp_path / "a", ["edge-only"])
    settings = {**SETTINGS, "edge_concurrency": 0}
    with pytest.raises(ExperimentError) as caught:
        run_experiment(
            STATIC, ["edge-only"], 2, settings, tmp_path / "a", overwrite=True, plots=True
        )
    result = caught.value.result
    assert len(result.summary) == len(result.requests) == 0
    assert "0 runs, 2 failed" in repr(result)
    assert "edge_concurrency" in result._repr_html_()
    assert sorted(p.name for p in (tmp_path / "a").iterdir()) == [
        "failures.txt",
        "run.json",
        "runs",
    ]
    with pytest.raises(FileNotFoundError, match=r"every run failed.*edge_concurrency"):
        read_results(tmp_path / "a")


LABELS = ["None", "NA", "nan", "", "0.1", "0.5", "1e3", "true", "a,b", 'a"b', " a", "ä–語", "null"]


def test_labels_stay_what_they_are(tmp_path: Path) -> None:
    specs = [AgentSpec("fcfs", label=label) for label in LABELS]
    scenarios = [Scenario(STATIC, {}, label) for label in ("NA", "0.5")]
    played = run_experiment(scenarios, specs, 1, SETTINGS, tmp_path)
    results = read_results(tmp_path)
    labels = [label or "fcfs" for label in LABELS]
    for table in (results.summary, results.timeseries, results.requests):
        assert table["agent"].unique().tolist() == labels
        assert table["env"].unique().tolist() == ["NA", "0.5"]
    pd.testing.assert_frame_equal(
        results.summary, played.summary.astype(results.summary.dtypes), check_dtype=False
    )
    assert read_table(tmp_path / "requests.csv", ["agent", "jct"]).columns.tolist() == [
        "agent",
        "jct",
    ]


WITHOUT_SETTINGS = json.dumps(
    {
        **{name: [] for name in ("agents", "seeds", "failures")},
        **{name: {} for name in ("versions", "files")},
        "machine": "",
        "scenarios": [{"label": "E", "env": "E", "settings": None}],
    }
)


@pytest.mark.parametrize(
    "text",
    ["[]", "null", "{}", '{"scenarios": null}', "", "{", WITHOUT_SETTINGS],
)
def test_a_foreign_record_is_named(text: str, tmp_path: Path) -> None:
    play(tmp_path)
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(UnreadableFileError, match=r"run\.json"):
        read_results(tmp_path)


@pytest.mark.parametrize(
    "place", ["a file", "below a file", "a dangling link", "a read-only folder"]
)
def test_what_cannot_be_written_is_told_at_once(place: str, tmp_path: Path) -> None:
    target = tmp_path / "out"
    if place == "a file":
        target.write_text("mine")
    elif place == "below a file":
        (tmp_path / "file").write_text("mine")
        target = tmp_path / "file" / "out"
    elif place == "a dangling link":
        target.symlink_to(tmp_path / "nowhere" / "else")
        (tmp_path / "nowhere").write_text("mine")
    else:
        target.mkdir(mode=0o500)
        if os.access(target, os.W_OK):
            pytest.skip("this user may write anywhere")
    seen: list[ExperimentProgress] = []
    with pytest.raises(OSError, match="nothing can be written there"):
        play(target, progress=seen.append)
    assert seen == []


def test_what_another_process_writes_is_left_alone(tmp_path: Path) -> None:
    left = tmp_path / "runs" / f".{'a' * 20}.0123456789ab"
    left.mkdir(parents=True)
    (tmp_path / "runs" / ".locks").mkdir()
    with FileLock(tmp_path / "runs" / ".locks" / ("b" * 20)):
        play(tmp_path)
        assert left.exists()
    play(tmp_path)
    assert not left.exists()


def test_the_claim_is_a_record(tmp_path: Path) -> None:
    play(tmp_path)
    claim = json.loads((tmp_path / "runs" / "experiment.json").read_text())
    assert [item["label"] for item in claim["agents"]] == ["fcfs", "random"]
    (tmp_path / "runs" / "experiment.json").write_text("{}")
    with pytest.raises(ValueError, match=r"experiment\.json is damaged"):
        play(tmp_path)


def test_the_jcts_of_one_scenario_alone(tmp_path: Path) -> None:
    """In memory, in the folder of the runs and in the CSV: what the whole log says."""
    scenarios = [Scenario(STATIC, {"network_rtt": rtt}, f"rtt {rtt}") for rtt in (0.0, 0.2)]
    result = run_experiment(scenarios, ["random", "fcfs"], 2, SETTINGS, tmp_path)
    memory = run_experiment(scenarios, ["random", "fcfs"], 2, SETTINGS, None)
    log = result.requests[result.requests["env"] == "rtt 0.2"].reset_index(drop=True)
    for found in (result, memory, read_results(tmp_path)):
        jcts = found.jcts("rtt 0.2")
        for name in ("env", "agent", "seed", "request_id", "jct"):
            assert jcts[name].tolist() == log[name].tolist(), name
        assert found.jcts("elsewhere").empty


def test_an_empty_name_is_not_the_current_folder() -> None:
    with pytest.raises(ValueError, match=r"output_dir=' ': '\.' is the current folder"):
        run_experiment(STATIC, "fcfs", 1, SETTINGS, " ")
    with pytest.raises(ValueError, match="dataset '': the name is empty"):
        run_experiment(STATIC, "fcfs", 1, {"dataset": ""}, None)
