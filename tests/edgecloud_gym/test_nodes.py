"""The nodes as users write them down, and what is wrong with bad ones."""

import copy
import pickle
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from edgecloud_gym import CLUSTER_ID, RequestDataset, load_engine
from edgecloud_gym.nodes import Engine, Node, Sequences, Slots, StaticBatches
from tests.edgecloud_gym.support import CONTINUOUS, STATIC, make, toy_dataset

ENGINE = load_engine("smollm2-135m-cpu")
NAN = float("nan")


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Slots(""), "name=''"),
        (lambda: Slots("c", slots=-1), "node 'c': slots=-1"),
        (lambda: Slots("c", slots=2.5), "node 'c': slots=2.5"),
        (lambda: Slots("c", slots=10**9), "node 'c': slots=1000000000: .* from 0 to 1000000"),
        (lambda: Sequences("c", sequences=10**9), "node 'c': sequences=1000000000: .* to 1000000"),
        (lambda: StaticBatches("c", batches=2, capacity=10**6), "must have 1000000 places"),
        (lambda: Slots("c", network_rtt=NAN), "node 'c': network_rtt=nan"),
        (lambda: Slots("c", network_rtt=-0.1), "node 'c': network_rtt=-0.1"),
        (lambda: Slots("c", time_multiplier=0.0), "node 'c': time_multiplier=0.0"),
        (lambda: Slots("c", backlog=-1), "node 'c': backlog=-1"),
        (lambda: StaticBatches("s", capacity=0), "node 's': capacity=0"),
        (lambda: StaticBatches("s", slowdown="fast"), "node 's': slowdown='fast'"),
        (lambda: Sequences("p", slowdown=[1.0, NAN]), "node 'p': slowdown[1]=nan"),
        (lambda: Engine("e", model=3), "node 'e': model=3"),
        (lambda: Engine("e", model="h200"), "h100-qwen2.5-3b"),  # the known ones are listed
        (lambda: Engine("e", model=ENGINE, backlog=True), "node 'e': backlog=True"),
    ],
)
def test_bad_nodes(build: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message.replace("[", r"\[")):
        build()


SIZES = ("edge_concurrency", "cloud_concurrency", "candidate_pool_size", "edge_batch_capacity")


@pytest.mark.parametrize("size", SIZES)
def test_a_size_that_no_memory_holds(size: str) -> None:
    with pytest.raises(ValueError, match=rf"{size}=1000000000: must be .* to 1000000$"):
        make(STATIC, **{size: 10**9})


def test_lanes_that_no_memory_holds() -> None:
    with pytest.raises(ValueError, match=r"num_envs=1000000000000: must be .* from 1 to 1000000$"):
        gym.make_vec(STATIC, num_envs=10**12)


def test_a_queue_may_be_as_long_as_one_likes() -> None:
    env = make(CLUSTER_ID, nodes=[Slots("a", slots=1, backlog=2**31 - 1)], duration=5.0)
    env.reset(seed=0)


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ([], "at least one node"),
        ("edge", "must be a list of Engine"),
        ([Slots("c"), "d"], "'d' must be one of"),
        ([Node("n")], "must be one of"),
        ([Slots("c"), Slots("c")], "2 are named 'c'"),
        ([Slots("c", slots=0)], "at least one must serve"),
        ([Slots("a"), Slots("c", slots=0, backlog=3)], "backlog=3: must be 0 where slots=0"),
    ],
)
def test_bad_lists_of_nodes(nodes: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        make(CLUSTER_ID, nodes=nodes)


def test_settings_of_pairs_and_clusters_do_not_mix() -> None:
    with pytest.raises(TypeError, match="nodes="):
        make(STATIC, nodes=[Slots("c")])
    with pytest.raises(TypeError, match="edge_engine="):
        make(STATIC, edge_engine=ENGINE)
    with pytest.raises(ValueError, match="edge_concurrency=2: edge_engine has its own"):
        make(CONTINUOUS, edge_engine=ENGINE, edge_concurrency=2)
    with pytest.raises(ValueError, match="edge_engine='x'"):
        make(CONTINUOUS, edge_engine="x")


def test_an_engine_needs_token_counts() -> None:
    data = RequestDataset.from_arrays([1.0, 2.0], prompt_tokens=[3, 4])
    with pytest.raises(ValueError, match=r"'e' is an engine and needs .* no response_tokens"):
        make(CLUSTER_ID, nodes=[Engine("e", model=ENGINE)], dataset=data, observe="id")


def test_an_engine_needs_an_answer_of_a_token() -> None:
    data = RequestDataset.from_arrays([1.0, 2.0], prompt_tokens=[3, 4], response_tokens=[1, 0])
    with pytest.raises(ValueError, match="row 1: response_tokens is 0"):
        make(CLUSTER_ID, nodes=[Engine("e", model=ENGINE)], dataset=data, observe="id")


def test_a_request_must_fit_in_every_cache() -> None:
    data = RequestDataset.from_arrays([1.0, 2.0], prompt_tokens=[3, 90], response_tokens=[1, 8])
    nodes = [Engine("e", model=ENGINE.replaced(kv_tokens=96))]
    with pytest.raises(ValueError, match=r"row 1: a prompt of 90 .* node 'e', kv_tokens=96"):
        make(CLUSTER_ID, nodes=nodes, dataset=data, observe="id")
    make(CLUSTER_ID, nodes=[Engine("e", model=ENGINE.replaced(kv_tokens=97 + 15))], dataset=data,
         observe="id")  # fmt: skip


def test_a_short_curve_names_the_node() -> None:
    with pytest.raises(ValueError, match=r"node 's': slowdown has 2 entries: .*capacity=3"):
        make(CLUSTER_ID, nodes=[StaticBatches("s", capacity=3, slowdown=[1.0, 2.0])])


def test_nodes_are_values() -> None:
    nodes = [Engine("e", model=ENGINE), Sequences("p", slowdown=np.array([1.0, 1.5]))]
    assert copy.deepcopy(nodes) == nodes == pickle.loads(pickle.dumps(nodes))
    assert hash(nodes[1]) == hash(Sequences("p", slowdown=(1.0, 1.5)))


def test_a_pair_is_two_nodes() -> None:
    env = make(STATIC, edge_concurrency=2, edge_batch_capacity=3, network_rtt=0.2)
    assert env.config.nodes == (
        StaticBatches("edge", batches=2, capacity=3, slowdown=None),
        Slots("cloud", slots=8, time_multiplier=0.7, network_rtt=0.2),
    )
    assert env.simulator.node_names == ("edge", "cloud")


def test_actions_name_the_nodes() -> None:
    nodes = [Slots("near", slots=1), Slots("far", slots=1), Slots("farther", slots=1)]
    env = make(CLUSTER_ID, nodes=nodes, dataset=toy_dataset())
    env.reset(seed=0)
    with pytest.raises(ValueError, match=r"0 \(wait\), 1 \(near\), 2 \(far\) or 3 \(farther\)"):
        env.step(np.full(32, 4))


def test_a_file_that_is_not_there_is_named_with_its_node() -> None:
    with pytest.raises(FileNotFoundError, match=r"node 'e': model='no\.json': there is no such"):
        Engine("e", model="no.json")
    with pytest.raises(FileNotFoundError, match=r"edge_engine='no\.json': there is no such file"):
        make(CONTINUOUS, edge_engine="no.json")
