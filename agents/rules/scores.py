"""Scores of an index policy for many requests and nodes at once: the logits of a prior.

The largest score in a row is what the rules of `agents.rules.index` decide for the next request of
the queue. Arrays of any shapes that broadcast; for torch, hand over ``tensor.numpy()`` and take
``torch.from_numpy(scores)``: the scores of a prior have no gradient.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from agents.rules.index import Index

Floats = NDArray[np.float64]

WORTH: Final = 3.0  # what a place is worth that would stay empty, in units of log time


def pair_scores(
    index: Index,
    log_time: ArrayLike,
    queue: ArrayLike,
    cloud_share: ArrayLike,
    edge_open: ArrayLike,
    batch_limit: ArrayLike = np.inf,
) -> Floats:
    """Returns what an edge and a cloud are worth to requests, (..., 3): to wait, edge and cloud.

    Args:
        index: The policy's numbers.
        log_time: Log of the predicted time of each (s).
        queue: How many wait, this one included.
        cloud_share: Share of the cloud's slots that are free.
        edge_open: Whether the edge takes another one.
        batch_limit: Largest log time that the batch takes which is being gathered: that of its
            first member + ``batch_spread`` + ``batch_fill`` · its members / K.

    Returns:
        0 for waiting; minus infinity for a node that is full.
    """
    share = np.asarray(cloud_share, np.float64)
    threshold = index.edge_level + index.edge_free * share
    threshold = threshold + index.edge_queue * np.log1p(queue) + index.edge_full * (share == 0.0)
    room = WORTH * (share > 0.0)
    edge = np.minimum(threshold, batch_limit) - log_time + room
    edge, cloud, opened = np.broadcast_arrays(edge, room, np.asarray(edge_open, np.bool_))
    return np.stack(
        [
            np.zeros(edge.shape),
            np.where(opened, edge, -np.inf),
            np.where(cloud > 0.0, cloud, -np.inf),
        ],
        axis=-1,
    )


def cluster_scores(
    index: Index,
    there: ArrayLike,
    rate: ArrayLike,
    fitting: ArrayLike,
    own_time: ArrayLike,
    is_open: ArrayLike,
) -> Floats:
    """Returns what nodes are worth to requests, (..., 1 + N): to wait, then each node.

    Args:
        index: The policy's numbers.
        there: Requests at each node (..., N), this one included.
        rate: What each can complete, requests/s (N,).
        fitting: How many it serves side by side, as far as its cache holds them (N,).
        own_time: How long the request would take there (..., N), s.
        is_open: Whether it takes a request (..., N).

    Returns:
        0 for waiting; below it for nodes that should take nobody; minus infinity for full ones.
    """
    count = np.asarray(there, np.float64)
    rates, opened = np.asarray(rate, np.float64), np.asarray(is_open, np.bool_)
    cost = (1.0 - index.own_time) * count / rates + index.own_time * np.asarray(own_time)
    allowed = opened & (count <= np.maximum(1.0, index.fill_limit * np.asarray(fitting)))
    least = np.min(np.where(allowed, cost, np.inf), axis=-1, keepdims=True)
    least = np.where(np.isfinite(least), least, cost)
    nodes = np.log(least) - np.log(cost) + np.where(allowed, WORTH, -WORTH)
    waiting = np.zeros((*nodes.shape[:-1], 1))
    return np.concatenate([waiting, np.where(opened, nodes, -np.inf)], axis=-1)
