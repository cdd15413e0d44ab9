"""Gymnasium environments for scheduling LLM requests between an edge and a cloud.

Importing this package registers ``EdgeCloud-Static-v0``, ``EdgeCloud-TimeSeries-v0`` and
``EdgeCloud-Continuous-v0``, for `gymnasium.make` and `gymnasium.make_vec`, by name only: nothing
heavy is imported.
"""

from importlib.metadata import PackageNotFoundError, version
from typing import Final

from gymnasium.envs.registration import register, registry

from edgecloud_gym.dataset import RequestDataset, load_dataset

__all__ = ["ENV_IDS", "RequestDataset", "__version__", "load_dataset"]

try:
    __version__ = version("edgecloud-gym")
except PackageNotFoundError:  # a checkout that is not installed
    __version__ = "unknown"

_CLASSES: Final = {
    "EdgeCloud-Static-v0": "StaticBatching",
    "EdgeCloud-TimeSeries-v0": "TimeSeries",
    "EdgeCloud-Continuous-v0": "ContinuousBatching",
}

ENV_IDS: Final = tuple(_CLASSES)


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
