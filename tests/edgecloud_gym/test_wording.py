"""No message grows with the value that it refuses."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from edgecloud_gym import RequestDataset
from edgecloud_gym.arrivals import MMPP, Diurnal, Trace
from edgecloud_gym.config import SystemConfig
from edgecloud_gym.engines import EngineModel, load_engine
from edgecloud_gym.envs import StaticBatchingEnv
from edgecloud_gym.nodes import Engine, Sequences, Slots, StaticBatches
from edgecloud_gym.priorities import AgedScores
from edgecloud_gym.wording import LONGEST, listed, shown
from edgecloud_gym.wrappers.vector import PriorityAction, SequentialAssignment
from tests.edgecloud_gym.long_values import ALLOWED, LONG, MANY, refusal
from tests.edgecloud_gym.support import make, make_vec, toy_dataset


def test_what_is_short_is_told_as_it_is() -> None:
    for value in ("fcfs", 3, 0.5, [1, 2], {"b": 1, "a": {"c": (1,)}}, None, True, {"x"}):
        assert shown(value) == repr(value)
    assert shown(np.array([1, 2])) == "array([1, 2])"


@pytest.mark.parametrize("value", LONG.values(), ids=LONG)
def test_what_is_long_is_cut_short(value: object) -> None:
    assert 1 < len(shown(value)) <= LONGEST


def test_so_many_names_are_counted() -> None:
    assert listed(["a", "b"]) == "a, b"
    assert listed(map(str, range(1030))).endswith("29 and 1,000 more")
    assert len(listed(["x" * MANY])) == LONGEST


@pytest.mark.parametrize("value", LONG.values(), ids=LONG)
def test_settings(value: object) -> None:
    for name in SystemConfig.__dataclass_fields__:
        for defaults in ({}, {"nodes": [Slots("cloud")]}):
            message = refusal(SystemConfig.from_settings, {name: value}, defaults)
            assert len(message) < ALLOWED, name
        # Not by `gymnasium.make`, which tells all settings behind the message of a TypeError.
        if not isinstance(value, np.ndarray):
            assert len(refusal(StaticBatchingEnv, **{name: value})) < ALLOWED, name


@pytest.mark.parametrize("value", LONG.values(), ids=LONG)
@pytest.mark.parametrize(
    "kind",
    [Engine, Sequences, Slots, StaticBatches, EngineModel, Trace, MMPP, Diurnal, AgedScores],
)
def test_parts_of_settings(kind: Any, value: object) -> None:
    names = kind.__init__.__code__.co_varnames[1 : kind.__init__.__code__.co_argcount]
    known: dict[str, Any] = {
        "name": "edge",
        "model": "h100-llama-3.1-8b",
        "times": [1.0, 2.0],
        "scores": [1.0],
        "rate": 1.0,
    }
    if kind is EngineModel:
        known = load_engine("h100-llama-3.1-8b").to_dict()
    for name in names:
        settings = {n: v for n, v in known.items() if n in names} | {name: value}
        assert len(refusal(kind, **settings)) < ALLOWED, name


@pytest.mark.parametrize("value", LONG.values(), ids=LONG)
def test_columns_of_datasets(value: object) -> None:
    columns = {
        "prompts": ["a", "b"],
        "base_latency": [1.0, 2.0],
        "prompt_tokens": [1, 2],
        "response_tokens": [1, 2],
        "families": ["a", "b"],
        "slowdown": [1.0, 2.0],
    }
    for name in columns:
        message = refusal(RequestDataset.from_arrays, **{**columns, name: value})
        assert len(message) < ALLOWED, name


def test_a_long_name_of_a_dataset() -> None:
    data = RequestDataset.from_arrays(base_latency=[1.0], name="x" * MANY)
    assert len(repr(data)) < ALLOWED
    engine = [Engine("edge", model="h100-llama-3.1-8b")]
    message = refusal(gym.make, "EdgeCloud-Cluster-v0", nodes=engine, dataset=data)
    assert "has no prompt_tokens" in message
    assert len(message) < ALLOWED


def test_the_first_wrong_action_is_named() -> None:
    envs = make_vec(lanes=500)
    envs.reset(seed=0)
    actions = np.zeros(envs.action_space.shape, np.int64)
    actions[300, 2] = 7
    actions[400, 1] = -1
    message = refusal(envs.step, actions)
    assert message == "action[300, 2]=7: must be 0 (wait), 1 (edge) or 2 (cloud)"
    env = make(candidate_pool_size=1_000)
    env.reset(seed=0)
    wrong = np.zeros(1_000, np.int64)
    wrong[999] = -3
    assert refusal(env.step, wrong).startswith("action[999]=-3: must be 0 (wait)")


def test_the_first_wrong_choice_is_named() -> None:
    envs = SequentialAssignment(make_vec(lanes=500))
    envs.reset(seed=0)
    choices = np.zeros(500, np.int64)
    choices[77] = 11
    assert refusal(envs.step, choices) == "action[77]=11: must be in [0, 10]"
    ranked = PriorityAction(make_vec(lanes=500))
    ranked.reset(seed=0)
    scores = np.zeros(ranked.action_space.shape)
    scores[5, 1] = np.nan
    assert refusal(ranked.step, scores) == "action[5, 1]=nan: scores must be finite"


def test_lanes_that_have_ended_are_counted() -> None:
    envs = make_vec(lanes=200, duration=2.0, autoreset_mode="Disabled")
    envs.reset(seed=0)
    actions = np.zeros(envs.action_space.shape, np.int64)

    def play_on() -> None:
        while True:
            envs.step(actions)

    with pytest.raises(gym.error.ResetNeeded) as caught:
        play_on()
    assert len(str(caught.value)) < 200


def test_the_first_wrong_score_is_named() -> None:
    scores = np.zeros(len(toy_dataset()))
    scores[7] = np.inf
    message = refusal(make, priority=scores)
    assert message.startswith("priority[7]=inf: must be None, a callable, or")
    message = refusal(make, edge_slowdown=[1.0, 1.5, -2.0, 3.0])
    assert message.startswith("edge_slowdown[2]=-2.0: must be")
