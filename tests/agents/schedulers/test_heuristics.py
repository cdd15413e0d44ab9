"""Each scheduler's rule on states made by hand, and whole episodes in every environment."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from numpy.typing import NDArray

from agents import Agent, make_agent
from agents.experiments.episode import run_episode
from edgecloud_gym import ENV_IDS, RequestDataset
from edgecloud_gym.arrivals import Trace
from tests.agents.schedulers.spying import spy_on

HEURISTICS = (
    "fcfs",
    "random",
    "round-robin",
    "least-connections",
    "queue-length",
    "historical-lrt",
    "edge-only",
    "cloud-only",
    "sjf-oracle",
)
LATENCY = np.random.default_rng(5).lognormal(0.0, 0.8, 200)


def make_env(env_id: str = "EdgeCloud-Static-v0", **settings: Any) -> gym.Env[Any, Any]:
    defaults: dict[str, Any] = {
        "dataset": RequestDataset.from_arrays(
            base_latency=LATENCY, slowdown=1 + 0.1 * np.arange(16)
        ),
        "observe": "id",
        "duration": 60.0,
        "work_conserving": False,
    }
    return gym.make(env_id, **{**defaults, **settings})


def start(
    agent: str, arrivals: list[float], **settings: Any
) -> tuple[Agent, gym.Env[Any, Any], dict[str, NDArray[Any]], dict[str, Any]]:
    """An environment in its first decision, the given requests having arrived."""
    env = make_env(
        settings.pop("env_id", "EdgeCloud-Static-v0"),
        arrivals=Trace(arrivals),
        prompt_order="sequential",
        **settings,
    )
    chosen = make_agent(agent)
    chosen.reset(env, seed=0)
    return chosen, env, *env.reset(seed=0)


def picks(action: NDArray[np.int64]) -> str:
    """An action as letters, the trailing waits left out."""
    return "".join("wec"[choice] for choice in action).rstrip("w")


@pytest.mark.parametrize("env_id", ENV_IDS)
@pytest.mark.parametrize("name", HEURISTICS)
def test_episode_is_complete_and_legal(name: str, env_id: str) -> None:
    env = make_env(env_id, load=0.8)
    agent = make_agent(name)
    agent.reset(env, seed=1)
    observation, info = env.reset(seed=1)
    done = False
    while not done:
        action = agent.act(observation, info)
        assert action.dtype == np.int64
        observation, _, terminated, truncated, info = env.step(action)
        assert info["invalid_assignments"] == 0
        assert info["forced_dispatches"] == 0
        agent.observe(env.unwrapped.completions())
        done = terminated or truncated
    assert env.unwrapped.request_log()["completion_time"].notna().all()


@pytest.mark.parametrize("name", HEURISTICS)
def test_same_seed_same_episode(name: str) -> None:
    logs = []
    for _ in range(2):
        env = make_env(load=1.2)
        run_episode(env, make_agent(name), seed=3, agent_seed=4)
        logs.append(env.unwrapped.request_log())
    assert logs[0].equals(logs[1])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("fcfs", "eeeecc"),
        ("round-robin", "eeee"),
        ("least-connections", "eeeecc"),
        ("queue-length", "eeeecc"),
        ("edge-only", "eeee"),
        ("cloud-only", "cc"),
    ],
)
def test_first_call(name: str, expected: str) -> None:
    agent, _, observation, info = start(name, [1.0] * 9, cloud_concurrency=2)
    assert picks(agent.act(observation, info)) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("fcfs", "eeecc"),
        ("round-robin", "e"),
        ("least-connections", "ec"),  # one each: then neither has fewer
        ("edge-only", "eee"),
    ],
)
def test_first_call_in_continuous_batching(name: str, expected: str) -> None:
    settings = {"env_id": "EdgeCloud-Continuous-v0", "edge_concurrency": 3, "cloud_concurrency": 2}
    agent, _, observation, info = start(name, [1.0] * 9, **settings)
    assert picks(agent.act(observation, info)) == expected


def test_one_call_per_event() -> None:
    agent, env, observation, info = start(
        "round-robin", [1.0, 1.0, 1.5], edge_batch_capacity=1, edge_concurrency=3
    )
    taken = []
    for _ in range(3):
        taken.append((info["time"], picks(agent.act(observation, info))))
        observation, _, _, _, info = env.step(agent_pick(taken[-1][1]))
        agent.observe(env.unwrapped.completions())
    assert taken == [(1.0, "e"), (1.0, "c"), (1.5, "e")]


def agent_pick(letters: str) -> NDArray[np.int64]:
    action = np.zeros(32, np.int64)
    action[: len(letters)] = ["wec".index(letter) for letter in letters]
    return action


def test_agent_waits_at_a_second_decision_of_one_event() -> None:
    agent, env, observation, info = start(
        "round-robin", [0.1, 0.2, 0.3, 0.4], edge_batch_capacity=1
    )
    for _ in range(3):  # four wait, and every slot is free: it was not asked until now
        observation, _, _, _, info = env.step(agent_pick(""))
    first = agent.act(observation, info)
    observation, _, _, _, info = env.step(first)
    assert (info["time"], info["elapsed"], info["queue_length"]) == (0.4, 0.0, 3)
    assert (picks(first), picks(agent.act(observation, info))) == ("e", "")


def test_random_uses_both_nodes_and_any_candidate() -> None:
    agent, _, observation, info = start("random", [1.0] * 20)
    seen = set()
    for seed in range(50):
        agent.reset(agent.env, seed)
        seen.add(picks(agent.act(observation, info)).strip("w"))
    letters = "".join(seen)
    assert "c" in seen
    assert letters.count("e") > 0
    assert len(seen) > 10


def test_sjf_oracle_orders_by_true_time() -> None:
    env = make_env(load=1.5, edge_batch_capacity=1, cloud_concurrency=1)
    run_episode(env, make_agent("sjf-oracle"), seed=0, agent_seed=0)
    log = env.unwrapped.request_log()
    for dispatched in log.itertuples():
        waited = (log.arrival_time < dispatched.start_time) & (
            log.start_time > dispatched.start_time
        )
        assert (log.base_latency[waited] >= dispatched.base_latency).all()


def test_historical_lrt_prefers_the_node_that_answers_sooner() -> None:
    def share_on_cloud(multiplier: float) -> float:
        env = make_env(load=0.5, cloud_time_multiplier=multiplier, duration=300.0)
        run_episode(env, make_agent("historical-lrt"), seed=0, agent_seed=0)
        return float((env.unwrapped.request_log()["node"] == "cloud").mean())

    assert share_on_cloud(0.1) > share_on_cloud(10.0)


def test_historical_lrt_needs_to_know_what_is_dispatched() -> None:
    with pytest.raises(ValueError, match="work_conserving=False"):
        make_agent("historical-lrt").reset(make_env(work_conserving=True), 0)


@pytest.mark.parametrize(
    ("name", "setting"), [("edge-only", "edge_concurrency"), ("cloud-only", "cloud_concurrency")]
)
def test_a_missing_side_is_named(name: str, setting: str) -> None:
    with pytest.raises(ValueError, match=f"{name}.*{setting}"):
        make_agent(name).reset(make_env(**{setting: 0}), 0)


@pytest.mark.parametrize("setting", ["edge_concurrency", "cloud_concurrency"])
@pytest.mark.parametrize("name", HEURISTICS[:6])
def test_one_side_alone(name: str, setting: str) -> None:
    env = make_env(**{setting: 0}, arrival_rate=0.5)
    run_episode(env, make_agent(name), seed=0, agent_seed=0)
    assert env.unwrapped.request_log()["completion_time"].notna().all()


@pytest.mark.parametrize("method", ["act", "observe"])
def test_what_is_set_in_a_method_s_place_is_called(method: str) -> None:
    env = gym.make(ENV_IDS[0], duration=20.0)
    patched = make_agent("fcfs")
    calls = spy_on(patched, method)
    assert run_episode(env, patched, 0, 0) == run_episode(env, make_agent("fcfs"), 0, 0)
    assert len(calls) > 5


def test_act_before_reset() -> None:
    _, _, observation, info = start("fcfs", [1.0])
    with pytest.raises(RuntimeError, match=r"fcfs.*reset"):
        make_agent("fcfs").act(observation, info)
