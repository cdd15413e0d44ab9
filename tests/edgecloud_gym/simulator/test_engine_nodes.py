"""Engines as nodes of a cluster: every step of theirs, among the events of a lane."""

from typing import Any

import numpy as np
import pytest
from numpy.random import default_rng
from numpy.testing import assert_allclose, assert_array_equal

from edgecloud_gym import CLUSTER_ID, RequestDataset
from edgecloud_gym.arrivals import Trace
from edgecloud_gym.engines import EngineModel
from edgecloud_gym.envs.base import EdgeCloudEnv
from edgecloud_gym.nodes import Engine, Node, Sequences, Slots, StaticBatches
from edgecloud_gym.simulator.engine_log import EngineTimes, simulate_engine
from tests.edgecloud_gym.simulator.engine_twin import Request
from tests.edgecloud_gym.simulator.test_engine import random_system
from tests.edgecloud_gym.support import CONTINUOUS, assert_same, at_random, make, play

MODEL = EngineModel(
    step_overhead=1e-3,
    step_floor=5e-3,
    token_time=1e-4,
    context_time=1e-6,
    sequences=4,
    batched_tokens=64,
    kv_tokens=640,
)


def tokens(rows: int = 60, seed: int = 0) -> RequestDataset:
    """Requests of up to 100 tokens of prompt and of answer."""
    rng = default_rng(seed)
    answers = rng.integers(1, 100, rows)
    return RequestDataset.from_arrays(
        base_latency=0.006 * answers + 0.01,
        prompt_tokens=rng.integers(1, 100, rows),
        response_tokens=answers,
    )


def cluster(nodes: list[Node], dataset: RequestDataset, times: Any, **settings: Any) -> Any:
    """A cluster that gets row i at the i-th of the times."""
    return make(
        CLUSTER_ID,
        nodes=nodes,
        dataset=dataset,
        observe="id",
        prompt_order="sequential",
        arrivals=Trace(times),
        **{"duration": float(times[-1]) + 1.0, **settings},
    )


def route(env: EdgeCloudEnv, nodes: list[int]) -> None:
    """Sends request i to the i-th of the nodes as soon as it is a candidate."""
    env.reset(seed=0)
    done = False
    while not done:
        waiting = env.candidates()["request"]
        action = np.zeros(32, np.int64)
        action[: len(waiting)] = [1 + nodes[request] for request in waiting]
        _, _, terminated, truncated, _ = env.step(action)
        done = terminated or truncated


def assert_times(log: Any, times: EngineTimes) -> None:
    assert_allclose(log.start_time, times.admitted, rtol=0, atol=1e-9)
    assert_allclose(log.first_token_time, times.first_token, rtol=0, atol=1e-9)
    assert_allclose(log.completion_time, times.finish, rtol=0, atol=1e-9)
    assert_array_equal(log.preemptions, times.preemptions)


def dataset_of(requests: list[Request]) -> RequestDataset:
    return RequestDataset.from_arrays(
        base_latency=np.ones(len(requests)),
        prompt_tokens=[r.prompt for r in requests],
        response_tokens=[r.output for r in requests],
        cached_tokens=found_of(requests),
    )


def found_of(requests: list[Request]) -> list[int] | None:
    """What is known of prompts in the cache; None where nothing is."""
    if all(r.found is None for r in requests):
        return None
    return [-1 if r.found is None else r.found for r in requests]


@pytest.mark.parametrize("block", range(6))
def test_a_router_to_one_engine_is_that_engine(block: int) -> None:
    """Two engines beside it that nobody is sent to must not matter."""
    for seed in range(20 * block, 20 * block + 20):
        model, requests = random_system(default_rng([seed, 14]))
        times = np.array([r.arrival for r in requests])
        nodes: list[Node] = [Slots("a", slots=2), Engine("b", model=model, backlog=1000)]
        env = cluster(nodes, dataset_of(requests), times, work_conserving=False)
        route(env, [1] * len(requests))
        prompts = [r.prompt for r in requests]
        answers = [r.output for r in requests]
        found = found_of(requests)
        assert_times(env.request_log(), simulate_engine(model, times, prompts, answers, found))


@pytest.mark.parametrize("seed", range(8))
def test_engines_of_a_cluster_do_not_disturb_each_other(seed: int) -> None:
    rng = default_rng(seed)
    dataset = tokens(seed=seed)
    times = np.cumsum(rng.exponential(0.05, 60))
    delays = [0.0, 0.3, 0.02]
    models = [MODEL, MODEL.replaced(sequences=2, token_time=2e-4), MODEL.replaced(lookahead=False)]
    nodes: list[Node] = [
        Engine(f"e{k}", model=model, backlog=100, network_rtt=delay)
        for k, (model, delay) in enumerate(zip(models, delays, strict=True))
    ]
    choices = rng.integers(0, 3, 60).tolist()
    env = cluster([*nodes, Slots("cloud", slots=4)], dataset, times, work_conserving=False)
    route(env, choices)
    log = env.request_log()
    for k, model in enumerate(models):
        mine = log[log.node == f"e{k}"]
        prompts, answers = mine.prompt_tokens.to_numpy(), mine.output_tokens.to_numpy()
        there = mine.arrival_time.to_numpy() + delays[k]
        assert_times(mine, simulate_engine(model, there, prompts, answers))
        assert len(mine) > 10


def test_without_a_backlog_an_engine_holds_no_more_than_its_sequences() -> None:
    env = cluster([Engine("e", model=MODEL)], tokens(), np.zeros(60), duration=1.0)
    _, info = env.reset(seed=0)
    assert env.room() == (4,)
    assert info["queue_length"] == 60
    done = False
    while not done:
        _, _, terminated, _, info = env.step(np.ones(32, np.int64))
        assert info["in_service"] <= 4
        done = terminated
    log = env.request_log()
    assert (log.dispatch_time > log.arrival_time).sum() == 56


def test_only_what_can_be_seen_is_an_event_for_the_agent() -> None:
    """Who lets a request wait is asked again when one arrives or is done, not at every step."""
    env = cluster([Engine("e", model=MODEL)], tokens(), np.arange(5.0), work_conserving=False)
    env.reset(seed=0)
    env.step(np.ones(32, np.int64))  # the first one runs, for more than a second or not
    for _ in range(20):
        _, _, terminated, _, info = env.step(np.zeros(32, np.int64))
        assert terminated or info["arrivals"] + info["services_ended"] + info["forced_dispatches"]
        if terminated:
            break


@pytest.mark.parametrize("seed", range(6))
def test_littles_law_and_conservation(seed: int) -> None:
    rng = default_rng(seed)
    nodes: list[Node] = [
        Engine("e", model=MODEL, backlog=int(rng.integers(0, 9)), network_rtt=0.01),
        StaticBatches("s", batches=2, capacity=3, slowdown=None, backlog=int(rng.integers(0, 5))),
        Sequences("p", sequences=3, slowdown=(1.0, 1.2, 1.4), network_rtt=0.1),
        Slots("c", slots=2, time_multiplier=1.3),
    ]
    times = np.sort(rng.uniform(0.0, 3.0, 60))
    env = cluster(nodes, tokens(seed=seed), times, work_conserving=bool(seed % 2))
    episode = play(env, at_random(seed, (1.0, 1.0, 1.0, 1.0, 1.0)))
    log = env.request_log()
    assert_allclose(sum(episode.rewards), -log.jct.sum(), rtol=1e-9)
    assert set(log.node) == {"e", "s", "p", "c"}
    assert (log.dispatch_time >= log.arrival_time).all()
    assert (log.start_time >= log.dispatch_time).all()
    served = log[log.node == "e"]
    assert (served.first_token_time > served.start_time).all()
    assert (served.first_token_time <= served.completion_time).all()


def test_the_edge_of_a_pair_may_be_an_engine() -> None:
    env = make(CONTINUOUS, dataset=tokens(), observe="id", edge_engine=MODEL)
    observation, info = env.reset(seed=0)
    assert observation["nodes"].shape == (2, 11)
    assert info["action_mask"].shape == (32, 3)
    assert env.config.edge_concurrency == 4
    play(env, at_random(0))
    log = env.request_log()
    assert set(log.node) == {"edge", "cloud"}
    assert log.first_token_time[log.node == "edge"].notna().all()


def test_cache_use_is_shown() -> None:
    """One request of 33 tokens has three blocks of 16 of the forty."""
    data = RequestDataset.from_arrays([1.0], prompt_tokens=[33], response_tokens=[90])
    env = cluster([Engine("e", model=MODEL)], data, np.array([0.0, 0.01]), work_conserving=False)
    env.reset(seed=0)
    action = np.zeros(32, np.int64)
    action[0] = 1
    observation, *_ = env.step(action)
    assert observation["nodes"][0, 7] == pytest.approx(3 / 40)
    assert observation["nodes"][0, 5] == pytest.approx(1 / 4)


REQUESTS = 60
LONGER = 57


def answers_of(answers: np.ndarray[Any, Any], longer: np.ndarray[Any, Any]) -> RequestDataset:
    """Some answers are longer; rows that never arrive keep the dataset, and so capacities, alike.

    Each request has such a row, of the same prompt, with the other of its two answers.
    """
    prompts = default_rng(3).integers(1, 100, REQUESTS)
    return RequestDataset.from_arrays(
        base_latency=np.ones(2 * REQUESTS),
        prompt_tokens=np.tile(prompts, 2),
        response_tokens=np.concatenate([answers + LONGER * longer, answers + LONGER * ~longer]),
    )


def trail(dataset: RequestDataset, steps: int, seed: int) -> tuple[list[Any], EdgeCloudEnv]:
    """What an agent is shown over so many steps, and the environment thereafter."""
    model = MODEL.replaced(kv_tokens=2000)
    nodes: list[Node] = [
        Engine("a", model=model, backlog=4),
        Engine("b", model=model.replaced(lookahead=False), network_rtt=0.1),
    ]
    env = cluster(nodes, dataset, np.linspace(0.0, 3.0, REQUESTS), work_conserving=False)
    policy = at_random(seed, (1.0, 1.0, 1.0))
    observation, info = env.reset(seed=0)
    shown: list[Any] = [observation, info]
    for _ in range(steps):
        observation, *rest, info = env.step(policy(observation, info))
        shown += [observation, *rest, info, env.request_log().to_dict("list"), env.telemetry(0.1)]
        shown[-1] = shown[-1].to_dict("list")
    return shown, env


@pytest.mark.parametrize("seed", range(6))
def test_engines_do_not_tell_how_long_an_answer_will_be(seed: int) -> None:
    """Answers of what is not done are lengthened: nothing shown so far may differ by a bit."""
    steps = 20 + 8 * seed
    answers = default_rng(seed).integers(20, 100, REQUESTS)
    longer = np.zeros(REQUESTS, bool)
    before, env = trail(answers_of(answers, longer), steps, seed)
    log = env.request_log()
    open_ones = np.setdiff1d(np.arange(REQUESTS), log.request_id[log.completion_time.notna()])
    assert (log.first_token_time.notna() & log.completion_time.isna()).any()
    assert 0 < len(open_ones) < REQUESTS
    longer[open_ones] = True
    after, _ = trail(answers_of(answers, longer), steps, seed)
    assert_same(before, after)
