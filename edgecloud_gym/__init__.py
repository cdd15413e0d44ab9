"""Gymnasium environments for scheduling LLM requests between an edge and a cloud.

Importing this package registers ``EdgeCloud-Static-v0``, ``EdgeCloud-TimeSeries-v0``,
``EdgeCloud-Continuous-v0`` and ``EdgeCloud-Cluster-v0``, for `gymnasium.make` and
`gymnasium.make_vec`, by name only: nothing heavy is imported.
"""

from importlib.metadata import PackageNotFoundError, version
from typing import Final

from gymnasium.envs.registration import register, registry

from edgecloud_gym.dataset import RequestDataset, load_dataset
from edgecloud_gym.engines import EngineModel, load_engine

__all__ = [
    "CLUSTER_ID",
    "ENV_IDS",
    "EngineModel",
    "RequestDataset",
    "__version__",
    "load_dataset",
    "load_engine",
]

try:
    __version__ = version("edgecloud-gym")
except PackageNotFoundError:  # a checkout that is not installed
    __version__ = "unknown"

_CLASSES: Final = {
    "EdgeCloud-Static-v0": "StaticBatching",
    "EdgeCloud-TimeSeries-v0": "TimeSeries",
    "EdgeCloud-Continuous-v0": "ContinuousBatching",
    "EdgeCloud-Cluster-v0": "Cluster",
}

ENV_IDS: Final = tuple(_CLASSES)[:3]  # of the paper's system, an edge and a cloud
CLUSTER_ID: Final = tuple(_CLASSES)[3]


def _register_envs() -> None:
    """Registers every environment that is not registered yet."""
    for env_id, name in _CLASSES.items():
        if env_id not in registry:
            register(
                env_id,
                entry_point=f"edgecloud_gym.envs:{name}Env",
                vector_entry_point=f"edgecloud_gym.envs:{name}VectorEnv",
            )


_register_envs()
