"""A recording that breaks off keeps its episodes, and goes on as if it never had."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agents import AGENT_NAMES, Agent, collect, load_recording, make_agent
from agents.recording.unfinished import partial_folder, unfinished
from agents.schedulers.policy_file import POLICIES
from edgecloud_gym.files import UnreadableFileError
from tests.agents.recording.test_collect import BRIEF, assert_replays
from tests.edgecloud_gym.support import STATIC

minari = pytest.importorskip("minari", reason="recordings are checked where Minari is installed")
h5py = pytest.importorskip("h5py")

AGENTS = [name for name in AGENT_NAMES if name not in ("sb3", *POLICIES)]  # without a file
SETTINGS = {**BRIEF, "duration": 6.0}


class BreakOffError(Exception):
    """Stands for Ctrl-C."""


def breaking_off(after: int) -> Any:
    def progress(done: int, _: Any) -> None:
        if done == after:
            raise BreakOffError

    return progress


def broken_off(folder: Path, agent: Any = "cn-ducb", after: int = 2, **changes: Any) -> Path:
    """Records until some episodes are finished; returns the folder that was to be."""
    with pytest.raises(BreakOffError):
        collect(
            STATIC,
            agent,
            3,
            folder,
            seed=5,
            progress=breaking_off(after),
            **{**SETTINGS, **changes},
        )
    return folder


def content(folder: Path) -> dict[str, Any]:
    """All that a recording holds, but what names its place."""
    found: dict[str, Any] = {}

    def note(name: str, item: Any) -> None:
        found.update({f"{name}@{key}": np.array(value) for key, value in item.attrs.items()})
        if isinstance(item, h5py.Dataset):
            found[name] = item[()]

    with h5py.File(folder / "data" / "main_data.hdf5") as file:
        file.visititems(note)
    if (folder / "queue.npz").exists():
        with np.load(folder / "queue.npz") as order:
            found |= {f"order/{name}": order[name] for name in order.files}
    return found


@pytest.mark.parametrize("name", AGENTS)
def test_the_rest_is_the_same_bit_for_bit(name: str, tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    collect(STATIC, name, 3, whole, seed=5, **SETTINGS)
    broken = broken_off(tmp_path / "broken", name)
    assert not broken.exists()
    played: list[int] = []
    recorded = collect(
        STATIC, name, 3, broken, seed=5, progress=lambda done, _: played.append(done), **SETTINGS
    )
    assert played == [3]  # the finished ones are not played again
    expected, found = content(whole), content(broken)
    assert expected.keys() == found.keys()
    for key, value in expected.items():
        assert (value.dtype, value.tobytes()) == (found[key].dtype, found[key].tobytes()), key
    assert not partial_folder(broken).exists()
    assert assert_replays(recorded) == recorded.total_steps


def test_an_agent_that_had_learnt_before_goes_on_from_there(tmp_path: Path) -> None:
    """What the caller's agent knows at the end is the same as well."""
    agents = [make_agent("cn-ducb") for _ in range(3)]
    for agent in agents:
        collect(STATIC, agent, 1, tmp_path / f"before-{id(agent)}", seed=90, **SETTINGS)
    whole, half, rest = agents
    collect(STATIC, whole, 3, tmp_path / "whole", seed=5, **SETTINGS)
    broken_off(tmp_path / "broken", half)
    collect(STATIC, rest, 3, tmp_path / "broken", seed=5, **SETTINGS)
    learnt = whole.state()
    assert all(np.array_equal(learnt[name], value) for name, value in rest.state().items())


def test_a_process_that_is_killed_loses_no_finished_episode(tmp_path: Path) -> None:
    code = (
        "from agents import collect\n"
        f"collect({STATIC!r}, 'fcfs', 10**6, {str(tmp_path / 'mine')!r}, duration=5.0)"
    )
    process = subprocess.Popen([sys.executable, "-c", code])
    partial = partial_folder(tmp_path / "mine")
    try:
        deadline = time.monotonic() + 60.0
        while not list(partial.glob("episode-000002.npz")) and time.monotonic() < deadline:
            time.sleep(0.02)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    finished = len(list(partial.glob("episode-*.npz")))
    assert finished >= 3
    with pytest.raises(
        FileNotFoundError, match=rf"{finished} episodes of it lie in .*mine.partial"
    ):
        load_recording(tmp_path / "mine")
    recorded = collect(STATIC, "fcfs", finished + 1, tmp_path / "mine", duration=5.0)
    assert recorded.total_episodes == finished + 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": 6}, "seed=5, not 6"),
        ({"agent": "fcfs"}, 'agent.name="cn-ducb", not "fcfs"'),
        ({"agent": "cn-ducb:nu"}, "agent.*settings.*nu=0.001, not 0.5"),
        ({"load": 0.7}, "settings.load=1.2, not 0.7"),
        ({"explore": False}, "explore=true, not false"),
        ({"dataset": "smollm2-135m"}, "settings.dataset.*not"),
        ({"episodes": 1}, "episodes=1: .* holds 2 finished episodes"),
    ],
)
def test_other_settings_are_refused_by_name(
    changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    place = broken_off(tmp_path / "mine")
    given: dict[str, Any] = {"agent": "cn-ducb", "episodes": 3, "seed": 5, **SETTINGS, **changes}
    if given["agent"] == "cn-ducb:nu":
        given["agent"] = make_agent("cn-ducb", nu=0.5)
    with pytest.raises(FileExistsError, match=message):
        collect(STATIC, path=place, **given)
    assert len(list(partial_folder(place).glob("episode-*.npz"))) == 2
    assert collect(STATIC, "cn-ducb", 3, place, seed=5, **SETTINGS).total_episodes == 3


class Forgetful(Agent):
    """An agent that learns and does not say what."""

    learns = True

    def act(self, observation: Any, info: Any, explore: bool = True) -> Any:
        del info, explore
        return np.zeros(len(observation["candidates"]), np.int64)


def test_what_nobody_can_go_on_with_is_said(tmp_path: Path) -> None:
    place = broken_off(tmp_path / "mine", Forgetful())
    with pytest.raises(FileExistsError, match="must define state and restore; remove the folder"):
        collect(STATIC, Forgetful(), 3, place, seed=5, **SETTINGS)


def test_two_at_a_time_are_refused(tmp_path: Path) -> None:
    with (
        unfinished(tmp_path / "mine"),
        pytest.raises(FileExistsError, match="another process is recording it"),
    ):
        collect(STATIC, "fcfs", 1, tmp_path / "mine", **SETTINGS)
    assert list(tmp_path.glob("mine*")) == []


def test_minari_lists_no_half_recording() -> None:
    collect(STATIC, "fcfs", 1, **SETTINGS)
    with pytest.raises(BreakOffError):
        collect(STATIC, "random", 2, progress=breaking_off(2), **SETTINGS)
    assert list(minari.list_local_datasets()) == ["edgecloud/static/fcfs-v0"]
    collect(STATIC, "random", 2, **SETTINGS)
    assert len(minari.list_local_datasets()) == 2


def test_a_damaged_episode_is_named(tmp_path: Path) -> None:
    place = broken_off(tmp_path / "mine")
    (partial_folder(place) / "episode-000000.npz").write_bytes(b"half")
    with pytest.raises(UnreadableFileError, match=r"episode-000000.npz: no episode"):
        collect(STATIC, "cn-ducb", 3, place, seed=5, **SETTINGS)
