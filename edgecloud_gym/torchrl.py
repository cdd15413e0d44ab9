"""TorchRL on the environments, with masks in the tensordict; needs `torchrl`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import gymnasium as gym
from gymnasium.vector import AutoresetMode

from edgecloud_gym.checks import check_integer
from edgecloud_gym.extras import importing
from edgecloud_gym.wording import shown
from edgecloud_gym.wrappers import SequentialAssignment, vector

with importing("torchrl"):
    import torch
    from tensordict import TensorDictBase
    from torchrl.data import Binary, Composite
    from torchrl.envs import EnvBase, GymWrapper
    from torchrl.envs.gym_like import BaseInfoDictReader

WRAPPERS: Final = ("sequential", None)
_KEY: Final = "action_mask"


class MaskReader(BaseInfoDictReader):  # type: ignore[misc]  # untyped where it is not installed
    """Reads ``info["action_mask"]`` into the tensordict as a boolean ``action_mask``.

    TorchRL's ``ActionMask`` and ``MaskedCategorical`` take it from there::

        env = GymWrapper(gymnasium.make(...), categorical_action_encoding=True)
        env.set_info_dict_reader(MaskReader(env))
    """

    def __init__(self, env: EnvBase) -> None:
        """Makes a reader for an environment.

        Args:
            env: TorchRL's wrapper of an EdgeCloud environment, single or vector.
        """
        base: Any = env
        shape = (*env.batch_size, *_mask_shape(base._env))
        self._spec = Composite({_KEY: Binary(shape=shape, dtype=torch.bool)}, shape=env.batch_size)
        self._last = torch.zeros(shape, dtype=torch.bool)

    def __call__(self, info_dict: Mapping[str, Any], tensordict: TensorDictBase) -> TensorDictBase:
        """Writes the mask of a step, or of a reset: lanes that were not reset keep theirs."""
        mask = torch.as_tensor(info_dict[_KEY], dtype=torch.bool)
        told = info_dict.get(f"_{_KEY}")
        if told is not None:
            lanes = torch.as_tensor(told).reshape(-1, *[1] * (mask.dim() - 1))
            mask = torch.where(lanes, mask, self._last)
        self._last = mask
        return tensordict.set(_KEY, mask)

    @property
    def info_spec(self) -> Composite:
        """What is written."""
        return self._spec


def make_env(
    env_id: str,
    n_envs: int | None = None,
    wrapper: str | None = "sequential",
    **settings: Any,
) -> EnvBase:
    """Makes an environment of TorchRL, with masks; TorchRL seeds it by ``set_seed``.

    Args:
        env_id: One of `edgecloud_gym.ENV_IDS`, or `edgecloud_gym.CLUSTER_ID`.
        n_envs: Number of lanes of the native vector environment, which is then the batch size;
            ``None`` for a single environment.
        wrapper: ``"sequential"`` (`SequentialAssignment`, discrete actions, exactly masked), or
            ``None`` (the environment's own actions).
        **settings: Of the environment.

    Returns:
        The environment, categorical actions, with ``action_mask`` in every tensordict.

    Raises:
        TypeError: If ``n_envs`` is no integer.
        ValueError: If the wrapper's name is unknown, or there are no lanes.
    """
    if wrapper not in WRAPPERS:
        allowed = " or ".join(map(repr, WRAPPERS))
        raise ValueError(f"wrapper={shown(wrapper)}: must be {allowed}")
    if n_envs is not None:
        check_integer("n_envs", n_envs, least=1)
    made: Any
    if n_envs is None:
        made = gym.make(env_id, **settings)
        made = SequentialAssignment(made) if wrapper else made
    else:
        disabled = AutoresetMode.DISABLED  # TorchRL resets lanes itself
        made = gym.make_vec(env_id, n_envs, autoreset_mode=disabled, **settings)
        made = vector.SequentialAssignment(made) if wrapper else made
    env = GymWrapper(made, categorical_action_encoding=True)
    return env.set_info_dict_reader(MaskReader(env))


def _mask_shape(env: Any) -> tuple[int, ...]:
    """Returns the shape of a lane's mask."""
    space = getattr(env, "single_action_space", env.action_space)
    if isinstance(space, gym.spaces.Discrete):
        return (int(space.n),)
    return (len(space.nvec), int(space.nvec[0]))
