"""How likely the choices of a scheduler are that draws lots, for an edge and a cloud."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgecloud_gym.nodes import TO_CLOUD, TO_EDGE, WAIT

Floats = NDArray[np.float64]


class Likelihood:
    """Marginal probabilities of the choices, which begin with everybody waiting.

    Attributes:
        table: (M, 3); rows sum to 1.
    """

    def __init__(self, candidates: int) -> None:
        """Begins with everybody waiting."""
        self.table = np.zeros((candidates, 3))
        self.table[:, WAIT] = 1.0

    def add(self, candidates: NDArray[np.int64], choice: int, probabilities: Floats) -> None:
        """Takes probabilities from waiting and gives them to another choice."""
        self.table[candidates, choice] += probabilities
        self.table[candidates, WAIT] -= probabilities


def batch_and_rest(first: Floats, second: Floats, batch: int, cloud: int) -> Floats:
    """Returns the choices of those who send the best to the edge, then the best that are left.

    Args:
        first: What the edge goes by, lower first, (..., n).
        second: What the cloud goes by (..., n).
        batch: How many the edge takes.
        cloud: How many the cloud takes.

    Returns:
        1 where a candidate is sent there, (..., n, 3).
    """
    to_edge = _ranks(first) < batch
    rest = np.where(to_edge, np.inf, second)
    to_cloud = (_ranks(rest) < cloud) & ~to_edge
    return np.stack([~(to_edge | to_cloud), to_edge, to_cloud], axis=-1).astype(float)


def batch_by_lot(second: Floats, batch: int, cloud: int) -> Floats:
    """Returns the probabilities of a uniform batch for the edge, then the best that are left.

    A candidate that r others precede in the cloud's order goes there if it is not drawn and more
    than r - ``cloud`` of these are: a hypergeometric tail.

    Args:
        second: What the cloud goes by, lower first, (n,).
        batch: How many of the n the edge takes.
        cloud: How many the cloud takes.

    Returns:
        Probabilities (n, 3).
    """
    from scipy.stats import hypergeom

    n = len(second)
    table = np.empty((n, 3))
    table[:, TO_EDGE] = batch / n
    ahead = _ranks(second)
    tail = hypergeom.sf(ahead - cloud, n - 1, ahead, batch) if n > 1 else np.ones(1)
    table[:, TO_CLOUD] = (1.0 - batch / n) * (tail if cloud else 0.0)
    table[:, WAIT] = 1.0 - table[:, TO_EDGE] - table[:, TO_CLOUD]
    return table


def _ranks(values: Floats) -> NDArray[np.int64]:
    """Returns each entry's rank along the last axis, 0 for the lowest, ties in order."""
    order = np.argsort(values, axis=-1, kind="stable")
    return np.asarray(np.argsort(order, axis=-1, kind="stable"))
