"""A rule decides the same, whether episodes are played by it or step by step."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from agents import AGENT_NAMES, Agent, make_agent
from agents.experiments.episode import play_steps
from agents.registry import agent_class
from agents.schedulers.policy_file import POLICIES
from agents.schedulers.ruled import RuleScheduler
from edgecloud_gym import EngineModel, RequestDataset
from edgecloud_gym.nodes import Engine, Sequences, Slots, StaticBatches
from edgecloud_gym.simulator.state import LANE_DTYPE

PLAIN = [name for name in AGENT_NAMES if name not in ("sb3", "warm-linear", *POLICIES)]
RULES = [name for name in PLAIN if issubclass(agent_class(name), RuleScheduler)]
MODEL = EngineModel(
    step_overhead=0.0,
    step_floor=0.01,
    token_time=1e-4,
    context_time=0.0,
    sequences=4,
    kv_tokens=4096,
)
NODES = [
    StaticBatches("batches", batches=2, capacity=3, slowdown=None),
    Sequences("sequences", sequences=3, slowdown=None, network_rtt=0.05),
    Engine("engine", model=MODEL, backlog=4),
    Slots("cloud", slots=2, backlog=3),
]
rng = np.random.default_rng(0)
DATA = RequestDataset.from_arrays(
    base_latency=rng.lognormal(0.0, 0.7, 60),
    prompt_tokens=rng.integers(5, 300, 60),
    response_tokens=rng.integers(5, 100, 60),
    embeddings=rng.normal(size=(60, 4)),
)
SYSTEMS: dict[str, tuple[str, dict[str, Any]]] = {
    "static": ("Static", {"edge_concurrency": 2, "edge_batch_capacity": 3}),
    "few candidates": ("Static", {"load": 1.3, "candidate_pool_size": 2, "drain": False}),
    "filled": ("Static", {"load": 1.2, "work_conserving": True}),
    "time series": ("TimeSeries", {"load": 1.1, "drain": False, "history_length": 3}),
    "continuous": ("Continuous", {"load": 1.1, "edge_slowdown": None}),
    "engine": (
        "Continuous",
        {"load": 1.1, "edge_engine": MODEL.replaced(shared_prefix=20, mixed_batches=False)},
    ),
    "cluster": ("Cluster", {"nodes": NODES}),
    "old signals": ("Cluster", {"nodes": NODES, "signal_age": 2.0, "candidate_pool_size": 3}),
    "filled cluster": ("Cluster", {"nodes": NODES, "load": 1.3, "work_conserving": True}),
}
LANE = [name for name in LANE_DTYPE.names or () if name != "oldest"]  # it is moved when asked for


def make(system: str) -> Any:
    name, settings = SYSTEMS[system]
    chosen = {"dataset": DATA, "duration": 40.0, "load": 0.95, "work_conserving": False}
    chosen["edge_slowdown"] = None
    if name == "Cluster" or "edge_engine" in settings:
        del chosen["edge_slowdown"]
    return gym.make(f"EdgeCloud-{name}-v0", **{**chosen, **settings})


def played(env: Any, agent: Agent) -> tuple[list[float], Any]:
    """Plays two episodes; returns the rewards and all that can be read afterwards."""
    rewards = [*play_steps(env, agent, 3, 4), *play_steps(env, agent, 5, 6)]
    base = env.unwrapped
    state = base.simulator.state
    return rewards, (
        base.request_log().to_numpy(dtype=str),
        base.telemetry().to_numpy(),
        state.lanes[LANE],
        state.steps,
        state.nodes,
        np.where(state.slots["count"] > 0, state.slots["attained"], 0.0),
        state.signals,
        base.np_random.random(),
        agent._rng.random() if isinstance(agent, RuleScheduler) else 0.0,
    )


def assert_same(left: Any, right: Any) -> None:
    assert left[0] == right[0]
    for mine, other in zip(left[1], right[1], strict=True):
        np.testing.assert_array_equal(mine, other)


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_rule_decides_the_same_step_by_step(system: str) -> None:
    fast, slow = make(system), gym.Wrapper(make(system))
    for name in RULES:
        alone = played(fast, make_agent(name))
        stepped = played(slow, make_agent(name))
        assert len(alone[0]) > 20
        assert_same(alone, stepped)
