"""The environments, each single and vector class side by side."""

from edgecloud_gym.envs.base import EdgeCloudEnv
from edgecloud_gym.envs.cluster import ClusterEnv, ClusterVectorEnv
from edgecloud_gym.envs.continuous_batching import (
    ContinuousBatchingEnv,
    ContinuousBatchingVectorEnv,
)
from edgecloud_gym.envs.static_batching import StaticBatchingEnv, StaticBatchingVectorEnv
from edgecloud_gym.envs.time_series import TimeSeriesEnv, TimeSeriesVectorEnv
from edgecloud_gym.envs.vector import EdgeCloudVectorEnv

__all__ = [
    "ClusterEnv",
    "ClusterVectorEnv",
    "ContinuousBatchingEnv",
    "ContinuousBatchingVectorEnv",
    "EdgeCloudEnv",
    "EdgeCloudVectorEnv",
    "StaticBatchingEnv",
    "StaticBatchingVectorEnv",
    "TimeSeriesEnv",
    "TimeSeriesVectorEnv",
]
