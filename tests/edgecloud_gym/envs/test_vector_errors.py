"""What the native vector environment refuses."""

import multiprocessing
import os
import threading
from dataclasses import fields
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from edgecloud_gym import nodes as nodes_module
from edgecloud_gym.simulator.simulator import Simulator
from tests.edgecloud_gym.support import LANES, make_vec


def test_step_needs_a_reset() -> None:
    env = make_vec(autoreset_mode=AutoresetMode.DISABLED)
    actions = np.zeros(env.action_space.shape, np.int64)
    with pytest.raises(ResetNeeded, match="reset"):
        env.step(actions)
    env.reset(seed=0, options={"reset_mask": np.array([True, False, False])})
    with pytest.raises(ResetNeeded, match="reset"):
        env.step(actions)
    env.reset(seed=0)
    ended = np.zeros(LANES, np.bool_)
    while not ended.any():
        _, _, ended, _, _ = env.step(actions)
    with pytest.raises(ResetNeeded, match="ended"):
        env.step(actions)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lanes": 0}, "num_envs=0.*>= 1"),
        ({"num_threads": 0}, "num_threads=0.*>= 1"),
        ({"render_mode": "human"}, "render_mode='human'.*rgb_array"),
        ({"priority": lambda embeddings: embeddings[:, 0]}, "priority.*None or an array"),
        ({"autoreset_mode": "sometimes"}, "sometimes"),
    ],
)
def test_bad_settings(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_vec(**settings)


@pytest.mark.parametrize("setting", ["lanes", "num_threads", "max_episode_steps"])
def test_numbers_of_any_integer_type_do_and_no_others(setting: str) -> None:
    make_vec(**{setting: np.int64(2)})
    with pytest.raises(TypeError, match=r"=2.0: must be an integer >= 1"):
        make_vec(**{setting: 2.0})


@pytest.mark.parametrize("options", [{"reset_masks": np.ones(LANES, bool)}, {"seed": 3}])
def test_unknown_reset_options(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must be among reset_mask"):
        make_vec().reset(options=options)


@pytest.mark.parametrize(
    ("actions", "error", "message"),
    [
        (np.zeros((LANES, 4), np.int64), ValueError, r"shape \(3, 4\).*\(3, 5\)"),
        (np.zeros(5, np.int64), ValueError, r"shape \(5,\).*\(3, 5\)"),
        (np.zeros((LANES, 5)), TypeError, "float64.*integers"),
        (np.full((LANES, 5), 3), ValueError, "0 .wait., 1 .edge. or 2 .cloud."),
    ],
)
def test_bad_actions(actions: NDArray[Any], error: type[Exception], message: str) -> None:
    env = make_vec()
    env.reset(seed=0)
    with pytest.raises(error, match=message):
        env.step(actions)


@pytest.mark.parametrize(
    ("mask", "error"),
    [
        ([True, False, True], TypeError),
        (np.ones(LANES), TypeError),
        (np.ones(LANES - 1, np.bool_), ValueError),
        (np.zeros(LANES, np.bool_), ValueError),
    ],
)
def test_bad_reset_masks(mask: Any, error: type[Exception]) -> None:
    env = make_vec()
    env.reset(seed=0)
    with pytest.raises(error, match="reset_mask"):
        env.reset(options={"reset_mask": mask})


def test_bad_active_masks() -> None:
    env = make_vec()
    env.reset(seed=0)
    actions = np.zeros(env.action_space.shape, np.int64)
    with pytest.raises(ValueError, match="active"):
        env.step_active(actions, np.ones(LANES + 1, np.bool_))
    with pytest.raises(TypeError, match="active"):
        env.step_active(actions, np.ones(LANES, np.int64))


def test_wrong_number_of_seeds() -> None:
    with pytest.raises(ValueError, match=r"seed has 2 entries.*3"):
        make_vec().reset(seed=[1, 2])


@pytest.mark.parametrize("seed", [1.5, "12", {0, 1}])
def test_a_seed_is_an_integer_or_one_per_lane(seed: Any) -> None:
    with pytest.raises(TypeError, match=r"seed=.*integer, None, or one of these per lane"):
        make_vec().reset(seed=seed)


@pytest.mark.parametrize("env_id", ["EdgeCloud-Static-v0", "EdgeCloud-Cluster-v0"])
def test_lanes_that_do_not_fit_are_refused_before_they_are_built(env_id: str) -> None:
    nodes = [nodes_module.Slots("cloud", slots=4)] if "Cluster" in env_id else None
    settings: dict[str, Any] = {"duration": 1e5} | ({"nodes": nodes} if nodes else {})
    with pytest.raises(MemoryError, match=r"^num_envs=1000000: such systems take about [\d,]+ GB"):
        gym.make_vec(env_id, num_envs=1_000_000, **settings)


@pytest.mark.parametrize("place", ["_allocate", "begin_episode", "output"])
def test_memory_that_runs_out_is_told_as_lanes(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ask = make_vec if place == "_allocate" else make_vec().reset

    def run_out(*_: object, **__: object) -> None:
        raise MemoryError("Unable to allocate")

    monkeypatch.setattr(Simulator, place, run_out)
    with pytest.raises(MemoryError, match=r"^num_envs=3: such systems take about .* GB"):
        ask()


@pytest.mark.parametrize("settings", [{"observe": "id"}, {"duration": 30.0}])
def test_memory_is_told_about_as_it_is_taken(settings: dict[str, Any]) -> None:
    env = make_vec(lanes=64, **settings)
    observation, _ = env.reset(seed=0)
    simulator = env.simulator
    parts = [getattr(simulator.state, field.name) for field in fields(simulator.state)]
    taken = sum(part.nbytes for part in parts if isinstance(part, np.ndarray))
    taken += 4 * sum(part.nbytes for part in observation.values())
    assert 64 * simulator.lane_bytes == pytest.approx(taken, rel=0.3)


@pytest.mark.parametrize("num_threads", [1, 2])
def test_two_threads_at_once_are_told(num_threads: int) -> None:
    env = make_vec(lanes=64, num_threads=num_threads)
    env.reset(seed=0)
    actions = np.zeros(env.action_space.shape, np.int64)
    said = []

    def go_on() -> None:
        try:
            for _ in range(300):
                env.step(actions)
        except RuntimeError as error:
            said.append(str(error))

    threads = [threading.Thread(target=go_on, daemon=True) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert not any(thread.is_alive() for thread in threads)
    assert all("another thread" in message for message in said)
    env.step(actions)
    # For certain: this thread has it when the other one asks.
    with env._in_use:
        asking = threading.Thread(target=go_on)
        said.clear()
        asking.start()
        asking.join(timeout=60)
    assert len(said) == 1
    assert "another thread" in said[0]
    env.close()


def test_no_thread_closes_what_another_one_steps() -> None:
    env = make_vec(lanes=64, num_threads=2)
    env.reset(seed=0)
    actions = np.zeros(env.action_space.shape, np.int64)
    taken, asked = threading.Event(), threading.Event()

    def hold() -> None:
        with env._in_use:  # as in a step
            taken.set()
            asked.wait(60)

    stepping = threading.Thread(target=hold)
    stepping.start()
    taken.wait(60)
    with pytest.raises(RuntimeError, match=r"another thread is in .*close"):
        env.close()
    asked.set()
    stepping.join()
    assert not env.closed
    env.step(actions)
    env.close()
    assert env.closed


@pytest.mark.skipif(not hasattr(os, "fork"), reason="fork() is Unix's")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_fork_while_another_thread_steps_leaves_the_child_free() -> None:
    env = make_vec()
    taken, forked = threading.Event(), threading.Event()

    def hold() -> None:
        with env._in_use:
            taken.set()
            forked.wait(60)

    holder = threading.Thread(target=hold)
    holder.start()
    taken.wait(60)
    child = multiprocessing.get_context("fork").Process(target=env.reset, kwargs={"seed": 0})
    child.start()
    child.join(60)
    forked.set()
    holder.join()
    assert child.exitcode == 0
