"""Decisions put together piece by piece: what the wrappers share, for any number of lanes.

Nothing here knows of Gymnasium but the two spaces; arrays have a leading axis of lanes.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from edgecloud_gym.config import CONTINUOUS, SystemConfig

NODES: Final = 2  # edge, cloud; a pick of node n is n + 1 in the environment's action


class Draft:
    """The decisions that lanes are making, one candidate and node at a time.

    Choice ``2 * j + n`` of a lane assigns candidate j to node n (0 edge, 1 cloud), choice ``2 * M``
    ends its decision.

    Attributes:
        picks: The decisions so far, an action of the environment per lane, int64 (lanes, M).
        mask: Which choices are legal, int8 (lanes, 2 M + 1).
    """

    def __init__(self, config: SystemConfig, lanes: int, allow_stop: bool) -> None:
        """Makes drafts for ``lanes`` systems, in which nothing is legal before `begin`."""
        m = config.candidate_pool_size
        static = config.batching != CONTINUOUS
        self._slot_sizes = {"edge": config.edge_batch_capacity if static else 1, "cloud": 1}
        slots = np.array([config.edge_concurrency, config.cloud_concurrency])
        self._totals = np.maximum(1, slots * list(self._slot_sizes.values()))
        self._stop = 2 * m
        self._allow_stop = allow_stop
        self._lanes = np.arange(lanes)
        self._unassigned = np.zeros((lanes, m), np.bool_)
        self._left = np.zeros((lanes, NODES), np.int64)  # requests that each node still takes
        self.picks = np.zeros((lanes, m), np.int64)
        self.mask = np.zeros((lanes, 2 * m + 1), np.int8)

    def begin(
        self,
        which: NDArray[np.bool_],
        observation: dict[str, NDArray[Any]],
        over: NDArray[np.bool_],
    ) -> None:
        """Starts a new decision in some lanes.

        Args:
            which: The lanes (lanes,).
            observation: The environment's observation of all lanes.
            over: Lanes whose episode has ended (lanes,): only ending the decision is legal there.
        """
        here = observation["candidates"][which, :, 0] > 0
        self._unassigned[which] = here & ~over[which, np.newaxis]
        self._left[which] = self._capacity(observation)[which]
        self.picks[which] = 0
        self._find_legal()

    def _capacity(self, observation: dict[str, NDArray[Any]]) -> NDArray[np.int64]:
        """Returns how many requests edge and cloud can take, int64 (lanes, 2).

        A busy batch slot takes no more requests, a free one its full capacity.
        """
        lanes = len(observation["candidates"])
        free = np.zeros((lanes, NODES), np.int64)
        for node, (name, size) in enumerate(self._slot_sizes.items()):
            if name in observation:  # an absent side is not observed
                free[:, node] = size * (observation[name][:, :, 0] == 0).sum(axis=1)
        return free

    def choose(self, choices: NDArray[np.int64]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Adds one choice per lane. An illegal one changes nothing but ends the decision.

        Args:
            choices: (lanes,), each in [0, 2 M].

        Returns:
            Which lanes have ended their decision, because they chose to, chose illegally, or
            nothing more can be assigned; and which chose illegally. Both bool (lanes,).
        """
        legal = self.mask[self._lanes, choices] == 1
        picking = legal & (choices < self._stop)
        lanes = np.flatnonzero(picking)
        candidates, nodes = np.divmod(choices[lanes], NODES)
        self.picks[lanes, candidates] = nodes + 1
        self._unassigned[lanes, candidates] = False
        self._left[lanes, nodes] -= 1
        more = self._find_legal()
        return ~(picking & more), ~legal

    def _find_legal(self) -> NDArray[np.bool_]:
        """Writes the mask; returns the lanes in which something can be assigned."""
        possible = self._unassigned[:, :, np.newaxis] & (self._left > 0)[:, np.newaxis, :]
        self.mask[:, : self._stop] = possible.reshape(len(possible), -1)
        more = self.mask[:, : self._stop].any(axis=1)
        self.mask[:, self._stop] = self._allow_stop | ~more
        return np.asarray(more)

    def legal(self) -> NDArray[np.bool_]:
        """Returns a copy of the mask as bool."""
        return self.mask.astype(np.bool_)

    def progress(self) -> dict[str, NDArray[np.float32]]:
        """Returns what the wrappers add to the observation, for all lanes."""
        nodes = np.arange(1, NODES + 1)
        assigned = (self.picks[:, :, np.newaxis] == nodes).astype(np.float32)
        return {"assigned": assigned, "remaining": self._shares(self._left)}

    def progress_at_end(
        self, observation: dict[str, NDArray[Any]]
    ) -> dict[str, NDArray[np.float32]]:
        """Returns the same for one lane's last observation of an episode, given apart."""
        lanes = {name: part[np.newaxis] for name, part in observation.items()}
        assigned = np.zeros((self.picks.shape[1], NODES), np.float32)
        return {"assigned": assigned, "remaining": self._shares(self._capacity(lanes))[0]}

    def masks_at_end(self, which: NDArray[np.bool_]) -> NDArray[np.int8]:
        """Returns the masks of lanes whose episode has ended, 0 for those not in ``which``."""
        masks = np.zeros_like(self.mask)
        masks[which, self._stop] = 1
        return masks

    def _shares(self, left: NDArray[np.int64]) -> NDArray[np.float32]:
        return np.asarray(left / self._totals, np.float32)


def extended_space(space: spaces.Dict, config: SystemConfig) -> spaces.Dict:
    """Returns a lane's observation space with the keys that `Draft.progress` names."""
    m = config.candidate_pool_size
    return spaces.Dict(
        {
            **space.spaces,
            "assigned": spaces.Box(0.0, 1.0, (m, NODES), np.float32),
            "remaining": spaces.Box(0.0, 1.0, (NODES,), np.float32),
        }
    )


def checked_choices(choices: object, shape: tuple[int, ...], count: int) -> NDArray[np.int64]:
    """Returns choices as an int64 array of ``shape``.

    Raises:
        TypeError: If they are not integers.
        ValueError: If the shape differs or one is outside [0, ``count``).
    """
    array = np.asarray(choices)
    if array.dtype.kind not in "iu":
        raise TypeError(f"action has dtype {array.dtype}: must be an integer")
    if array.shape != shape:
        raise ValueError(f"action has shape {array.shape}: must be {shape}")
    if array.min() < 0 or array.max() >= count:
        raise ValueError(f"action={array!r}: must be in [0, {count - 1}]")
    return array.astype(np.int64)


def checked_scores(scores: object, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Returns scores as a float64 array of ``shape``.

    Raises:
        TypeError: If they are not real numbers.
        ValueError: If the shape differs or one is not finite.
    """
    array = np.asarray(scores)
    if array.dtype.kind not in "iuf":
        raise TypeError(f"action has dtype {array.dtype}: must hold real numbers")
    if array.shape != shape:
        raise ValueError(f"action has shape {array.shape}: must be {shape}")
    if not np.all(np.isfinite(array)):
        raise ValueError(f"action={array!r}: scores must be finite")
    return array.astype(np.float64)


def assign_lowest(
    scores: NDArray[np.float64],
    action_masks: NDArray[np.bool_],
    edge: NDArray[np.int64],
    cloud: NDArray[np.int64],
) -> NDArray[np.int64]:
    """Assigns the lowest-scored candidates to the edge and the next to the cloud.

    Args:
        scores: (lanes, M). Of equal scores the earlier candidate's counts as lower.
        action_masks: Of the environment (lanes, M, 3).
        edge: How many requests the edge takes (lanes,).
        cloud: How many requests the cloud takes (lanes,).

    Returns:
        An action of the environment per lane, int64 (lanes, M).
    """
    assignable = action_masks[:, :, 1:].any(axis=2)
    order = np.argsort(np.where(assignable, scores, np.inf), axis=1, kind="stable")
    rank = np.empty_like(order)
    np.put_along_axis(rank, order, np.arange(scores.shape[1])[np.newaxis], axis=1)
    to_edge = rank < edge[:, np.newaxis]
    placed = rank < (edge + cloud)[:, np.newaxis]
    actions: NDArray[np.int64] = np.where(to_edge, 1, np.where(placed, 2, 0)) * assignable
    return actions
