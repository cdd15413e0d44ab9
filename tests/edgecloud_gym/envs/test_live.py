"""A live system is the simulated one, told what happens (INV-57)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from agents.registry import make_agent
from edgecloud_gym.dataset import RequestDataset, load_dataset
from edgecloud_gym.envs.cluster import ClusterEnv
from edgecloud_gym.envs.live import LiveEnv
from edgecloud_gym.nodes import Engine, Node, Slots, StaticBatches
from edgecloud_gym.simulator.compiled.follow import (
    FINISHED,
    FIRST_TOKEN,
    LEFT,
    PROGRESS,
    RETURNED,
    SENT,
)
from edgecloud_gym.simulator.live import LiveEvent, LiveRequest

NODES: list[Node] = [
    Slots("a", slots=2, time_multiplier=1.0, network_rtt=0.0, backlog=2),
    Slots("b", slots=3, time_multiplier=0.7, network_rtt=0.05),
]
SEEN = ("candidates", "nodes", "embeddings")


@pytest.fixture(scope="module")
def data() -> RequestDataset:
    return load_dataset("smollm2-135m")


def told(env: ClusterEnv, data: RequestDataset) -> tuple[list[LiveRequest], list[LiveEvent]]:
    """What happened in an episode, as a gateway would have seen it."""
    log = env.request_log()
    assert data.prompt_tokens is not None
    assert data.embeddings is not None
    arrivals = [
        LiveRequest(k, time, int(data.prompt_tokens[row]), data.embeddings[row])
        for k, time, row in zip(log.request_id, log.arrival_time, log.prompt_row, strict=True)
    ]
    finished = [
        LiveEvent(time, FINISHED, k, 5)
        for k, time in zip(log.request_id, log.completion_time, strict=True)
    ]
    return arrivals, sorted(finished, key=lambda event: event.time)


@pytest.mark.parametrize(
    ("agent", "ordered"),
    [("join-shortest-queue", False), ("power-of-two", False), ("join-shortest-queue", True)],
)
def test_told_what_happened_it_shows_what_the_simulator_showed(
    agent: str, ordered: bool, data: RequestDataset
) -> None:
    order = (lambda x: x[:, 0]) if ordered else None
    common: dict[str, Any] = {"nodes": NODES, "observe": "embedding", "candidate_pool_size": 8}
    player = make_agent(agent)
    simulated = ClusterEnv(load=1.2, duration=60.0, work_conserving=False, **common)
    player.reset(simulated, 3)
    simulated.set_priority(order)
    shown, actions, infos, queues = [], [], [], []
    observation, info = simulated.reset(seed=5)
    done = False
    while not done:
        actions.append(player.act(observation, info))
        shown.append(observation)
        infos.append(info)
        queues.append(simulated.candidates()["request"])
        observation, _, done, _, info = simulated.step(actions[-1])
    assert len(actions) > 100

    live = LiveEnv(work_conserving=False, waiting=400, **common)
    live.set_priority(order)
    live.reset()
    arrivals, events = told(simulated, data)
    a = e = 0
    for observation, action, info, queue in zip(shown, actions, infos, queues, strict=True):
        now = info["time"]
        new_a = np.searchsorted([r.arrival for r in arrivals], now, side="right")
        new_e = np.searchsorted([event.time for event in events], now, side="right")
        live.follow(arrivals[a:new_a], events[e:new_e], now)
        a, e = int(new_a), int(new_e)
        assert live.is_epoch
        seen, known = live.observe()
        assert live.keys() == queue.tolist()
        for name in SEEN:
            np.testing.assert_allclose(seen[name], observation[name], rtol=2e-5, atol=2e-5)
        np.testing.assert_array_equal(known["action_mask"], info["action_mask"])
        for name in ("time", "elapsed", "queue_length", "in_service", "arrivals", "jct",
                     "services_ended", "invalid_assignments", "cloud_seconds"):  # fmt: skip
            assert known[name] == pytest.approx(info[name], rel=1e-9, abs=1e-9), name
        sent = live.dispatch(action)
        picks = {int(k): int(n) - 1 for k, n in zip(queue, action, strict=False) if n}
        assert all(picks[key] == node for key, node in sent)


def engine_env(**settings: Any) -> LiveEnv:
    node = Engine("e", model="rtxpro6000-llama-3.1-8b", network_rtt=0.0)
    model = node.engine.replaced(sequences=2, kv_tokens=64)
    env = LiveEnv(
        nodes=[Engine("e", model=model, backlog=3), *NODES[1:]],
        observe="id", dataset=short(), **settings,
    )  # fmt: skip
    env.reset()
    return env


def short() -> RequestDataset:
    return RequestDataset.from_arrays(
        [1.0, 2.0, 3.0], prompt_tokens=[8, 8, 8], response_tokens=[4, 8, 12]
    )


def send(env: LiveEnv, now: float, *keys: int, node: int = 0, prompt: int = 8) -> None:
    env.follow([LiveRequest(k, now, prompt) for k in keys], [], now)
    action = np.zeros(32, np.int64)
    env.observe()
    action[: len(keys)] = 1 + node
    assert env.dispatch(action) == [(k, node) for k in keys]


def node_row(env: LiveEnv, node: int = 0) -> dict[str, float]:
    from edgecloud_gym.simulator.observation import NODES as BLOCK

    row: NDArray[Any] = env.observe()[0]["nodes"][node]
    return {column.name: float(value) for column, value in zip(BLOCK.columns, row, strict=True)}


def test_an_engine_is_as_full_as_what_has_been_streamed() -> None:
    env = engine_env()
    send(env, 1.0, 1, 2, 3)
    row = node_row(env)
    assert row["running"] == 1.0  # two sequences
    assert row["room"] == pytest.approx(2 / 5)
    assert row["backlog"] == pytest.approx(1 / 3)  # one queues there, of two sequences
    assert row["cache"] == pytest.approx(2 / 4)  # a block of 16 tokens each
    env.follow([], [LiveEvent(2.0, FIRST_TOKEN, 1), LiveEvent(2.5, PROGRESS, 1, 9)], 2.5)
    assert node_row(env)["cache"] == pytest.approx(3 / 4)  # 8 + 9 tokens are two blocks
    env.follow([], [LiveEvent(3.0, FINISHED, 1, 10)], 3.0)
    assert node_row(env)["cache"] == pytest.approx(2 / 4)  # the third has come in
    assert env.completions()["output_tokens"].tolist() == [10]
    env.follow([], [LiveEvent(4.0, LEFT, 2), LiveEvent(4.0, LEFT, 3)], 4.0)
    assert node_row(env)["cache"] == 0.0
    assert node_row(env)["room"] == 1.0
    assert env.live.at_nodes() == []


def test_base_latency_is_that_of_the_reference_machine() -> None:
    env = engine_env()
    send(env, 1.0, 1)
    env.follow([], [LiveEvent(9.0, FINISHED, 1, 6)], 9.0)
    # 1 s for 4 tokens, 2 s for 8, 3 s for 12: a quarter of a second a token, whatever it took here.
    assert env.completions()["base_latency"] == pytest.approx(1.5)
    assert env.completions()["processing_time"] == pytest.approx(8.0)


def test_a_closed_node_takes_nobody() -> None:
    env = engine_env()
    env.live.close_places(0, 5)
    env.live.close_places(1, 3)
    env.follow([LiveRequest(1, 1.0, 8)], [], 1.0)
    assert not env.is_epoch
    mask = env.observe()[1]["action_mask"]
    assert mask[0].tolist() == [1, 0, 0]
    env.live.close_places(0, 0)
    env.follow([], [], 2.0)
    assert env.is_epoch
    assert env.observe()[1]["action_mask"][0].tolist() == [1, 1, 0]


@pytest.mark.parametrize("ordered", [False, True])
def test_who_is_returned_waits_where_it_was(ordered: bool, data: RequestDataset) -> None:
    env = LiveEnv(nodes=NODES, candidate_pool_size=2, observe="id", work_conserving=False)
    env.set_priority((lambda x: x[:, 0]) if ordered else None)
    env.reset()
    assert data.embeddings is not None
    order = np.argsort(-data.embedding_table(64)[:5, 0]) if ordered else np.arange(5)
    # Keys in order of the queue: the first ranks first either way.
    comers = [LiveRequest(k, k / 10, 8, data.embeddings[row]) for k, row in enumerate(order[::-1])]
    env.follow(comers, [], 1.0)
    env.observe()
    assert env.keys() == [0, 1]
    assert env.dispatch(np.array([1, 2])) == [(0, 0), (1, 1)]
    env.observe()
    assert env.keys() == [2, 3]
    env.follow([], [LiveEvent(2.0, RETURNED, 1)], 2.0)
    _, info = env.observe()
    assert env.keys() == [1, 2]
    assert info["queue_length"] == 4
    env.follow([], [LiveEvent(3.0, LEFT, 1), LiveEvent(3.0, LEFT, 3)], 3.0)
    _, info = env.observe()
    assert env.keys() == [2, 4]
    assert (info["queue_length"], info["in_service"]) == (2, 1)


def test_one_who_only_looks_on_keeps_up() -> None:
    env = LiveEnv(nodes=NODES, candidate_pool_size=2, observe="id")
    env.reset()
    env.follow([LiveRequest(k, 0.1, 8) for k in range(3)], [], 0.1)
    env.observe()
    env.look_on()
    env.follow([], [LiveEvent(0.1, SENT, 0, 1), LiveEvent(0.1, SENT, 1, 0)], 0.1)
    _, info = env.observe()
    assert env.keys() == [2]
    assert env.live.at_nodes() == [(0, 1), (1, 0)]
    assert (info["queue_length"], info["in_service"]) == (1, 2)


def test_nobody_waits_for_ever() -> None:
    env = LiveEnv(nodes=NODES, observe="id", work_conserving=False)
    env.reset()
    env.follow([LiveRequest(k, 0.1, 8) for k in range(3)], [], 0.1)
    env.observe()
    assert env.dispatch(np.zeros(32, np.int64)) == []
    assert env.follow([], [], 1.0) == []
    assert env.follow([], [], 2.0, force=True) == [0, 1, 2]
    _, info = env.observe()
    assert info["forced_dispatches"] == 3


@pytest.mark.parametrize("ordered", [False, True])
def test_arrays_never_grow(ordered: bool, data: RequestDataset) -> None:
    rng = np.random.default_rng(0)
    env = LiveEnv(nodes=NODES, waiting=20, candidate_pool_size=4, observe="id")
    env.set_priority((lambda x: x[:, 0]) if ordered else None)
    env.reset()
    assert data.embeddings is not None
    width = env.live.state.requests.shape[1]
    waiting: set[int] = set()
    there: set[int] = set()
    ended = 0
    for key in range(6 * width):
        now = key / 10
        events = []
        for gone in [k for k in sorted(there) if rng.random() < 0.3]:
            there.discard(gone)
            events.append(LiveEvent(now, FINISHED if rng.random() < 0.8 else LEFT, gone, 3))
        for gone in [
            k for k in sorted(waiting) if rng.random() < (1.0 if len(waiting) > 15 else 0.02)
        ]:
            waiting.discard(gone)
            events.append(LiveEvent(now, LEFT, gone))
        ended += len(events)
        waiting.add(key)
        row = int(rng.integers(len(data)))
        env.follow([LiveRequest(key, now, 8, data.embeddings[row])], events, now)
        while env.is_epoch:
            _, info = env.observe()
            assert info["queue_length"] == len(waiting)
            assert info["in_service"] == len(there)
            assert set(env.keys()) <= waiting
            if not ordered:
                assert env.keys() == sorted(waiting)[:4]
            sent = env.dispatch(rng.integers(0, 3, 4))
            there |= {k for k, _ in sent}
            waiting -= there
            if not sent:
                break
        assert dict(env.live.at_nodes()).keys() == there
    assert ended > 5 * width
    assert env.live.state.requests.shape[1] == width


def test_what_cannot_be_live_is_refused() -> None:
    with pytest.raises(ValueError, match="'s': static batches cannot be served live"):
        LiveEnv(nodes=[StaticBatches("s")])
    env = LiveEnv(nodes=NODES, observe="id")
    with pytest.raises(ValueError, match="how long a live system"):
        make_agent("sjf-oracle").reset(env, 0)
    with pytest.raises(RuntimeError, match="has no step"):
        env.step(np.zeros(32, np.int64))
