"""Routers as rules: for any list of nodes, one candidate after the other while a node is open."""

from __future__ import annotations

import numpy as np

from agents.rules.draws import below, two_below
from agents.rules.kept import kept_rule
from agents.rules.plan import (
    NONE,
    cache_use,
    candidates,
    first_open,
    is_cloud,
    is_open,
    load,
    occupied,
    send,
)
from edgecloud_gym.simulator.compiled.inlining import inlined


@inlined
def _open_nodes(d):
    """Returns how many nodes take a request."""
    count = 0
    for k in range(len(d.room)):
        count += is_open(d, k)
    return count


@inlined
def _nth_open(d, n):
    """Returns the n-th node that takes a request."""
    for k in range(len(d.room)):
        if is_open(d, k):
            if n == 0:
                return k
            n -= 1
    return NONE


@inlined
def _least_loaded(d, edge_alone):
    """Returns the least loaded node that takes a request, of the edge if that alone is asked."""
    best = NONE
    least = np.inf
    for k in range(len(d.room)):
        if is_open(d, k) and not (edge_alone and is_cloud(d, k)):
            found = load(d, k)
            if best == NONE or found < least:
                best = k
                least = found
    return best


@kept_rule
def first_fit(d):
    """The first node that takes a request."""
    for j in range(candidates(d)):
        if d.unassigned[j]:
            k = first_open(d)
            if k == NONE:
                return
            send(d, j, k)


@inlined
def _fill(d, cloud):
    """Sends candidates to the first nodes of the cloud, or of the edge, that take one."""
    j = 0
    for k in range(len(d.room)):
        if is_cloud(d, k) != cloud:
            continue
        while j < candidates(d) and is_open(d, k):
            if d.unassigned[j]:
                send(d, j, k)
            j += 1


@kept_rule
def edge_only(d):
    """The first node of the edge, which is all but slots, that takes a request."""
    _fill(d, False)


@kept_rule
def cloud_only(d):
    """The first node of slots that takes a request."""
    _fill(d, True)


@kept_rule
def random(d):
    """A node by chance, of those that take a request."""
    for j in range(candidates(d)):
        if d.unassigned[j]:
            count = _open_nodes(d)
            if count == 0:
                return
            send(d, j, _nth_open(d, below(d.random, count)))


@kept_rule
def round_robin(d):
    """The next node that takes a request, in their order and round again.

    ``memory[0]`` is whose turn it is.
    """
    for j in range(candidates(d)):
        if not d.unassigned[j]:
            continue
        if first_open(d) == NONE:
            return
        node = int(d.memory[0])
        while not is_open(d, node):
            node = (node + 1) % len(d.room)
        send(d, j, node)
        d.memory[0] = (node + 1) % len(d.room)


@kept_rule
def least_connections(d):
    """The node with the fewest requests, whatever its speed."""
    for j in range(candidates(d)):
        if not d.unassigned[j]:
            continue
        best = NONE
        for k in range(len(d.room)):
            if is_open(d, k) and (best == NONE or occupied(d, k) < occupied(d, best)):
                best = k
        if best == NONE:
            return
        send(d, j, best)


@kept_rule
def join_shortest_queue(d):
    """The least loaded node that takes a request."""
    for j in range(candidates(d)):
        if d.unassigned[j]:
            k = _least_loaded(d, False)
            if k == NONE:
                return
            send(d, j, k)


@kept_rule
def edge_first(d):
    """The least loaded node of the edge, or of the cloud if the edge has no room."""
    for j in range(candidates(d)):
        if d.unassigned[j]:
            k = _least_loaded(d, True)
            if k == NONE:
                k = _least_loaded(d, False)
            if k == NONE:
                return
            send(d, j, k)


@kept_rule
def power_of_two(d):
    """The less loaded of two nodes drawn from those that take a request."""
    for j in range(candidates(d)):
        if not d.unassigned[j]:
            continue
        count = _open_nodes(d)
        if count == 0:
            return
        if count == 1:
            send(d, j, first_open(d))
            continue
        first, second = two_below(d.random, count)
        k = _nth_open(d, first)
        other = _nth_open(d, second)
        send(d, j, other if load(d, other) < load(d, k) else k)


@kept_rule
def least_kv(d):
    """The node with the largest share of its cache left."""
    for j in range(candidates(d)):
        if not d.unassigned[j]:
            continue
        best = NONE
        for k in range(len(d.room)):
            if is_open(d, k) and (best == NONE or cache_use(d, k) < cache_use(d, best)):
                best = k
        if best == NONE:
            return
        send(d, j, best)
