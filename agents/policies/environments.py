"""Environments to train networks of a walk in."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from agents.prediction import predictor_for
from agents.prediction.forecasts import cross_fitted
from edgecloud_gym.config import SystemConfig
from edgecloud_gym.dataset import load_dataset
from edgecloud_gym.sb3 import SB3VecEnv, make_vec_env
from edgecloud_gym.wrappers.vector import QueueHead


def make_walk_env(
    env_id: str,
    n_envs: int = 1,
    seed: int | None = None,
    predictor: str | Path | None = None,
    skips: int = 0,
    **settings: Any,
) -> SB3VecEnv:
    """Makes an environment in which Stable-Baselines3 learns on a walk along the queue.

    What is told of train prompts comes from predictors that did not see them, a request may wait
    while a place is free, and returns are of a size that a value network learns, all three unless
    the settings say otherwise.

    Args:
        env_id: One of `edgecloud_gym.ENV_IDS`, or `edgecloud_gym.CLUSTER_ID`.
        n_envs: Number of lanes.
        seed: Lane i is seeded with ``seed + i`` at the first reset.
        predictor: A name or a file; by default the bundled one of the dataset, or else one that is
            fitted on its train prompts.
        skips: How many candidates may be left waiting per decision.
        **settings: Of the environment.

    Returns:
        The environment.
    """
    dataset = load_dataset(settings.pop("dataset", SystemConfig.dataset))
    known = cross_fitted(predictor_for(dataset, predictor), dataset)
    own = {"work_conserving": False, "observe": "id", "reward": {"jct": 0.01}, "num_threads": 1}
    wrapper = partial(QueueHead, forecast=known, skips=skips)
    return make_vec_env(env_id, n_envs, seed, wrapper, dataset=dataset, **{**own, **settings})
