"""How likely the choices of a scheduler are that draws lots."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edgecloud_gym.nodes import TO_CLOUD, TO_EDGE, WAIT

Floats = NDArray[np.float64]
Room = tuple[int, ...]

STATES: Final = 4096  # that one by one is followed through exactly


class Likelihood:
    """Marginal probabilities of the choices, which begin with everybody waiting.

    Attributes:
        table: (M, 1 + nodes); rows sum to 1.
    """

    def __init__(self, candidates: int, nodes: int = 2) -> None:
        """Begins with everybody waiting."""
        self.table = np.zeros((candidates, 1 + nodes))
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


def one_by_one(room: Sequence[int], candidates: int, choice: Callable[[Room], Floats]) -> Floats:
    """Returns the probabilities of the choices of a router that draws lots for one after the other.

    Exact while the candidates so far can have left at most `STATES` different room; of more, as
    many are drawn.

    Args:
        room: How many requests each node takes (nodes,).
        candidates: How many wait, in the order in which they are sent.
        choice: The probabilities of the nodes (nodes,), given the room that is left, some of which
            is left; 0 for nodes without.

    Returns:
        Probabilities (candidates, 1 + nodes).
    """
    rng = np.random.default_rng(0)
    table = np.zeros((candidates, 1 + len(room)))
    states: dict[Room, float] = {tuple(int(places) for places in room): 1.0}
    for j in range(candidates):
        states = _drawn(states, rng)
        left: dict[Room, float] = defaultdict(float)
        for state, weight in states.items():
            if not any(state):
                table[j, WAIT] += weight
                left[state] += weight
                continue
            chances = choice(state)
            table[j, 1:] += weight * chances
            for k in np.flatnonzero(chances).tolist():
                after = (*state[:k], state[k] - 1, *state[k + 1 :])
                left[after] += weight * float(chances[k])
        states = left
    return table


def _drawn(states: dict[Room, float], rng: np.random.Generator) -> dict[Room, float]:
    """Returns states, or draws of them if there are too many."""
    if len(states) <= STATES:
        return states
    weights = np.array([*states.values()])
    counts = rng.multinomial(STATES, weights / weights.sum())
    return {
        state: count / STATES for state, count in zip(states, counts.tolist(), strict=True) if count
    }


def _ranks(values: Floats) -> NDArray[np.int64]:
    """Returns each entry's rank along the last axis, 0 for the lowest, ties in order."""
    order = np.argsort(values, axis=-1, kind="stable")
    return np.asarray(np.argsort(order, axis=-1, kind="stable"))
