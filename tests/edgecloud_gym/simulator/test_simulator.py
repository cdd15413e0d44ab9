"""The compiled simulator against the brute-force one, decision by decision, on random scenarios."""

from typing import Any

import numpy as np
import pytest
from numpy.random import Generator
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray

from edgecloud_gym import CLUSTER_ID, RequestDataset
from edgecloud_gym.arrivals import Trace
from edgecloud_gym.nodes import Node, Sequences, Slots, StaticBatches
from tests.edgecloud_gym.simulator.brute_force import BruteForce, Server, System
from tests.edgecloud_gym.support import CONTINUOUS, STATIC, at_random, dataset_of, make, play, wait

TERMS = ("invalid_assignments", "forced_dispatches", "completed", "slo_violations")
PRIORITIES = ("none", "array", "callable")


def random_settings(rng: Generator, continuous: bool, priority: str) -> dict[str, Any]:
    """Settings of a small system, often overloaded, with ties in arrival times and scores."""
    rows = 50  # no request repeats: a + b + c and a + c + b would be ties but for rounding
    scores = rng.integers(0, 4, rows).astype(float)
    times = np.round(
        np.cumsum(rng.exponential(rng.uniform(0.05, 0.8), 50)), int(rng.integers(0, 4))
    )
    edge, cloud = rng.permuted([rng.integers(0, 4), rng.integers(1, 4)]).tolist()
    settings: dict[str, Any] = {
        "env_id": CONTINUOUS if continuous else STATIC,
        "dataset": RequestDataset.from_arrays(
            base_latency=rng.lognormal(0.0, 1.0, rows), embeddings=scores[:, None]
        ),
        "prompt_order": "sequential",
        "arrivals": Trace(times),
        "duration": float(times[-1] + 0.7) if rng.random() < 0.7 else float(times[-1] / 2),
        "drain": bool(rng.random() < 0.7),
        "edge_concurrency": edge,
        "edge_slowdown": np.cumsum(rng.uniform(0.0, 0.7, 5)) + 1.0 if rng.random() < 0.7 else None,
        "cloud_concurrency": cloud,
        "cloud_time_multiplier": float(rng.uniform(0.3, 2.0)),
        "network_rtt": float(rng.choice([0.0, 0.05, 1.0])),
        "candidate_pool_size": int(rng.integers(1, 9)),
        "work_conserving": bool(rng.random() < 0.5),
        "observe": "id",
        "embedding_dim": None,
        "slo": 2.0,
    }
    if not continuous:
        settings["edge_batch_capacity"] = int(rng.integers(1, 6))
    if priority == "array":
        settings["priority"] = scores
    if priority == "callable":
        settings["priority"] = lambda embeddings: embeddings[:, 0]
    return settings


def servers(settings: dict[str, Any]) -> list[Server]:
    """The nodes of the same system, as the brute-force model has them."""
    if "nodes" in settings:
        return [server(node) for node in settings["nodes"]]
    continuous = settings["env_id"] == CONTINUOUS
    curve = settings["edge_slowdown"]
    edge = Server(
        "edge",
        "sequences" if continuous else "static",
        settings["edge_concurrency"],
        capacity=settings.get("edge_batch_capacity", 1),
        slowdown=[1.0] * 5 if curve is None else list(curve),
    )
    multiplier, rtt = settings["cloud_time_multiplier"], settings["network_rtt"]
    cloud = Server("cloud", "slots", settings["cloud_concurrency"], multiplier=multiplier, rtt=rtt)
    return [edge, cloud]


def server(node: Node) -> Server:
    kinds = {StaticBatches: "static", Sequences: "sequences", Slots: "slots"}
    return Server(
        node.name,
        kinds[type(node)],
        node.services,
        capacity=node.batch,
        slowdown=list(getattr(node, "slowdown", ())),
        multiplier=node.time_multiplier,
        rtt=node.network_rtt,
        backlog=node.backlog,
    )


def brute_force(settings: dict[str, Any]) -> BruteForce:
    """The brute-force model of the same system."""
    dataset, times = settings["dataset"], settings["arrivals"].times
    times = times[times < settings["duration"]]
    rows = np.arange(len(times)) % len(dataset)
    scores = np.zeros(len(dataset))
    if "priority" in settings:
        scores = dataset.embeddings[:, 0].astype(float)
    system = System(
        arrivals=times.tolist(),
        base=dataset.base_latency[rows].tolist(),
        scores=scores[rows].tolist(),
        candidates=settings["candidate_pool_size"],
        work_conserving=settings["work_conserving"],
        duration=settings["duration"],
        drain=settings["drain"],
        slo=settings["slo"],
    )
    return BruteForce(system, servers(settings))


def assert_same_state(
    model: BruteForce, observation: dict[str, Any], info: dict[str, Any], rows: int
) -> None:
    """Compares the candidates, the mask and `info` with the model's state."""
    ranked = model.ranked()
    size = len(observation["prompt_ids"])
    ids = [request % rows for request in ranked] + [-1] * (size - len(ranked))
    assert observation["prompt_ids"].tolist() == ids
    mask = np.zeros((size, 1 + len(model.servers)), np.int8)
    mask[:, 0] = 1
    mask[: len(ranked), 1:] = [server.room() > 0 for server in model.servers]
    assert_array_equal(info["action_mask"], mask)
    assert_allclose(info["time"], model.now, rtol=0, atol=1e-9)
    assert info["queue_length"] == len(model.waiting)
    assert info["in_service"] == len(model.in_service())
    assert info["completed_total"] == len(model.log)


def assert_same_log(model: BruteForce, env: Any) -> None:
    """Compares every request's node, start and finish with the model's."""
    log = env.request_log()
    assert len(log) == model.arrived
    done = log.dropna(subset="completion_time")
    assert sorted(model.log) == done.request_id.tolist()
    for row in done.itertuples():
        node, start, finish = model.log[row.request_id]
        assert row.node == node
        assert_allclose([row.start_time, row.completion_time], [start, finish], rtol=0, atol=1e-9)
        assert row.base_latency == model.system.base[row.request_id]


@pytest.mark.parametrize("priority", PRIORITIES)
@pytest.mark.parametrize("continuous", [False, True], ids=["static", "continuous"])
@pytest.mark.parametrize("block", range(4))
def test_agrees_with_brute_force(continuous: bool, priority: str, block: int) -> None:
    for seed in range(10 * block, 10 * block + 10):
        rng = np.random.default_rng(seed)
        compare(random_settings(rng, continuous, priority), rng, seed)


def random_nodes(rng: Generator) -> list[Node]:
    """Any number of nodes of any kind that has no engine, some without a service."""
    nodes: list[Node] = []
    for k in range(int(rng.integers(1, 6))):
        services = int(rng.integers(0 if k else 1, 4))
        common: dict[str, Any] = {
            "backlog": int(rng.choice([0, 0, 1, 3, 20])) if services else 0,
            "network_rtt": float(rng.choice([0.0, 0.05, 0.7])),
            "time_multiplier": float(rng.uniform(0.3, 2.0)),
        }
        curve = np.cumsum(rng.uniform(0.0, 0.7, 5)) + 1.0
        kind = rng.integers(3)
        if kind == 0:
            size = int(rng.integers(1, 6))
            node: Node = StaticBatches(
                f"n{k}", batches=services, capacity=size, slowdown=tuple(curve), **common
            )
        elif kind == 1:
            node = Sequences(f"n{k}", sequences=services, slowdown=tuple(curve), **common)
        else:
            node = Slots(f"n{k}", slots=services, **common)
        nodes.append(node)
    return nodes


@pytest.mark.parametrize("priority", PRIORITIES)
@pytest.mark.parametrize("block", range(6))
def test_clusters_agree_with_brute_force(priority: str, block: int) -> None:
    for seed in range(10 * block, 10 * block + 10):
        rng = np.random.default_rng([seed, 14])
        settings = random_settings(rng, True, priority)
        edge = [name for name in settings if name.startswith(("edge_", "cloud_", "network_"))]
        settings = {name: value for name, value in settings.items() if name not in edge}
        compare(settings | {"env_id": CLUSTER_ID, "nodes": random_nodes(rng)}, rng, seed)


def compare(settings: dict[str, Any], rng: Generator, seed: int) -> None:
    """Plays an episode in both models, decision by decision."""
    model = brute_force(settings)
    choices = 1 + len(model.servers)
    idle = wait if rng.random() < 0.2 else None
    policy = idle or at_random(seed, tuple(rng.uniform(0.1, 1.0, choices)))
    env = make(**settings)
    observation, info = env.reset(seed=seed)
    model.start()
    terminated = truncated = False
    while not (terminated or truncated):
        assert_same_state(model, observation, info, len(settings["dataset"]))
        assert env.room() == tuple(server.room() for server in model.servers)
        action = policy(observation, info)
        before = model.now
        observation, reward, terminated, truncated, info = env.step(action)
        model.step(action)
        assert [info[term] for term in TERMS] == [getattr(model.terms, t) for t in TERMS]
        expected = [model.now - before, model.terms.jct, model.terms.cloud_seconds]
        actual = [info["elapsed"], info["jct"], info["cloud_seconds"]]
        assert_allclose(actual, expected, rtol=0, atol=1e-9)
        assert reward == info["jct"]
        assert (terminated, truncated) == (model.terminated, model.truncated)
    assert_same_log(model, env)


@pytest.mark.parametrize("continuous", [False, True], ids=["static", "continuous"])
@pytest.mark.parametrize("seed", range(10))
def test_littles_law_and_conservation(continuous: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    settings = random_settings(rng, continuous, "none")
    env = make(**{**settings, "drain": True})
    episode = play(env, at_random(seed))
    log = env.request_log()
    assert_allclose(sum(episode.rewards), -log.jct.sum(), rtol=1e-9)
    assert log.completion_time.notna().all()
    assert episode.total("completed") == len(log) == episode.infos[-1]["completed_total"]
    seconds = log.processing_time[log.node == "cloud"].sum()
    assert_allclose(episode.total("cloud_seconds"), seconds, rtol=1e-9, atol=1e-12)
    assert (log.start_time >= log.arrival_time).all()


@pytest.mark.parametrize("seed", range(5))
def test_truncation_counts_the_unfinished_at_their_age(seed: int) -> None:
    settings = random_settings(np.random.default_rng(seed), bool(seed % 2), "none")
    env = make(**{**settings, "drain": False})
    episode = play(env, at_random(seed))
    log = env.request_log()
    end = log.completion_time.fillna(settings["duration"])
    assert episode.truncated
    assert not episode.terminated
    assert episode.infos[-1]["time"] == settings["duration"]
    assert_allclose(sum(episode.rewards), -(end - log.arrival_time).sum(), rtol=1e-9)


def test_static_batches_last_their_longest_request_times_the_slowdown() -> None:
    curve = np.array([1.0, 1.25, 1.5, 2.0])
    env = make(
        STATIC, edge_concurrency=2, edge_batch_capacity=4, edge_slowdown=curve, cloud_concurrency=1
    )
    play(env, at_random(3))
    log = env.request_log()
    batches = log[log.node == "edge"].groupby(["start_time", "completion_time"])
    assert batches.ngroups > 10
    for (start, finish), batch in batches:
        sizes = len(batch)
        assert sizes <= 8  # two batches may start and end together
        if sizes <= 4:
            assert_allclose(finish - start, batch.base_latency.max() * curve[sizes - 1], rtol=1e-9)


@pytest.mark.parametrize("env_id", [STATIC, CONTINUOUS])
def test_never_more_in_service_than_there_is_capacity(env_id: str) -> None:
    env = make(env_id, edge_concurrency=3, cloud_concurrency=2, load=2.0)
    play(env, at_random(0))
    log = env.request_log()
    limit = {"edge": 12 if env_id == STATIC else 3, "cloud": 2}
    for node, requests in log.groupby("node"):
        starts = requests.start_time.to_numpy()
        running = (starts[:, None] >= starts) & (
            starts[:, None] < requests.completion_time.to_numpy()
        )
        assert running.sum(axis=1).max() <= limit[node]


@pytest.mark.parametrize("env_id", [STATIC, CONTINUOUS])
def test_filling_idle_slots_is_first_come_first_served(env_id: str) -> None:
    env = make(env_id, load=1.5, candidate_pool_size=3)
    play(env, wait)
    assert env.request_log().start_time.is_monotonic_increasing


@pytest.mark.parametrize("drain", [True, False])
@pytest.mark.parametrize("priority", [None, "array"])
def test_stalling_is_ended_by_forced_dispatches(drain: bool, priority: str | None) -> None:
    scores = None if priority is None else -np.arange(60.0)
    env = make(STATIC, work_conserving=False, drain=drain, priority=scores, candidate_pool_size=4)
    episode = play(env, wait)
    log = env.request_log()
    if drain:
        assert episode.terminated
        assert log.start_time.is_monotonic_increasing  # the oldest first, whatever the priority
        assert log.start_time.iloc[0] == log.arrival_time.iloc[-1]
        assert episode.total("forced_dispatches") == len(log)
    else:
        assert episode.truncated
        assert log.node.isna().all()
        assert episode.total("forced_dispatches") == 0


def test_forced_dispatches_count_in_the_makespan() -> None:
    env = make(STATIC, work_conserving=False, reward="makespan", duration=10.0)
    episode = play(env, wait)
    longest = env.request_log().groupby("start_time").processing_time.max()
    assert_allclose(sum(episode.rewards), -longest.sum(), rtol=1e-9)


class Nobody:
    """An arrival process without arrivals, as a random one may be for some seed."""

    def sample(self, rng: Any, rate: Any, duration: float) -> NDArray[np.float64]:
        del rng, rate, duration
        return np.empty(0)


@pytest.mark.parametrize("env_id", [STATIC, CONTINUOUS])
@pytest.mark.parametrize("drain", [True, False])
def test_an_episode_without_arrivals_ends_at_its_first_step(env_id: str, drain: bool) -> None:
    settings = {"dataset": dataset_of([1.0]), "observe": "id", "edge_slowdown": None}
    env = make(env_id, arrivals=Nobody(), duration=10.0, drain=drain, **settings)
    observation, info = env.reset(seed=0)
    assert info["queue_length"] == info["in_service"] == 0
    assert (observation["prompt_ids"] == -1).all()
    _, reward, terminated, truncated, info = env.step(wait(observation, info))
    assert (reward, terminated, truncated) == (0.0, drain, not drain)
    assert len(env.request_log()) == 0
    assert len(env.completions()) == 0
    assert len(env.telemetry()) > 0


@pytest.mark.parametrize("env_id", [STATIC, CONTINUOUS])
def test_tiny_durations_do_not_stall_the_clock(env_id: str) -> None:
    latency = [1e-300, 1e-17, 1e-12, 3.0]
    env = make(
        env_id,
        dataset=dataset_of(latency),
        observe="id",
        edge_slowdown=None,
        arrivals=Trace(np.repeat(np.arange(5.0), 40)),
        cloud_concurrency=1,
    )
    episode = play(env, at_random(1))
    log = env.request_log()
    assert episode.terminated
    assert len(log) == 200
    assert log.completion_time.notna().all()
    assert_allclose(sum(episode.rewards), -log.jct.sum(), rtol=1e-9)


def test_a_million_waiting_requests_are_all_served() -> None:
    count = 1_000_000
    env = make(
        STATIC,
        dataset=dataset_of([1e-3, 2e-3]),
        observe="id",
        arrivals=Trace(np.zeros(count)),
        edge_concurrency=2000,
        edge_batch_capacity=50,
        cloud_concurrency=1000,
        candidate_pool_size=100_000,
        work_conserving=True,
    )
    episode = play(env, wait)
    log = env.request_log()
    assert episode.infos[0]["queue_length"] == count
    assert len(log) == episode.infos[-1]["completed_total"] == count
    assert log.completion_time.notna().all()
    assert log.start_time.is_monotonic_increasing
    assert_allclose(sum(episode.rewards), -log.jct.sum(), rtol=1e-9)
