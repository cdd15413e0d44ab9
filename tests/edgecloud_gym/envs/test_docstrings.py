"""The environments' docstrings say what the columns and ``info`` are: the code's own names."""

import re

import gymnasium as gym
import pytest

from edgecloud_gym import ENV_IDS
from edgecloud_gym.envs import (
    ClusterEnv,
    ContinuousBatchingEnv,
    StaticBatchingEnv,
    TimeSeriesEnv,
)
from edgecloud_gym.simulator.observation import (
    CANDIDATES,
    CLOUD,
    CLUSTER,
    EDGE,
    HISTORY,
    NODES,
    SYSTEM,
    Block,
)


def features(block: Block) -> str:
    return ", ".join(column.meaning for column in block.columns)


@pytest.mark.parametrize(
    ("env", "block"),
    [
        *((StaticBatchingEnv, block) for block in (CANDIDATES, EDGE, CLOUD, SYSTEM)),
        *((ClusterEnv, block) for block in (CANDIDATES, NODES, CLUSTER)),
    ],
)
def test_the_table_lists_the_columns(env: type, block: Block) -> None:
    rows = re.findall(r"\| ``(\w+)`` \| (.*?) \| (.*?) \|\n", env.__doc__ or "")
    shapes = {key: shape for key, shape, _ in rows}
    listed = {key: text for key, _, text in rows}
    assert listed[block.key] == features(block)
    assert re.search(rf"\b{len(block)}\b", shapes[block.key])


@pytest.mark.parametrize(
    ("env", "block"), [(TimeSeriesEnv, HISTORY), (ContinuousBatchingEnv, EDGE)], ids=["TS", "CB"]
)
def test_the_text_lists_the_columns(env: type, block: Block) -> None:
    text = " ".join((env.__doc__ or "").split())
    assert features(block) in text
    assert f"{len(block)})" in text


@pytest.mark.parametrize("env_id", ENV_IDS)
def test_every_key_of_info_is_explained(env_id: str) -> None:
    env = gym.make(env_id, reward={"jct": 1.0, "makespan": 0.1})
    _, info = env.reset(seed=0)
    section = (StaticBatchingEnv.__doc__ or "").split("## Information")[1].split("## Arguments")[0]
    assert set(info) <= set(re.findall(r"``(\w+)``", section))
