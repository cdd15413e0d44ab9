"""The paper's schedulers, and the two ends of the scale, as rules for an edge and a cloud."""

from __future__ import annotations

from agents.rules.draws import below, uniform
from agents.rules.kept import kept_rule
from agents.rules.plan import (
    batch_room,
    batch_to_edge,
    close_batch,
    fill_cloud,
    is_open,
    is_static,
    next_waiting,
    send,
    send_first,
    takes_call,
    waiting,
)
from edgecloud_gym.nodes import CLOUD_NODE, EDGE_NODE
from edgecloud_gym.simulator.compiled.inlining import inlined


@kept_rule
def fcfs(d):
    """Fills one edge batch with the first candidates, then the cloud with the next."""
    if takes_call(d):
        batch_to_edge(d, batch_room(d))
        fill_cloud(d)


@kept_rule
def edge_only(d):
    """Fills one edge batch."""
    if takes_call(d):
        batch_to_edge(d, batch_room(d))


@kept_rule
def cloud_only(d):
    """Fills the cloud."""
    if takes_call(d):
        fill_cloud(d)


@kept_rule
def random(d):
    """Makes one assignment: a coin picks the node, chance the requests."""
    if not takes_call(d):
        return
    edge_first = uniform(d.random) < 0.5
    batch = batch_room(d)
    if batch > 0 and (edge_first or not is_open(d, CLOUD_NODE)):
        _sample(d, EDGE_NODE, batch)
        close_batch(d, batch)
    elif is_open(d, CLOUD_NODE) and waiting(d) > 0:
        _sample(d, CLOUD_NODE, 1)


@inlined
def _sample(d, node, count):
    """Sends a uniform sample of the candidates: Floyd's algorithm, as ``rng.choice``.

    All of them wait. NumPy shuffles what it has chosen; the order means nothing here, but later
    draws come after it.
    """
    total = waiting(d)
    for last in range(total - count, total):
        drawn = below(d.random, last + 1)
        send(d, drawn if d.unassigned[drawn] else last, node)
    for last in range(count - 1, 0, -1):
        below(d.random, last + 1)


@kept_rule
def round_robin(d):
    """Edge and cloud take turns, one assignment a call.

    ``memory[0]`` is 1 where it is the cloud's turn.
    """
    if not takes_call(d):
        return
    batch = batch_room(d)
    if not is_static(d):
        batch = min(1, batch)
    if batch > 0 and (d.memory[0] == 0.0 or not is_open(d, CLOUD_NODE)):
        batch_to_edge(d, batch)
        d.memory[0] = 1.0
    elif is_open(d, CLOUD_NODE) and waiting(d) > 0:
        send_first(d, CLOUD_NODE, 1)
        d.memory[0] = 0.0


@kept_rule
def least_connections(d):
    """Sends to the edge, then to the cloud, while each is the less busy."""
    if not takes_call(d):
        return
    edge_busy = d.states[EDGE_NODE].busy
    cloud_busy = d.states[CLOUD_NODE].busy
    if is_static(d):
        batch = batch_room(d)
        if batch > 0 and (not is_open(d, CLOUD_NODE) or edge_busy <= cloud_busy):
            batch_to_edge(d, batch)
            edge_busy += 1
    else:
        while batch_room(d) > 0 and (not is_open(d, CLOUD_NODE) or edge_busy <= cloud_busy):
            batch_to_edge(d, 1)
            edge_busy += 1
    j = next_waiting(d, 0)
    while j >= 0 and is_open(d, CLOUD_NODE):
        if is_open(d, EDGE_NODE) and cloud_busy >= edge_busy:
            return
        send(d, j, CLOUD_NODE)
        cloud_busy += 1
        j = next_waiting(d, j)
