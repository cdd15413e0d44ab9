"""Registration of the environments with Gymnasium, by name only: nothing heavy is imported."""

from __future__ import annotations

from typing import Final

from gymnasium.envs.registration import register, registry

_CLASSES: Final = {
    "EdgeCloud-Static-v0": "StaticBatching",
    "EdgeCloud-TimeSeries-v0": "TimeSeries",
    "EdgeCloud-Continuous-v0": "ContinuousBatching",
}

ENV_IDS: Final = tuple(_CLASSES)


def register_envs() -> None:
    """Registers every environment that is not registered yet."""
    for env_id, name in _CLASSES.items():
        if env_id not in registry:
            register(
                env_id,
                entry_point=f"edgecloud_gym.envs:{name}Env",
                vector_entry_point=f"edgecloud_gym.vector:{name}VectorEnv",
            )
