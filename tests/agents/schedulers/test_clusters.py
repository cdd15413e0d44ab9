"""Agents over any list of nodes: each sends requests where its rule says."""

from typing import Any

import gymnasium as gym
import numba
import numpy as np
import pytest

from agents import AGENT_NAMES, make_agent, run_experiment, save_model
from agents.experiments.episode import play_steps, run_episode
from agents.rules.placement import _engine_time, placement_parameters
from agents.schedulers.cluster_plan import ClusterPlan, least
from agents.schedulers.placement import Placement
from agents.schedulers.policy_file import POLICIES
from edgecloud_gym import EngineModel, RequestDataset
from edgecloud_gym.arrivals import Trace
from edgecloud_gym.nodes import Engine, Sequences, Slots, StaticBatches
from edgecloud_gym.wrappers.node_times import NodeTimes

CLUSTER = "EdgeCloud-Cluster-v0"
MODEL = EngineModel(
    step_overhead=0.0,
    step_floor=0.01,
    token_time=1e-4,
    context_time=0.0,
    sequences=4,
    kv_tokens=4096,
    lookahead=False,
)
NODES = [
    Engine("engine", model=MODEL, backlog=4),
    StaticBatches("batches", batches=1, capacity=2, slowdown=None),
    Sequences("sequences", sequences=2, slowdown=None, time_multiplier=2.0),
    Slots("cloud", slots=8, time_multiplier=0.5, network_rtt=0.25),
]
rng = np.random.default_rng(0)
DATA = RequestDataset.from_arrays(
    base_latency=rng.uniform(0.5, 2.0, 40),
    prompt_tokens=rng.integers(5, 300, 40),
    response_tokens=rng.integers(5, 100, 40),
    embeddings=rng.normal(size=(40, 4)),
)
PLAYERS = [name for name in AGENT_NAMES if name not in ("sb3", *POLICIES)]


def make(nodes: Any = NODES, **settings: Any) -> Any:
    chosen = {
        "dataset": DATA,
        "embedding_dim": None,
        "duration": 40.0,
        "work_conserving": False,
        **settings,
    }
    return gym.make(CLUSTER, nodes=nodes, **chosen)


@pytest.mark.parametrize("name", PLAYERS)
def test_everybody_is_served(name: str) -> None:
    env = make(load=0.7)
    run_episode(env, make_agent(name), seed=0, agent_seed=0)
    summary = env.unwrapped.summary()
    assert summary["arrived"] == summary["completed"] > 50
    assert env.unwrapped.request_log()["jct"].min() > 0


@pytest.mark.parametrize("name", PLAYERS)
def test_the_same_seed_gives_the_same_bits(name: str) -> None:
    logs = []
    for _ in range(2):
        env = make(load=0.7, duration=15.0)
        run_episode(env, make_agent(name), seed=3, agent_seed=4)
        logs.append(env.unwrapped.request_log())
    assert logs[0].equals(logs[1])


def sent_to(
    name: str, count: int, nodes: Any = NODES, gap: float = 1e-3, **settings: Any
) -> list[str]:
    """Where an agent sends so many requests that come one right after the other."""
    env = make(nodes, arrivals=Trace(gap * np.arange(1, count + 1)), **settings)
    agent = make_agent(name)
    for _ in play_steps(env, agent, 0, 0):
        log = env.unwrapped.request_log()
        if len(log) == count and log["node"].notna().all():
            return [str(node) for node in log["node"]]
    return [str(node) for node in env.unwrapped.request_log()["node"]]


def test_first_come_first_served_fills_nodes_in_their_order() -> None:
    assert sent_to("fcfs", 11) == ["engine"] * 8 + ["batches"] + ["sequences"] * 2


def test_round_robin_goes_round() -> None:
    names = [node.name for node in NODES]
    assert sent_to("round-robin", 9) == [*names, "engine", "sequences", "cloud", "engine", "cloud"]


def test_least_connections_counts_requests() -> None:
    slots = [Slots("a", slots=9), Slots("b", slots=9, time_multiplier=9.0), Slots("c", slots=9)]
    assert sent_to("least-connections", 6, slots) == ["a", "b", "c", "a", "b", "c"]


def test_the_shortest_queue_is_short_for_its_speed() -> None:
    slots = [Slots("slow", slots=4, time_multiplier=3.0), Slots("fast", slots=12)]
    sent = sent_to("join-shortest-queue", 12, slots)
    assert sent[0] == "fast"
    speeds = make(slots).unwrapped.simulator.workload.capacities
    assert sent.count("slow") / sent.count("fast") == pytest.approx(speeds[0] / speeds[1], abs=0.1)


def test_a_router_that_sees_old_states_follows_the_herd() -> None:
    slots = [Slots("a", slots=20), Slots("b", slots=20)]
    assert sent_to("join-shortest-queue", 8, slots) == ["a", "b"] * 4
    assert sent_to("join-shortest-queue", 8, slots, signal_age=10.0) == ["a"] * 8


def test_edge_first_takes_the_cloud_last() -> None:
    sent = sent_to("edge-first", 14)
    assert sent.count("cloud") == 14 - 8 - 1 - 2
    assert "cloud" not in sent[:11]


def test_two_are_drawn_and_the_less_loaded_taken() -> None:
    slots = [Slots(name, slots=9) for name in "abc"]
    sent = sent_to("power-of-two", 9, slots)
    assert sorted(map(sent_to("power-of-two", 8, slots[:2]).count, "ab")) == [4, 4]
    assert max(map(sent.count, "abc")) <= 5  # two requests more than another are never sent there


def test_the_emptiest_cache_is_taken() -> None:
    small = MODEL.replaced(kv_tokens=512)
    engines = [Engine("small", model=small, backlog=9), Engine("large", model=MODEL, backlog=9)]
    sent = sent_to("least-kv", 8, engines, gap=0.05)
    assert sent.count("large") > sent.count("small")


def test_edge_only_and_cloud_only() -> None:
    assert set(sent_to("edge-only", 6)) <= {"engine", "batches", "sequences"}
    assert set(sent_to("cloud-only", 6)) == {"cloud"}


TEMPLATE = MODEL.replaced(shared_prefix=20, mixed_batches=False)  # prompts that begin alike


@pytest.mark.parametrize("node", [*NODES, Engine("alike", model=TEMPLATE)], ids=lambda n: n.name)
def test_alone_a_request_takes_what_is_predicted(node: Any) -> None:
    env = make([node], arrivals=Trace([1.0]), prompt_order="sequential")
    agent = make_agent("fcfs")
    agent.reset(env, 0)
    observation, _ = env.reset(seed=0)
    plan = ClusterPlan(env.unwrapped.simulator, observation)
    tokens = int(DATA.prompt_tokens[0]), int(DATA.response_tokens[0])  # type: ignore[index]
    placement = Placement(env.unwrapped.simulator)
    (expected,) = placement.times(plan, float(DATA.base_latency[0]), *tokens)
    run_episode(env, agent, 0, 0)
    assert env.unwrapped.request_log()["jct"][0] == pytest.approx(expected, rel=1e-9)


@numba.njit
def rule_time(parameters: Any, spec: Any, taken: int, prompt: float, output: float) -> float:
    e = parameters[int(parameters[1]) :]
    return _engine_time(e, spec, taken, parameters[0], prompt, output)


@pytest.mark.parametrize("model", [MODEL, TEMPLATE, TEMPLATE.replaced(batched_tokens=16)])
def test_wrappers_and_rules_predict_the_same_times(model: EngineModel) -> None:
    env = make([Engine("e", model=model, backlog=9)])
    observation, _ = env.reset(seed=0)
    simulator = env.unwrapped.simulator
    plan = ClusterPlan(simulator, observation)
    placement, walk = Placement(simulator), NodeTimes(simulator)
    parameters = placement_parameters(simulator)
    for occupied, prompt in ((0, 90), (0, 5), (2, 90), (7, 90)):
        plan.room[0, 0] = 13 - occupied
        expected = placement.times(plan, 1.0, prompt, 30)
        numbers = ([[occupied]], [1.0], [prompt], [30])
        assert walk(*(np.array(n, np.float64) for n in numbers))[0] == pytest.approx(expected)
        ruled = rule_time(parameters, simulator.node_table[0], occupied, float(prompt), 30.0)
        assert ruled == pytest.approx(expected[0])


def test_who_waits_is_counted_in_the_prediction() -> None:
    env = make([Slots("one", slots=1, backlog=9, network_rtt=0.0, time_multiplier=1.0)])
    observation, _ = env.reset(seed=0)
    plan = ClusterPlan(env.unwrapped.simulator, observation)
    placement = Placement(env.unwrapped.simulator)
    plan.room[0, 0] = 10
    alone = placement.times(plan, 1.0, 0, 0)[0]
    plan.room[0, 0] = 7  # three are there
    behind = placement.times(plan, 1.0, 0, 0)[0]
    assert alone == 1.0
    assert behind == pytest.approx(1.0 + 3 * DATA.base_latency.mean(), rel=1e-9)


def test_the_oracle_places_better_than_rules_that_look_at_no_speed() -> None:
    settings = {"nodes": NODES, "dataset": DATA, "embedding_dim": None, "duration": 100.0}
    names = ["fcfs", "sjf-oracle", "round-robin", "random"]
    result = run_experiment(CLUSTER, names, 3, {**settings, "load": 0.9}, None)
    means = result.summary.groupby("agent")["jct_mean"].mean()
    assert means["sjf-oracle"] < 0.8 * means.drop("sjf-oracle").min()


def test_least_takes_the_first_of_equals() -> None:
    assert least(np.array([3.0, 1.0, 1.0]), np.array([0, 2, 1])) == 2


@pytest.mark.parametrize("name", ["join-shortest-queue", "power-of-two", "least-kv", "edge-first"])
@pytest.mark.parametrize("env_id", ["EdgeCloud-Static-v0", "EdgeCloud-Continuous-v0"])
def test_routers_play_an_edge_and_a_cloud(name: str, env_id: str) -> None:
    settings = {"dataset": DATA, "embedding_dim": None, "duration": 30.0, "edge_slowdown": None}
    result = run_experiment(env_id, name, 1, settings, None)
    assert result.summary["unfinished"].item() == 0
    assert result.summary["arrived"].item() > 20


def test_a_trained_model_plays_any_number_of_nodes(tmp_path: Any) -> None:
    from stable_baselines3 import PPO

    from agents.policies import CandidatePolicy
    from edgecloud_gym.sb3 import make_vec_env

    settings = {"nodes": NODES, "dataset": DATA, "embedding_dim": None, "duration": 10.0}
    envs = make_vec_env(CLUSTER, 2, seed=0, **settings)
    model = PPO(CandidatePolicy, envs, n_steps=32, batch_size=32, n_epochs=1, seed=0)
    model.learn(64)
    save_model(model, tmp_path / "model.zip")
    env = make(load=0.7, duration=10.0, work_conserving=True)
    agent = make_agent("sb3", path=str(tmp_path / "model.zip"))
    run_episode(env, agent, 0, 0)
    assert env.unwrapped.summary()["unfinished"] == 0


@pytest.mark.parametrize(
    ("name", "nodes", "message"),
    [
        ("cloud-only", [NODES[2]], "a node of slots that serves: sequences"),
        ("cloud-only", [NODES[2], Slots("none", slots=0)], "a node of slots that serves"),
        ("edge-only", [NODES[3]], "serves and is not slots: cloud"),
    ],
)
def test_a_side_that_is_not_there_is_told(name: str, nodes: Any, message: str) -> None:
    """It would wait for ever, and what is dispatched of force would pass for its play."""
    env = make(nodes)
    with pytest.raises(ValueError, match=message):
        run_episode(env, make_agent(name), seed=0, agent_seed=0)
