"""Rollout buffers for decisions that come at irregular times.

Steps of a walk take no time at all, and what lies between two decisions may be a millisecond or
ten seconds. A discount per step would make the future worth the less the more often one decides.
Here it is e^(-dt / tau) over the time dt that a step took (as in semi-Markov decision processes;
Bradtke & Duff, Reinforcement Learning Methods for Continuous-Time Markov Decision Problems, 1994),
and the lambda of generalised advantage estimation counts steps in which time passed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from sb3_contrib.common.maskable.buffers import MaskableDictRolloutBuffer
from stable_baselines3.common.buffers import DictRolloutBuffer

from edgecloud_gym.wrappers.walk_features import WALK_SYSTEM

# Tells of every lane how long its last step took, and what time it is there since (s).
Clock: TypeAlias = Callable[[], tuple[NDArray[np.float64], NDArray[np.float64]]]


def advantages(
    rewards: NDArray[np.float64],
    values: NDArray[np.float64],
    ended: NDArray[np.float64],
    elapsed: NDArray[np.float64],
    horizon: float,
    gae_lambda: float,
) -> NDArray[np.float64]:
    """Returns generalised advantages of steps that last unequally long (steps, lanes).

    Args:
        rewards: Of each step (steps, lanes).
        values: Of each state, that after the last step included (steps + 1, lanes).
        ended: 1 where a step ended an episode (steps, lanes).
        elapsed: How long each step took, s (steps, lanes).
        horizon: tau, s: a second's worth falls to 1/e in that time.
        gae_lambda: Lambda, per step that took time.
    """
    discount = np.exp(-elapsed / horizon) * (1.0 - ended)
    decay = np.where(elapsed > 0.0, gae_lambda, 1.0)
    # What falls due evenly over dt is worth (1 - e^(-dt / tau)) tau / dt of itself at its start.
    x = elapsed / horizon
    worth = np.where(x > 1e-6, -np.expm1(-x) / np.maximum(x, 1e-6), 1.0)
    errors = rewards * worth + discount * values[1:] - values[:-1]
    found = np.zeros_like(errors)
    latest = np.zeros(errors.shape[1])
    for step in reversed(range(len(errors))):
        latest = errors[step] + discount[step] * decay[step] * latest
        found[step] = latest
    return found


def less_peers(
    found: NDArray[np.float64], episodes: NDArray[np.int64], times: NDArray[np.float64], peers: int
) -> NDArray[np.float64]:
    """Returns advantages less what peers found at the same moment (steps, lanes).

    Peers are lanes side by side that meet the same requests at the same times. What these bring is
    the same for all of them, so that what is left is what the lanes did differently: a baseline
    that depends on the input (Mao et al., Variance Reduction for Reinforcement Learning in
    Input-Driven Environments, ICLR 2019).

    Args:
        found: Advantages (steps, lanes).
        episodes: Number of the episode that each step is of (steps, lanes).
        times: When in it the step was taken, s (steps, lanes).
        peers: How many lanes side by side are alike.
    """
    keys = episodes * 1e7 + times  # in order along each lane; an episode is shorter than that
    result = found.copy()
    for first in range(0, found.shape[1], peers):
        lanes = range(first, first + peers)
        for lane in lanes:
            total = np.zeros(len(found))
            count = np.zeros(len(found))
            for other in lanes:
                if other == lane:
                    continue
                at = np.searchsorted(keys[:, other], keys[:, lane])  # its first step at that time
                met = np.minimum(at, len(found) - 1)
                inside = (at < len(found)) & (keys[0, other] <= keys[:, lane])
                inside &= episodes[met, other] == episodes[:, lane]
                total += np.where(inside, found[met, other], 0.0)
                count += inside
            result[:, lane] -= total / np.maximum(1.0, count)
    return result


class _InTime:
    """Mixin: discounts by time, and makes advantages comparable."""

    rewards: NDArray[np.float32]
    values: NDArray[np.float32]
    episode_starts: NDArray[np.float32]
    advantages: NDArray[np.float32]
    returns: NDArray[np.float32]
    observations: dict[str, NDArray[Any]]
    gae_lambda: float
    pos: int

    def __init__(
        self,
        *args: Any,
        clock: Clock,
        horizon: float,
        scale: bool = True,
        peers: int = 1,
        **kwargs: Any,
    ) -> None:
        """Makes a buffer.

        Args:
            *args: Of SB3's buffer.
            clock: Tells the time after the step that is being added.
            horizon: tau, s.
            scale: Whether advantages are divided by 1 + the requests in the system.
            peers: How many lanes side by side meet the same requests; see `less_peers`.
            **kwargs: Of SB3's buffer.
        """
        self._clock = clock
        self._horizon = horizon
        self._scale = scale
        self._peers = peers
        self._now: NDArray[np.float64] | None = None
        self._episode: Any = 0
        super().__init__(*args, **kwargs)

    def reset(self) -> None:
        """Forgets everything but the time."""
        super().reset()  # type: ignore[misc]
        self._elapsed = np.zeros_like(self.rewards, np.float64)
        self._times = np.zeros_like(self.rewards, np.float64)
        self._episodes = np.zeros_like(self.rewards, np.int64)

    def add(
        self, obs: Any, action: Any, reward: Any, episode_start: Any, *args: Any, **kwargs: Any
    ) -> None:
        """Adds a step."""
        elapsed, now = self._clock()
        self._episode = self._episode + np.asarray(episode_start, np.int64)
        self._elapsed[self.pos] = elapsed
        self._times[self.pos] = now - elapsed if self._now is None else self._now
        self._episodes[self.pos] = self._episode
        self._now = now.copy()
        super().add(obs, action, reward, episode_start, *args, **kwargs)  # type: ignore[misc]

    def compute_returns_and_advantage(
        self, last_values: torch.Tensor, dones: NDArray[np.bool_]
    ) -> None:
        """Finds advantages and returns of what was gathered."""
        last = last_values.clone().cpu().numpy().flatten()[np.newaxis]
        values = np.concatenate([self.values, last]).astype(np.float64)
        ended = np.concatenate([self.episode_starts[1:], dones[np.newaxis]]).astype(np.float64)
        found = advantages(
            self.rewards.astype(np.float64),
            values,
            ended,
            self._elapsed,
            self._horizon,
            self.gae_lambda,
        )
        self.returns = (found + values[:-1]).astype(np.float32)
        if self._peers > 1:
            found = less_peers(found, self._episodes, self._times, self._peers)
        if self._scale:
            requests = self.observations["system"][:, :, WALK_SYSTEM.positions.requests]
            found = found * np.exp(-requests)  # log(1 + requests in the system)
        self.advantages = found.astype(np.float32)


class TimedRolloutBuffer(_InTime, DictRolloutBuffer):  # type: ignore[misc] # see `_InTime`
    """For PPO and A2C."""


class MaskableTimedRolloutBuffer(_InTime, MaskableDictRolloutBuffer):  # type: ignore[misc]
    """For MaskablePPO."""
