"""How likely the choices of a router are that draws lots, in the state that a system is in."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from agents.schedulers.cluster_plan import ClusterPlan
from agents.schedulers.likelihood import Likelihood, Room, one_by_one


def routed_by_lot(
    plan: ClusterPlan, choice: Callable[[ClusterPlan], NDArray[np.float64]]
) -> NDArray[np.float64]:
    """Returns the probabilities of a router's choices, float64 (M, 1 + nodes).

    Args:
        plan: The state, in which nothing is sent yet.
        choice: The probabilities of the nodes (nodes,) for the next request, in the state of a plan
            in which some node is open.
    """
    nodes = len(plan.speed)
    waiting = np.array(plan.waiting, np.int64)
    likely = Likelihood(len(plan.action), nodes)

    def chances(room: Room) -> NDArray[np.float64]:
        plan.room[0] = room
        return choice(plan)

    likely.table[waiting] = one_by_one(plan.room[0].tolist(), len(waiting), chances)
    return likely.table
