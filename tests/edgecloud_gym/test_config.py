"""Every bad setting is refused at construction: its name, its value and what is allowed."""

import copy
import pickle
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from edgecloud_gym import ENV_IDS, RequestDataset
from edgecloud_gym.arrivals import Trace
from edgecloud_gym.config import REWARD_TERMS, SystemConfig, settable
from edgecloud_gym.envs import StaticBatchingEnv
from tests.edgecloud_gym.support import CONTINUOUS, STATIC, dataset_of, make, play, toy_dataset

NAN, INF = float("nan"), float("inf")

OUT_OF_RANGE: list[tuple[str, Any, str]] = [
    ("split", "held-out", "'all', 'train', 'test'"),
    ("split", None, "'all', 'train', 'test'"),
    ("prompt_order", "random", "'shuffle', 'sequential'"),
    ("prompt_order", np.array(["shuffle", "sequential"]), "'shuffle', 'sequential'"),
    ("arrivals", "pareto", "poisson, gamma, mmpp, diurnal"),
    ("arrival_rate", 0.0, "> 0"),
    ("arrival_rate", -1.0, "> 0"),
    ("arrival_rate", NAN, "finite"),
    ("load", 0, "> 0"),
    ("load", INF, "finite"),
    ("duration", 0.0, "> 0"),
    ("duration", NAN, "finite"),
    ("duration", INF, "finite"),
    ("edge_concurrency", -1, "from 0 to 1000000"),
    ("edge_batch_capacity", 0, "from 1 to 1000000"),
    ("edge_slowdown", "guessed", 'None, "measured", or a 1-D array'),
    ("edge_slowdown", [1.0, NAN, 1.0, 1.0], "finite numbers > 0"),
    ("edge_slowdown", [0.0, 1.0, 1.0, 1.0], "finite numbers > 0"),
    ("edge_slowdown", [], "1-D array"),
    ("edge_slowdown", np.ones((2, 4)), "1-D array"),
    ("edge_slowdown", [1.0, 1.5], "edge_batch_capacity=4"),
    ("cloud_concurrency", -3, "from 0 to 1000000"),
    ("cloud_time_multiplier", 0.0, "> 0"),
    ("cloud_time_multiplier", NAN, "finite"),
    ("network_rtt", -0.01, ">= 0"),
    ("network_rtt", NAN, "finite"),
    ("candidate_pool_size", 0, "from 1 to 1000000"),
    ("priority", np.zeros(59), r"\(60,\)"),
    ("priority", np.zeros((60, 1)), "1-D array"),
    ("priority", np.full(60, NAN), "finite"),
    ("observe", "pixels", "'embedding', 'id'"),
    ("embedding_dim", 0, ">= 1"),
    ("reward", "profit", "jct, makespan"),
    ("reward", {"profit": 1.0}, "jct, makespan"),
    ("reward", {"jct": NAN}, "finite"),
    ("reward", {}, "at least one"),
    ("reward", "slo_violations", "slo"),
    ("slo", 0.0, "> 0"),
    ("slo", NAN, "finite"),
    ("telemetry_interval", 0.0, "> 0"),
    ("dataset", "no-such-dataset", "no-such-dataset"),
]

WRONG_TYPE: list[tuple[str, Any, str]] = [
    ("arrivals", 3, "name or an arrival process"),
    ("arrival_rate", "fast", "number"),
    ("load", [0.9], "number"),
    ("duration", None, "number"),
    ("duration", True, "number"),
    ("drain", 1, "True or False"),
    ("edge_concurrency", 1.0, "integer"),
    ("edge_batch_capacity", True, "integer"),
    ("edge_slowdown", object(), 'None, "measured"'),
    ("cloud_concurrency", "8", "integer"),
    ("candidate_pool_size", None, "integer"),
    ("priority", "shortest", "None, a callable"),
    ("work_conserving", "yes", "True or False"),
    ("embedding_dim", 6.5, "integer"),
    ("reward", None, "mapping"),
    ("reward", {"jct": "1"}, "number"),
    ("slo", "1s", "number"),
    ("dataset", 5, "RequestDataset"),
    ("edge_concurency", 2, "did you mean 'edge_concurrency'"),
    ("batching", "continuous", "takes:"),
    ("history_length", 5, "takes:"),
]


@pytest.mark.parametrize(("name", "value", "allowed"), OUT_OF_RANGE)
def test_out_of_range(name: str, value: Any, allowed: str) -> None:
    with pytest.raises(ValueError, match=rf"(?s){name}.*{allowed}"):
        make(STATIC, **{name: value})


@pytest.mark.parametrize(("name", "value", "allowed"), WRONG_TYPE)
def test_wrong_type_or_unknown(name: str, value: Any, allowed: str) -> None:
    with pytest.raises(TypeError, match=rf"(?s){name}.*{allowed}"):
        make(STATIC, **{name: value})


def test_render_mode() -> None:
    with pytest.raises(ValueError, match=r"render_mode='hologram'.*'human', 'rgb_array', 'ansi'"):
        StaticBatchingEnv(render_mode="hologram", dataset=toy_dataset())


def test_contradictions() -> None:
    with pytest.raises(ValueError, match=r"arrival_rate=2.*load=0.5.*at most one"):
        make(STATIC, arrival_rate=2.0, load=0.5)
    with pytest.raises(ValueError, match=r"edge_concurrency=0.*cloud_concurrency=0.*positive"):
        make(STATIC, edge_concurrency=0, cloud_concurrency=0)


def test_continuous_batching_has_no_batch_capacity() -> None:
    with pytest.raises(TypeError, match=r"edge_batch_capacity=4.*takes:.*edge_concurrency"):
        make(CONTINUOUS, edge_batch_capacity=4)
    with pytest.raises(ValueError, match=r"edge_slowdown has 2 entries.*edge_concurrency=4"):
        make(CONTINUOUS, edge_slowdown=[1.0, 1.5])


def test_traces_that_are_no_traces() -> None:
    with pytest.raises(ValueError, match=r"ascending; entry 2 \(1.0 s\)"):
        Trace([0.0, 2.0, 1.0])
    with pytest.raises(ValueError, match="finite"):
        Trace([0.0, NAN])


class Unsorted:
    """An arrival process that breaks its promise."""

    def __init__(self, times: list[float]) -> None:
        self.times = times

    def sample(self, *_: Any, **__: Any) -> Any:
        return np.array(self.times)


@pytest.mark.parametrize("times", [[2.0, 1.0], [0.0, NAN], [-1.0, 1.0], [0.0, 30.0], [[1.0]]])
def test_an_arrival_process_that_breaks_its_promise(times: list[float]) -> None:
    env = make(STATIC, arrivals=Unsorted(times))
    with pytest.raises(ValueError, match=r"arrivals=.*ascending.*\[0, duration=30"):
        env.reset(seed=0)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"base_latency": [1.0, NAN]}, "base_latency must be finite"),
        ({"base_latency": []}, "at least one request"),
        ({"base_latency": [1.0, 0.0]}, "base_latency.*above 0"),
        ({"base_latency": [[1.0]]}, r"base_latency must have 1 dimension"),
        ({"base_latency": [1.0], "embeddings": np.zeros((2, 3))}, "embeddings.*1, got 2"),
        ({"base_latency": [1.0], "embeddings": [[NAN]]}, "embeddings must be finite"),
    ],
)
def test_bad_datasets(arrays: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RequestDataset.from_arrays(**arrays)


@pytest.mark.parametrize("settings", [{}, {"observe": "id", "priority": lambda e: e[:, 0]}])
def test_embeddings_that_are_needed_but_absent(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="no embeddings"):
        make(STATIC, dataset=dataset_of([1.0]), **settings)


@pytest.mark.parametrize(
    "returned", [lambda e: np.zeros(len(e) + 1), lambda e: np.full(len(e), NAN)]
)
def test_a_priority_callable_that_breaks_its_promise(returned: Any) -> None:
    env = make(STATIC, priority=returned, load=5.0)
    with pytest.raises(ValueError, match=r"priority callable.*one finite score each"):
        env.reset(seed=0)


@pytest.mark.parametrize("env_id", ENV_IDS)
def test_a_configuration_cannot_be_changed(env_id: str) -> None:
    scores, curve = np.zeros(60), np.ones(8)
    config = make(env_id, priority=scores, edge_slowdown=curve).config
    with pytest.raises(AttributeError):
        config.duration = 1.0  # type: ignore[misc]
    scores[:] = curve[:] = 7.0
    assert not np.any(config.priority)
    assert np.all(config.edge_slowdown == 1.0)
    for array in (config.priority, config.edge_slowdown):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 2.0  # type: ignore[index]


def test_reward_weights() -> None:
    assert SystemConfig(reward="completed").reward_weights["completed"] == 1.0
    config = SystemConfig(reward={"jct": 0.5, "cloud_seconds": -2}, slo=3)
    assert config.reward_weights == {
        **dict.fromkeys(REWARD_TERMS, 0.0),
        "jct": 0.5,
        "cloud_seconds": -2.0,
    }


def test_the_promised_defaults() -> None:
    static, continuous = (make(env_id).config for env_id in (STATIC, CONTINUOUS))
    for config in (static, continuous):
        assert config.cloud_concurrency == 8
        assert config.cloud_time_multiplier == 0.7
        assert config.network_rtt == 0.05
        assert config.candidate_pool_size == 32
        assert config.work_conserving
        assert config.drain
    assert (static.edge_concurrency, static.edge_batch_capacity) == (1, 4)
    assert (continuous.edge_concurrency, continuous.edge_slowdown) == (4, "measured")
    assert gym.make(STATIC, dataset=toy_dataset()).unwrapped.config.duration == 600.0  # type: ignore[attr-defined]


CHANGES: dict[str, Any] = {
    "split": "train",
    "prompt_order": "sequential",
    "prompt_mix": [(5.0, {"odd": 1})],
    "arrivals": "gamma",
    "arrival_rate": 3.0,
    "load": 0.5,
    "duration": 20.0,
    "drain": False,
    "edge_concurrency": 2,
    "edge_batch_capacity": 2,
    "edge_slowdown": "measured",
    "cloud_concurrency": 2,
    "cloud_time_multiplier": 0.5,
    "network_rtt": 0.5,
    "speed_changes": [("cloud", 5.0, 0.5)],
    "candidate_pool_size": 3,
    "priority": np.linspace(1.0, 0.0, 60),
    "work_conserving": False,
    "reward": "completed",
}


ELSEWHERE = {  # tested with the observation, the rewards and the records
    "dataset",
    "observe",
    "embedding_dim",
    "slo",
    "telemetry_interval",
}


@pytest.mark.parametrize("name", CHANGES)
def test_every_setting_reaches_the_simulation(name: str) -> None:
    """The reference's overrides never reached the modules that used them."""
    busy = {} if name in ("load", "arrival_rate") else {"load": 1.2}
    assert outcome(**busy) == outcome(**busy)
    assert outcome(**busy) != outcome(**busy, **{name: CHANGES[name]})


def outcome(**settings: Any) -> str:
    env = make(STATIC, **settings)
    action = np.arange(env.config.candidate_pool_size) % 3
    episode = play(env, lambda *_: action)
    return repr((episode.rewards, env.request_log().to_dict()))


def test_no_setting_is_forgotten() -> None:
    assert set(CHANGES) | ELSEWHERE == set(settable(StaticBatchingEnv.defaults))


def test_dataset_by_path(tmp_path: Path) -> None:
    lines = (
        '{"request_text": "a", "inference_time": 1.5}\n{"request_text": "b", "inference_time": 2}\n'
    )
    path = tmp_path / "requests.jsonl"
    path.write_text(lines)
    env = make(STATIC, dataset=path, observe="id")
    assert env.dataset.base_latency.tolist() == [1.5, 2.0]
    with pytest.raises(FileNotFoundError, match=r"missing\.jsonl"):
        make(STATIC, dataset=tmp_path / "missing.jsonl")


@pytest.mark.parametrize("env_id", ENV_IDS)
def test_specs_can_be_copied_and_pickled(env_id: str) -> None:
    env = gym.make(env_id, dataset=toy_dataset(), duration=5.0, priority=np.zeros(60))
    assert env.spec is not None
    for spec in (copy.deepcopy(env.spec), pickle.loads(pickle.dumps(env.spec))):
        first, _ = gym.make(spec).reset(seed=1)
        second, _ = env.reset(seed=1)
        assert first["candidates"].tobytes() == second["candidates"].tobytes()


def test_a_priority_callable_is_the_very_object_given() -> None:
    """`gymnasium.make` deep-copies registered arguments: a bandit's method must not be."""

    class Bandit:
        calls = 0

        def score(self, embeddings: Any) -> Any:
            self.calls += 1
            return embeddings[:, 0]

    bandit = Bandit()
    make(STATIC, priority=bandit.score).reset(seed=0)
    assert bandit.calls > 0
