"""Gymnasium environments for scheduling LLM requests between an edge and a cloud.

Importing this package registers ``EdgeCloud-Static-v0``, ``EdgeCloud-TimeSeries-v0`` and
``EdgeCloud-Continuous-v0``, for `gymnasium.make` and `gymnasium.make_vec`.
"""

from edgecloud_gym.dataset import RequestDataset, load_dataset
from edgecloud_gym.registration import ENV_IDS, register_envs

__all__ = ["ENV_IDS", "RequestDataset", "load_dataset"]

register_envs()
