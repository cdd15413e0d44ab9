"""Agents by name, and their checkpoints."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agents import AGENT_NAMES, make_agent, run_experiment
from agents.base import constructor_arguments
from agents.checkpoint import read_checkpoint, read_header, write_checkpoint
from agents.prediction import load_predictor
from agents.registry import agent_class
from edgecloud_gym.files import replacing
from tests.edgecloud_gym.long_values import ALLOWED, LONG, refusal


def test_unknown_agent_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"'fcsf'.*did you mean 'fcfs'") as caught:
        make_agent("fcsf")
    assert all(name in str(caught.value) for name in AGENT_NAMES)


def test_unknown_setting_is_refused() -> None:
    with pytest.raises(TypeError, match="speed"):
        make_agent("fcfs", speed=3)


def test_checkpoint_round_trip(tmp_path: Path) -> None:
    state = {"w": np.arange(6.0).reshape(2, 3), "n": np.array(3)}
    write_checkpoint(tmp_path / "a.npz", "fcfs", {"k": (1, 2)}, state)
    read = read_checkpoint(tmp_path / "a.npz", "fcfs", {"k": (1, 2)})
    assert read.keys() == state.keys()
    assert all(np.array_equal(read[name], state[name]) for name in state)


def test_settings_of_numpy_are_kept(tmp_path: Path) -> None:
    settings = {"hidden": np.array([8, 4]), "rate": np.float32(0.5), "flag": np.bool_(True)}
    write_checkpoint(tmp_path / "a.npz", "cn-ts", settings, {})
    plain = {"hidden": [8, 4], "rate": 0.5, "flag": True}
    assert read_header(tmp_path / "a.npz")["settings"] == plain
    for same in (settings, plain):
        assert read_checkpoint(tmp_path / "a.npz", "cn-ts", same) == {}


def test_settings_that_are_missing_or_unknown_are_named() -> None:
    with pytest.raises(TypeError, match=r"agent 'sb3' needs path="):
        make_agent("sb3")
    with pytest.raises(TypeError, match=r"'memry' .did you mean 'memory'.*it takes: memory"):
        make_agent("historical-lrt", memry=3)
    with pytest.raises(TypeError, match=r"'hiden' .did you mean 'hidden'"):
        make_agent("cn-ducb", hiden=[8])


def test_foreign_checkpoint_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    make_agent("fcfs").save(path)
    with pytest.raises(ValueError, match="'fcfs', not 'random'"):
        make_agent("random").load(path)
    make_agent("historical-lrt", memory=7).save(path)
    with pytest.raises(ValueError, match="settings"):
        make_agent("historical-lrt").load(path)


@pytest.mark.parametrize("keep", [0, 10, 100, 0.9])
def test_damaged_checkpoint_is_refused(tmp_path: Path, keep: float) -> None:
    path = tmp_path / "a.npz"
    make_agent("fcfs").save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: keep if isinstance(keep, int) else int(keep * len(whole))])
    with pytest.raises(ValueError, match="damaged"):
        make_agent("fcfs").load(path)


class Harmful:
    """Unpickled, it leaves a file behind."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.path,))


def test_pickles_are_not_read(tmp_path: Path) -> None:
    make_agent("fcfs").save(tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz") as file:
        arrays = dict(file)
    harmful = np.array([Harmful(tmp_path / "harm")], dtype=object)
    np.savez(tmp_path / "a.npz", **arrays, more=harmful)
    with pytest.raises(ValueError, match="not an agent's checkpoint"):
        make_agent("fcfs").load(tmp_path / "a.npz")
    assert not (tmp_path / "harm").exists()


def test_missing_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        make_agent("fcfs").load(tmp_path / "none.npz")


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(TypeError), replacing(path) as temporary:
        temporary.write_text(3)  # type: ignore[arg-type]
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]
    assert path.read_text() == "old"


def test_heuristics_need_no_torch() -> None:
    code = "import sys, agents; agents.make_agent('fcfs'); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_settings_of_a_wrong_kind_are_named() -> None:
    with pytest.raises(TypeError, match="tuned=3: must be a path or IndexSettings"):
        make_agent("index", tuned=3)
    for name, setting in (("ppo", "model"), ("sb3", "path")):
        for wrong, allowed in ((3, "must be a path"), ("", "'.' is the current folder")):
            with pytest.raises((TypeError, ValueError), match=f"{setting}={wrong!r}: .*{allowed}"):
                make_agent(name, **{setting: wrong})
    with pytest.raises(TypeError, match="vec_normalize=3: must be a path"):
        make_agent("sb3", path="m.zip", vec_normalize=3)
    with pytest.raises(TypeError, match="predictor=3: must be a name, a path or a Predictor"):
        load_predictor(3)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", LONG.values(), ids=LONG)
def test_no_message_is_as_long_as_what_it_refuses(value: object) -> None:
    for name in AGENT_NAMES:
        for setting in constructor_arguments(agent_class(name)):
            settings = {"path": "none.zip", setting: value} if name == "sb3" else {setting: value}
            assert len(refusal(make_agent, name, **settings)) < ALLOWED, (name, setting)
    assert len(refusal(make_agent, value)) < ALLOWED
    experiment = {"env_id": "EdgeCloud-Static-v0", "agents": ["fcfs"], "seeds": 1}
    for argument in ("agents", "seeds"):
        message = refusal(run_experiment, **{**experiment, argument: value})
        assert len(message) < ALLOWED, argument
