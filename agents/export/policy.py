"""A trained policy as one function: from raw observations and a mask to scores of the choices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.preprocessing import preprocess_obs
from stable_baselines3.dqn.policies import DQNPolicy
from torch import Tensor, nn

from edgecloud_gym.wording import shown

if TYPE_CHECKING:
    from stable_baselines3.common.vec_env import VecNormalize

ILLEGAL: Final = -1e8  # the score of a choice that the mask forbids

Parts = dict[str, Tensor]


class Normalisation(nn.Module):
    """What `VecNormalize` makes of observations, with its statistics as they are."""

    def __init__(self, statistics: VecNormalize) -> None:
        """Takes over the statistics of the keys that are normalized."""
        super().__init__()
        self.limit = float(statistics.clip_obs)
        found: Any = statistics.obs_rms
        names = getattr(statistics, "norm_obs_keys", None) or list(found)
        self.names = list(names)
        for name in self.names:
            spread = np.sqrt(found[name].var + statistics.epsilon)
            self.register_buffer(f"mean_{name}", torch.tensor(found[name].mean).double())
            self.register_buffer(f"spread_{name}", torch.tensor(spread).double())

    def forward(self, parts: Parts) -> Parts:
        """Returns the observation with these keys normalized and clipped; in float64, as SB3."""
        return parts | {name: self._scaled(name, parts[name]) for name in self.names}

    def _scaled(self, name: str, part: Tensor) -> Tensor:
        centred = part.double() - getattr(self, f"mean_{name}")
        scaled: Tensor = centred / getattr(self, f"spread_{name}")
        return scaled.clamp(-self.limit, self.limit).float()


class ExportedPolicy(nn.Module):
    """Scores of the choices, from the parts of an observation in the order of ``keys``, and a mask.

    What comes before the policy are stages, each a function from an observation to an observation:
    a normalisation, or a predictor that adds to what is observed.

    Attributes:
        keys: Of the observation, in the order in which they are given.
        shape: Of the mask and the scores of one observation: (choices,) of a Discrete action,
            (M, 1 + nodes) of the environment's own.
    """

    def __init__(self, policy: Any, stages: Sequence[nn.Module] = ()) -> None:
        """Takes a policy of Stable-Baselines3.

        Args:
            policy: ``model.policy`` of PPO, A2C, TRPO, MaskablePPO or DQN.
            stages: What comes before it, in order.

        Raises:
            ValueError: If the policy is another, or its actions are no choices.
        """
        super().__init__()
        known = (ActorCriticPolicy, DQNPolicy)
        masked = hasattr(policy, "action_dist") and hasattr(policy.action_dist, "apply_masking")
        if not isinstance(policy, known) and not masked:
            raise ValueError(
                f"a policy of the class {type(policy).__name__} cannot be exported: it must be of "
                "PPO, A2C, TRPO, MaskablePPO or DQN"
            )
        if hasattr(policy, "lstm_actor"):
            raise ValueError("a recurrent policy cannot be exported: it remembers")
        self.keys = tuple(policy.observation_space.spaces)
        self.shape = _choices(policy.action_space)
        self.stages = nn.ModuleList(stages)
        self.policy = policy.eval()

    def forward(self, *inputs: Tensor) -> Tensor:
        """Returns scores (batch, choices), `ILLEGAL` where the mask forbids a choice.

        Args:
            *inputs: The parts of the observations, each with a leading axis of the batch, and the
                mask, bool, whose shape is theirs.
        """
        parts = dict(zip(self.keys, inputs[:-1], strict=True))
        for stage in self.stages:
            parts = stage(parts)
        scores = self._scores(parts).reshape(-1, *self.shape)
        return scores.masked_fill(~inputs[-1], ILLEGAL)

    def _scores(self, parts: Parts) -> Tensor:
        policy = self.policy
        if isinstance(policy, DQNPolicy):
            values: Tensor = policy.q_net(parts)
            return values
        ready = preprocess_obs(parts, policy.observation_space, policy.normalize_images)
        features = policy.pi_features_extractor(ready)
        scores: Tensor = policy.action_net(policy.mlp_extractor.forward_actor(features))
        return scores


def _choices(space: spaces.Space[Any]) -> tuple[int, ...]:
    if isinstance(space, spaces.Discrete):
        return (int(space.n),)
    if isinstance(space, spaces.MultiDiscrete) and len(set(space.nvec.tolist())) == 1:
        return (len(space.nvec), int(space.nvec[0]))
    raise ValueError(
        f"action_space={shown(space)}: a policy that is exported must choose, among a number of "
        "choices (SequentialAssignment) or for each candidate (the environment's own actions)"
    )
