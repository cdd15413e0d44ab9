"""Stable-Baselines3's algorithms that learn on a walk along the queue, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import sb3_contrib
import stable_baselines3
from gymnasium import spaces
from sb3_contrib.common.recurrent.policies import RecurrentMultiInputActorCriticPolicy
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.sac.policies import MultiInputPolicy as SACPolicy

from agents.policies.walk import MaskableWalkPolicy, WalkPolicy, WalkQPolicy

# Long rollouts of many lanes and small steps: what a choice brings is little beside what arrives.
_ON_POLICY: Final = {
    "n_steps": 256,
    "batch_size": 4096,
    "n_epochs": 4,
    "learning_rate": 1e-4,
    "gae_lambda": 0.98,
}
_OFF_POLICY: Final = {"buffer_size": 100_000, "batch_size": 256, "learning_rate": 3e-4}


@dataclass(frozen=True)
class Algorithm:
    """An algorithm.

    Attributes:
        name: What the command calls it.
        make: Its class.
        policy: The class of its networks.
        settings: What it is made with unless a user says otherwise.
        lanes: How many systems it learns in at a time.
        scores: Whether an action is a score per choice, not a choice.
        timed: Whether it discounts by time, and not by step.
        walks: Whether its networks are those of a walk: start from a rule, never choose illegally,
            and play any number of nodes.
    """

    name: str
    make: type[BaseAlgorithm]
    policy: type[BasePolicy]
    settings: Mapping[str, Any] = field(default_factory=dict)
    lanes: int = 128
    scores: bool = False
    timed: bool = False
    walks: bool = True

    def build(
        self, observed: spaces.Dict, actions: spaces.Space[Any], **network: Any
    ) -> BasePolicy:
        """Returns its networks alone, untrained, for spaces."""
        make: Callable[..., BasePolicy] = self.policy
        policy = make(observed, actions, _no_rate, **network)
        policy.set_training_mode(False)
        return policy


def _no_rate(progress: float) -> float:
    """The learning rate of networks that do not learn."""
    del progress
    return 0.0


ALGORITHMS: Final[Mapping[str, Algorithm]] = {
    algorithm.name: algorithm
    for algorithm in (
        Algorithm("ppo", stable_baselines3.PPO, WalkPolicy, _ON_POLICY, timed=True),
        Algorithm(
            "maskable-ppo", sb3_contrib.MaskablePPO, MaskableWalkPolicy, _ON_POLICY, timed=True
        ),
        Algorithm(
            "a2c",
            stable_baselines3.A2C,
            WalkPolicy,
            {"n_steps": 16, "learning_rate": 1e-4, "normalize_advantage": True},
            timed=True,
        ),
        Algorithm(
            "dqn",
            stable_baselines3.DQN,
            WalkQPolicy,
            {
                **_OFF_POLICY,
                "learning_starts": 5_000,
                "train_freq": 4,
                "exploration_fraction": 0.2,
                "exploration_final_eps": 0.02,
                "gamma": 0.999,
            },
            lanes=16,
        ),
        Algorithm(
            "sac",
            stable_baselines3.SAC,
            SACPolicy,
            {**_OFF_POLICY, "learning_starts": 5_000, "train_freq": 4, "gamma": 0.999},
            lanes=16,
            scores=True,
            walks=False,
        ),
        Algorithm(
            "recurrent-ppo",
            sb3_contrib.RecurrentPPO,
            RecurrentMultiInputActorCriticPolicy,
            {**_ON_POLICY, "gamma": 0.999},
            lanes=64,
            walks=False,
        ),
    )
}
