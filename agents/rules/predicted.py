"""Shortest first by predicted times, for an edge and a cloud; ``facts`` are those of placement."""

from __future__ import annotations

from agents.rules.placement import BASE
from agents.rules.plan import (
    batch_room,
    close_batch,
    fill_cloud,
    is_open,
    is_static,
    next_waiting,
    row_of,
    send,
    takes_call,
    waiting,
)
from edgecloud_gym.nodes import CLOUD_NODE, EDGE_NODE
from edgecloud_gym.simulator.rules import rule


@rule
def shortest(d):
    """The cloud takes the shortest while it has room, the edge only when the cloud is full.

    A static batch is the shortest that waits and those of at most 2.5 times its time. Where the
    edge batches continuously it takes a request only if it is short for the number that wait.
    """
    if not takes_call(d):
        return
    fill_cloud(d)
    if is_open(d, CLOUD_NODE):
        return
    batch = batch_room(d)
    count = 0
    if is_static(d):
        j = next_waiting(d, 0)
        if j < 0:
            return
        limit = 2.5 * d.facts[row_of(d, j)][BASE]
        while count < batch and j >= 0 and d.facts[row_of(d, j)][BASE] <= limit:
            send(d, j, EDGE_NODE)
            count += 1
            j = next_waiting(d, j)
        close_batch(d, count)
        return
    while count < batch:
        j = next_waiting(d, 0)
        if d.facts[row_of(d, j)][BASE] > 0.7 * (1 + waiting(d)):
            return
        send(d, j, EDGE_NODE)
        count += 1
