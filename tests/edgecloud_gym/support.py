"""What the core's tests share: a small dataset, environments over it, and whole episodes."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgecloud_gym import CLUSTER_ID, ENV_IDS, RequestDataset
from edgecloud_gym.envs.base import EdgeCloudEnv
from edgecloud_gym.envs.vector import EdgeCloudVectorEnv

STATIC, TIME_SERIES, CONTINUOUS = ENV_IDS
ALL_IDS = (*ENV_IDS, CLUSTER_ID)
OBSERVE = ("embedding", "id")

Policy = Callable[[dict[str, NDArray[Any]], dict[str, Any]], NDArray[np.int64]]


def toy_dataset(rows: int = 60, seed: int = 0) -> RequestDataset:
    """Lognormal latencies around 1 s, with everything else that a dataset can have."""
    rng = np.random.default_rng(seed)
    return RequestDataset.from_arrays(
        base_latency=rng.lognormal(0.0, 0.8, rows),
        embeddings=rng.normal(size=(rows, 6)),
        prompts=[f"prompt {i}" for i in range(rows)],
        prompt_tokens=rng.integers(1, 200, rows),
        response_tokens=rng.integers(1, 60, rows),
        slowdown=1.0 + 0.15 * np.arange(8),
        families=[("even", "odd")[i % 2] for i in range(rows)],
    )


def dataset_of(latency: ArrayLike) -> RequestDataset:
    """A dataset that has nothing but latencies; observe it with `observe="id"`."""
    return RequestDataset.from_arrays(base_latency=latency)


def applicable(env_id: str, settings: dict[str, Any]) -> dict[str, Any]:
    """The settings without those of edge and cloud, where an environment has no such sides."""
    sides = ("edge_", "cloud_", "network_") if env_id == CLUSTER_ID else ()
    return {name: value for name, value in settings.items() if not name.startswith(sides)}


def make(env_id: str = STATIC, **settings: Any) -> EdgeCloudEnv:
    """The environment itself, without Gymnasium's wrappers, over the toy dataset for a while."""
    if "dataset" not in settings:
        settings["dataset"] = toy_dataset()
    env = gym.make(env_id, **{"duration": 30.0, **applicable(env_id, settings)}).unwrapped
    assert isinstance(env, EdgeCloudEnv)
    return env


BRIEF = {"dataset": toy_dataset(), "duration": 8.0, "candidate_pool_size": 5}
LANES = 3


def make_vec(env_id: str = STATIC, lanes: int = LANES, **settings: Any) -> EdgeCloudVectorEnv:
    """The native vector environment over brief episodes, the settings of which are `BRIEF`."""
    env = gym.make_vec(env_id, num_envs=lanes, **{**BRIEF, **applicable(env_id, settings)})
    assert isinstance(env, EdgeCloudVectorEnv)
    return env


def wait(observation: dict[str, NDArray[Any]], _info: dict[str, Any]) -> NDArray[np.int64]:
    """The policy that assigns nothing."""
    return np.zeros(len(observation["candidates"]), np.int64)


def at_random(seed: int, weights: tuple[float, ...] = (1.0, 1.0, 1.0)) -> Policy:
    """A policy that draws every choice by itself: wait and each node in these proportions."""
    rng = np.random.default_rng(seed)
    shares = np.array(weights) / sum(weights)

    def act(observation: dict[str, NDArray[Any]], _info: dict[str, Any]) -> NDArray[np.int64]:
        return rng.choice(len(shares), size=len(observation["candidates"]), p=shares)

    return act


@dataclass
class Episode:
    """What a whole episode yielded: entry 0 of the observations and infos is that of `reset`."""

    observations: list[dict[str, NDArray[Any]]] = field(default_factory=list)
    infos: list[dict[str, Any]] = field(default_factory=list)
    actions: list[NDArray[np.int64]] = field(default_factory=list)
    rewards: list[float] = field(default_factory=list)
    terminated: bool = False
    truncated: bool = False

    def total(self, term: str) -> float:
        """Sum of an info entry over the steps."""
        return sum(info[term] for info in self.infos[1:])


def play(env: gym.Env[Any, Any], policy: Policy = wait, seed: int | None = 0) -> Episode:
    """Resets the environment and follows a policy to the end of the episode."""
    episode = Episode()
    observation, info = env.reset(seed=seed)
    episode.observations.append(observation)
    episode.infos.append(info)
    while not (episode.terminated or episode.truncated):
        action = policy(observation, info)
        observation, reward, episode.terminated, episode.truncated, info = env.step(action)
        episode.observations.append(observation)
        episode.infos.append(info)
        episode.actions.append(action)
        episode.rewards.append(float(reward))
    return episode


def assert_same(first: Any, second: Any) -> None:
    """Asserts that two nested results are equal bit for bit, types and dtypes included."""
    assert type(first) is type(second)
    if isinstance(first, dict):
        assert first.keys() == second.keys()
        for key in first:
            assert_same(first[key], second[key])
    elif isinstance(first, np.ndarray) and first.dtype != object:
        assert (first.dtype, first.shape) == (second.dtype, second.shape)
        assert first.tobytes() == second.tobytes()
    elif isinstance(first, list | tuple | np.ndarray):
        assert len(first) == len(second)
        for one, other in zip(first, second, strict=True):
            assert_same(one, other)
    else:
        assert first == second or (first != first and second != second)
