"""Pictures and texts of clusters."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from edgecloud_gym import CLUSTER_ID
from edgecloud_gym.nodes import Engine, Node, Slots, StaticBatches
from edgecloud_gym.render import Renderer, render_text
from edgecloud_gym.results.snapshot import NodeView, Snapshot, snapshot
from tests.edgecloud_gym.simulator.test_engine_nodes import MODEL, cluster, tokens
from tests.edgecloud_gym.support import at_random, make

pytest.importorskip("pygame", reason="needs pygame-ce")

NODES: list[Node] = [
    Engine("edge-a", model=MODEL.replaced(kv_tokens=320), backlog=9),
    Engine("edge-b", model=MODEL.replaced(kv_tokens=None), network_rtt=0.2),
    StaticBatches("batches", batches=2, capacity=3, slowdown=None, backlog=4),
    Slots("cloud", slots=2),
]


def at_work(steps: int = 60) -> Any:
    env = cluster(NODES, tokens(), np.linspace(0.0, 0.5, 60), work_conserving=False)
    policy = at_random(1, (1.0,) * 5)
    observation, info = env.reset(seed=0)
    for _ in range(steps):
        observation, _, _, _, info = env.step(policy(observation, info))
    return env


def test_snapshot_counts_what_the_log_says() -> None:
    env = at_work()
    view = snapshot(env.simulator, 0)
    log = env.request_log()
    assert [node.name for node in view.nodes] == ["edge-a", "edge-b", "batches", "cloud"]
    for node in view.nodes:
        here = log[log.node == node.name]
        assert node.completed == here.completion_time.notna().sum()
        assert node.requests == here.completion_time.isna().sum()
    assert view.running + sum(node.queued for node in view.nodes) == len(
        log[log.node.notna() & log.completion_time.isna()]
    )
    first, second, batches, _ = view.nodes
    assert first.preemptions == log.preemptions.sum() > 0
    assert 0.5 < first.cache <= 1.0
    assert np.isnan(second.cache)
    assert batches.preemptions == -1
    assert view.offloaded == (log.node == "cloud").sum()


def with_nodes(count: int) -> Snapshot:
    """A snapshot with so many nodes, under the longest names and the largest numbers."""
    view = snapshot(at_work().simulator, 0)
    node = NodeView(
        "ein sehr langer Name für einen Knoten", "static batches", "sequences",
        10**6, 999_999, 10**6, 2 * 10**6, 10**7, 0.999, 10**6,
    )  # fmt: skip
    return replace(view, nodes=(node,) * count)


@pytest.mark.parametrize("count", [1, 9, 10, 500])
def test_text_fits_a_terminal(count: int) -> None:
    text = render_text(with_nodes(count))
    lines = text.split("\n")
    assert text.isascii()
    assert max(map(len, lines)) <= 80
    assert len(lines) <= 30
    assert (f"and {count - 9} more" in text) == (count > 9)


def test_text_says_what_there_is() -> None:
    text = render_text(snapshot(at_work().simulator, 0))
    assert text.startswith("Cluster of 4 nodes")
    assert "nodes  edge-a             [" in text
    assert "sequences, " in text
    assert " preemptions, cache " in text
    assert "static batches, " in text


@pytest.mark.parametrize("count", [1, 4, 8, 9, 10, 500])
def test_picture_stays_within_its_panels(count: int) -> None:
    frame = Renderer("rgb_array", 15).draw(with_nodes(count))
    assert frame is not None
    for gap in (
        frame[:, :15],
        frame[:, 945:],
        frame[82:94],
        frame[410:422],
        frame[96:408, 242:254],
    ):
        assert (gap == frame[0, 0]).all()
    assert (frame[130:400, 931:938] == 255).all()  # the panel's own margin


def test_the_environment_renders() -> None:
    frames = []
    for mode in ("rgb_array", "ansi"):
        env = make(CLUSTER_ID, render_mode=mode, duration=5.0)
        env.reset(seed=0)
        for _ in range(3):
            env.step(np.ones(32, np.int64))
            frames.append(env.render())
    assert frames[0].shape == (640, 960, 3)
    assert "edge-a" in frames[-1]
