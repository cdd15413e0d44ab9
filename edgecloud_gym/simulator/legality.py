"""What may be assigned to which node: the one owner of legality outside compiled code.

Masks, wrappers, agents and policies ask here. Arrays have a leading axis of lanes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecloud_gym.nodes import NODE_NAMES, WAIT

NODES = len(NODE_NAMES)  # of the paper's system

Indices = NDArray[np.int64] | int


def legal_pairs(unassigned: Any, room: Any) -> Any:
    """Returns which candidates can be assigned to which nodes (lanes, M, nodes).

    Args:
        unassigned: Which rows hold a candidate that is not assigned yet (lanes, M); NumPy or torch.
        room: How much each node still takes (lanes, nodes), of the same kind.
    """
    return unassigned[:, :, None] * (room > 0)[:, None, :]


class PartialAction:
    """Actions in the making, one per lane.

    Attributes:
        picks: The decisions so far, an action of the environment per lane, int64 (lanes, M).
        unassigned: Candidates that no node was picked for, bool (lanes, M).
        room: Requests that each node still takes, int64 (lanes, nodes).
    """

    def __init__(self, lanes: int, candidates: int, nodes: int = NODES) -> None:
        """Makes partial actions in which nothing is legal before `begin`."""
        self.picks = np.zeros((lanes, candidates), np.int64)
        self.unassigned = np.zeros((lanes, candidates), np.bool_)
        self.room = np.zeros((lanes, nodes), np.int64)

    def begin(
        self,
        present: NDArray[np.bool_],
        room: NDArray[np.int64],
        which: NDArray[np.bool_] | slice = slice(None),
    ) -> None:
        """Starts anew: everybody waits.

        Args:
            present: Which rows hold a candidate (lanes, M).
            room: Requests that each node takes (lanes, nodes).
            which: The lanes in which to start (lanes,); all by default.
        """
        self.picks[which] = WAIT
        self.unassigned[which] = present[which]
        self.room[which] = room[which]

    def assign(self, lanes: Indices, candidates: Indices, nodes: Indices) -> None:
        """Assigns one candidate of each lane named, to a node that has room for it."""
        self.picks[lanes, candidates] = nodes + 1
        self.unassigned[lanes, candidates] = False
        self.room[lanes, nodes] -= 1

    def legal(self) -> NDArray[np.bool_]:
        """Returns what can still be assigned, bool (lanes, M, nodes)."""
        return np.asarray(legal_pairs(self.unassigned, self.room))


def assign_lowest(
    scores: NDArray[np.float64], present: NDArray[np.bool_], room: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Assigns the lowest-scored candidates to the first node, the next to the second, and so on.

    Args:
        scores: (lanes, M). Of equal scores the earlier candidate's counts as lower.
        present: Which rows hold a candidate (lanes, M).
        room: How many requests each node takes (lanes, nodes).

    Returns:
        An action of the environment per lane, int64 (lanes, M).
    """
    order = np.argsort(np.where(present, scores, np.inf), axis=1, kind="stable")
    rank = np.empty_like(order)
    np.put_along_axis(rank, order, np.arange(scores.shape[1])[np.newaxis], axis=1)
    # The first node takes the ranks below its room, the next those below the sum of both rooms.
    full = rank[:, :, np.newaxis] >= np.cumsum(room, axis=1)[:, np.newaxis, :]
    node = full.sum(axis=2)
    actions: NDArray[np.int64] = np.where(present & (node < room.shape[1]), node + 1, 0)
    return actions
