"""Playing many episodes of a walk at once, as they are, to see how good networks are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray
from stable_baselines3.common.policies import BasePolicy

from edgecloud_gym.wrappers.vector import QueueHead


class Player:
    """Decides for the lanes of a walk as a policy thinks best.

    Args:
        policy: Of Stable-Baselines3, over what `QueueHead` shows; a recurrent one remembers.
    """

    def __init__(self, policy: BasePolicy) -> None:
        self._policy: Any = policy
        self._remembers = hasattr(policy, "lstm_actor")
        self.forget()

    def forget(self) -> None:
        """Begins new episodes."""
        self._memory: Any = None
        self._begins = True

    def choose(self, shown: dict[str, NDArray[Any]]) -> NDArray[Any]:
        """Returns an action per lane."""
        if not self._remembers:
            return np.asarray(self._policy.predict(shown, deterministic=True)[0])
        starts = np.full(len(shown["legal"]), self._begins)
        action, self._memory = self._policy.predict(
            shown, state=self._memory, episode_start=starts, deterministic=True
        )
        self._begins = False
        return np.asarray(action)


def play_lanes(envs: QueueHead, policy: BasePolicy, seeds: Sequence[int]) -> NDArray[np.float64]:
    """Plays one episode in each lane.

    Args:
        envs: As many lanes as there are seeds, in autoreset mode ``NEXT_STEP``.
        policy: Decides, always as it thinks best.
        seeds: Of the episodes.

    Returns:
        The mean JCT of each, s (lanes,).
    """
    assert envs.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
    player = Player(policy)
    shown, _ = envs.reset(seed=list(seeds))
    found = np.full(envs.num_envs, np.nan)
    over = np.zeros(envs.num_envs, np.bool_)
    while not over.all():
        shown, _, terminated, truncated, infos = envs.step(player.choose(shown))
        for lane in np.flatnonzero((terminated | truncated) & ~over):
            found[lane] = infos["summary"]["jct_mean"][lane]
            over[lane] = True
    return found
