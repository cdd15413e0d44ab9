"""RLlib: an environment for its workers, and a module that chooses legally; needs `ray[rllib]`.

For RLlib's new API stack, with torch::

    config = (
        PPOConfig()
        .environment(SequentialEnv, env_config={"id": "EdgeCloud-Static-v0", "load": 1.2})
        .rl_module(rl_module_spec=RLModuleSpec(module_class=CandidateModule))
    )

The ids work by themselves, too, with RLlib's own modules and without masks: in a worker an id is
written ``edgecloud_gym:EdgeCloud-Static-v0``, so that it is registered there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import gymnasium as gym

from edgecloud_gym.extras import importing
from edgecloud_gym.wording import shown
from edgecloud_gym.wrappers import SequentialAssignment

with importing("rllib"):
    from ray.rllib.core.columns import Columns
    from ray.rllib.core.rl_module.apis import ValueFunctionAPI
    from ray.rllib.core.rl_module.torch import TorchRLModule
    from torch import Tensor

    from edgecloud_gym.networks import CandidateNet

_OPTIONS: Final = ("width", "table")


class SequentialEnv(gym.Wrapper[Any, Any, Any, Any]):
    """An environment in a `SequentialAssignment`, made of RLlib's ``env_config``."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        """Makes the environment.

        Args:
            config: ``id``, perhaps ``allow_stop``, and settings of the environment.

        Raises:
            ValueError: If there is no ``id``.
        """
        settings = dict(config)
        env_id = settings.pop("id", None)
        if not isinstance(env_id, str):
            raise ValueError(
                f"env_config={shown(dict(config))}: must have the id of an environment"
            )
        allow_stop = settings.pop("allow_stop", False)
        super().__init__(SequentialAssignment(gym.make(env_id, **settings), allow_stop))


class CandidateModule(TorchRLModule, ValueFunctionAPI):  # type: ignore[misc]
    """A `CandidateNet` as a module, for PPO and other algorithms with a value function.

    Over a `SequentialEnv` it chooses only what is legal. ``model_config`` may have ``width`` and,
    with ``observe="id"``, ``table``; see `CandidateNet`.
    """

    def setup(self) -> None:
        """Makes the network."""
        given = self.model_config if isinstance(self.model_config, Mapping) else {}
        own = {name: given[name] for name in _OPTIONS if name in given}  # RLlib adds its own
        self.net = CandidateNet(self.observation_space, self.action_space, **own)

    def _forward(self, batch: Mapping[str, Any], **_: Any) -> dict[str, Any]:
        return {Columns.ACTION_DIST_INPUTS: self.net(batch[Columns.OBS])[0]}

    def compute_values(self, batch: Mapping[str, Any], embeddings: Any = None) -> Tensor:
        """Returns the values of a batch of observations (batch,)."""
        del embeddings
        values: Tensor = self.net(batch[Columns.OBS])[1]
        return values
