"""A recording has with it what its environment is made from, and may be moved."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agents import collect, load_recording
from edgecloud_gym import CLUSTER_ID, load_engine
from edgecloud_gym.arrivals import Trace
from edgecloud_gym.dataset import RequestDataset, load_dataset
from edgecloud_gym.dataset.writing import write_dataset
from tests.agents.recording.test_collect import ENGINE, assert_replays
from tests.edgecloud_gym.support import CONTINUOUS, STATIC, toy_dataset

minari = pytest.importorskip("minari", reason="recordings are checked where Minari is installed")
pytest.importorskip("h5py")

BRIEF: dict[str, Any] = {"duration": 6.0, "embedding_dim": 4}


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder of a user's own: a dataset, an engine, a trace."""
    folder = tmp_path / "files"
    write_dataset(toy_dataset(), folder / "toy")
    load_engine(ENGINE).save(folder / "engine.json")
    head = "arrival_time,prompt_tokens,output_tokens,completion_time"
    rows = [f"{time},5,5,{time + 1}" for time in (0.0, 0.5, 1.0, 1.2)]
    (folder / "trace.csv").write_text("\n".join([head, *rows]) + "\n")
    return folder


def paths(recorded: Any) -> str:
    return str(recorded.storage.metadata["env_spec"])


def test_where_minari_keeps_its_own_it_holds_on_any_machine(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it is, without this package's help."""
    collect(STATIC, "cn-ducb", 1, dataset=files / "toy", **BRIEF)
    shutil.rmtree(files)
    (tmp_path / "minari").rename(tmp_path / "elsewhere")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "elsewhere"))
    recorded = minari.load_dataset("edgecloud/static/cn-ducb-v0")
    assert str(tmp_path) not in paths(recorded)
    assert assert_replays(recorded) > 0
    assert recorded.recover_environment().unwrapped.dataset.name == "toy"


def test_a_folder_may_be_moved(files: Path, tmp_path: Path) -> None:
    collect(STATIC, "cn-ducb", 1, tmp_path / "mine", dataset=files / "toy", **BRIEF)
    assert assert_replays(minari.MinariDataset(tmp_path / "mine" / "data")) > 0
    shutil.rmtree(files)
    moved = (tmp_path / "mine").rename(tmp_path / "moved")
    with pytest.raises(FileNotFoundError, match="mine"):
        minari.MinariDataset(moved / "data").recover_environment()
    recorded = load_recording(moved)
    assert assert_replays(recorded) > 0
    assert recorded.recover_environment(eval_env=True).unwrapped.dataset.name == "toy"


def test_the_order_alone_says_how_a_moved_folder_is_read(tmp_path: Path) -> None:
    collect(STATIC, "cn-ducb", 1, tmp_path / "mine", duration=6.0)
    moved = (tmp_path / "mine").rename(tmp_path / "moved")
    with pytest.raises(FileNotFoundError, match=r"queue.npz: .* agents.load_recording\(FOLDER\)"):
        minari.MinariDataset(moved / "data").recover_environment()
    assert assert_replays(load_recording(moved)) > 0


@pytest.mark.parametrize("case", ["edge_engine", "nodes", "arrivals"])
def test_no_file_outside_is_named(case: str, files: Path, tmp_path: Path) -> None:
    engine = files / "engine.json"
    node = {"kind": "engine", "name": "a", "model": str(engine)}
    env_id, settings = {
        "edge_engine": (CONTINUOUS, {"edge_engine": engine, "load": 0.1}),
        "nodes": (CLUSTER_ID, {"nodes": [node], "load": 0.1}),
        "arrivals": (STATIC, {"arrivals": Trace(files / "trace.csv")}),
    }[case]
    recorded = collect(env_id, "fcfs", 1, tmp_path / "mine", dataset=toy_dataset(), **settings)
    shutil.rmtree(files)
    assert str(files) not in paths(recorded)
    assert assert_replays(load_recording(tmp_path / "mine")) > 0


def test_bundled_names_stay_names(tmp_path: Path) -> None:
    name = "smollm2-135m"
    for number, dataset in enumerate([name, load_dataset(name)]):
        place = tmp_path / str(number)
        recorded = collect(STATIC, "fcfs", 1, place, dataset=dataset, duration=3.0)
        assert recorded.env_spec.kwargs["dataset"] == name
        assert not (place / "requests").exists()


def test_a_namesake_of_a_bundled_dataset_does_not_come_back_as_one(tmp_path: Path) -> None:
    own = replace(toy_dataset(), name="smollm2-135m")
    recorded = collect(STATIC, "fcfs", 1, tmp_path / "mine", dataset=own, duration=3.0)
    assert (tmp_path / "mine" / "requests" / "dataset").is_dir()
    env: Any = recorded.recover_environment().unwrapped
    assert not env.dataset.is_bundled


def test_a_dataset_comes_back_with_its_families_and_name(tmp_path: Path) -> None:
    toy = toy_dataset()
    kinds = ["code" if n % 2 else "chat" for n in range(len(toy))]
    dataset = RequestDataset(
        base_latency=toy.base_latency, embeddings=toy.embeddings, families=kinds, name="a/b"
    )
    mix = [(0.0, {"code": 1.0})]
    recorded = collect(
        STATIC, "fcfs", 1, tmp_path / "mine", dataset=dataset, prompt_mix=mix, duration=3.0
    )
    env: Any = recorded.recover_environment().unwrapped
    assert env.dataset.families == tuple(kinds)
    assert np.array_equal(env.dataset.base_latency, toy.base_latency)
    assert (tmp_path / "mine" / "requests" / "dataset").is_dir()  # no folder is called a/b
    assert assert_replays(recorded) > 0


def test_a_recording_that_is_nowhere_is_named(tmp_path: Path) -> None:
    for missing in (tmp_path / "nothing", "edgecloud/static/nobody-v0"):
        with pytest.raises(FileNotFoundError, match="holds no recording"):
            load_recording(missing)
    collect(STATIC, "fcfs", 1, duration=3.0)
    assert load_recording("edgecloud/static/fcfs-v0").total_episodes == 1
