"""Index policies as rules: which of the ordered queue goes where, by an index and a threshold.

The parameters are those of `INDEX`, then those of `agents.rules.placement`; ``facts`` are
placement's as well, known or predicted.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from agents.rules.kept import kept_rule
from agents.rules.placement import (
    BASE,
    OUTPUT,
    PROMPT,
    fitting,
    placement_parameters,
    time_on,
)
from agents.rules.plan import NONE, candidates, is_open, is_static, occupied, row_of, send
from edgecloud_gym.nodes import CLOUD_NODE, EDGE_NODE
from edgecloud_gym.simulator.compiled.inlining import compiled
from edgecloud_gym.simulator.simulator import Simulator


class Index(NamedTuple):
    """The numbers of an index policy.

    The edge of a pair takes a request of (predicted) time m if
    log m <= edge_level + edge_free · f + edge_queue · log(1 + q) + edge_full · [f = 0], f the share
    of cloud slots that are free and q the requests that wait; a static batch with n members, of
    which the first has the time m1, only if log m <= log m1 + batch_spread + batch_fill · n / K as
    well. Who is refused goes to the cloud, or waits if that is full.

    In any other system a request goes to the node with the least
    (1 - own_time) · (requests there + 1) / capacity + own_time · its time among those there; nodes
    with more than fill_limit of the requests that they serve side by side take none, and it waits
    if all have. It waits as well for a node that takes none now, if that costs so much less: if the
    log of the least cost of those that take one is more than hold_level + hold_queue · log(1 + q)
    above that of all, q the others that wait.
    """

    edge_level: float = 0.0
    edge_free: float = 0.0
    edge_queue: float = 0.0
    edge_full: float = 0.0
    batch_spread: float = 0.0
    batch_fill: float = 0.0
    fill_limit: float = 1.0
    own_time: float = 0.3
    hold_level: float = 40.0  # never: the log of a ratio that no two costs have
    hold_queue: float = 0.0


_AT: Final[Any] = Index(*range(len(Index._fields)))  # where each of them lies
NEVER: Final = -40.0  # the log of a time that no request has

# The rules of thumb: the edge of a pair takes nothing while the cloud has room.
STATIC_THUMB: Final = Index(-NEVER, 2 * NEVER * 100, batch_spread=float(np.log(2.5)))
CONTINUOUS_THUMB: Final = Index(float(np.log(0.7)), NEVER * 100, edge_queue=1.0)


def index_parameters(simulator: Simulator, index: Index) -> NDArray[np.float64]:
    """Returns what the rules below read, float64 (n,)."""
    return np.concatenate([np.array(index, np.float64), placement_parameters(simulator)])


@compiled
def edge_threshold(p, free_share, queue):
    """Returns the largest log time (s) that the edge of a pair takes."""
    level = p[_AT.edge_level] + p[_AT.edge_free] * free_share + p[_AT.edge_queue] * np.log1p(queue)
    return level + p[_AT.edge_full] if free_share == 0.0 else level


@kept_rule
def pair(d):
    """The edge takes what its index allows, the cloud the others in their order."""
    p = d.parameters
    slots = max(1, d.nodes[CLOUD_NODE].services)
    largest = d.nodes[EDGE_NODE].capacity if is_static(d) else d.room[EDGE_NODE]
    edge_room = min(d.room[EDGE_NODE], largest)
    queue = d.lane[0].queue_length
    count = 0
    most = np.inf  # the largest log time that the batch takes
    for j in range(candidates(d)):
        cloud_room = d.room[CLOUD_NODE]
        if edge_room == 0 and cloud_room == 0:
            return
        log_time = np.log(d.facts[row_of(d, j)][BASE])
        spread = p[_AT.batch_fill] * count / largest if count > 0 else 0.0
        threshold = edge_threshold(p, cloud_room / slots, float(queue))
        if edge_room > 0 and log_time <= min(threshold, most + spread):
            if count == 0 and is_static(d):
                most = log_time + p[_AT.batch_spread]
            count += 1
            edge_room -= 1
            send(d, j, EDGE_NODE)
        elif cloud_room > 0:
            send(d, j, CLOUD_NODE)
        else:
            continue
        queue -= 1


@compiled
def cost(d, node, facts):
    """Returns what it costs a request to be sent to a node (s), whether it takes one or not."""
    p = d.parameters
    load = (occupied(d, node) + 1.0) / d.nodes[node].rate
    own = time_on(d, p[len(_AT) :], node, facts[BASE], facts[PROMPT], facts[OUTPUT])
    return (1.0 - p[_AT.own_time]) * load + p[_AT.own_time] * own


@compiled
def takes(d, node):
    """Returns whether a node takes a request and serves it soon enough."""
    p = d.parameters
    limit = p[_AT.fill_limit] * fitting(d, p[len(_AT) :], node)
    return is_open(d, node) and occupied(d, node) + 1.0 <= max(1.0, limit)


@kept_rule
def cluster(d):
    """Each goes to the node of the least cost, or waits where no node should take one."""
    p = d.parameters
    behind = d.lane[0].queue_length - 1.0
    for j in range(candidates(d)):
        facts = d.facts[row_of(d, j)]
        best = NONE
        least = np.inf
        bound = np.inf  # the least of all, whether they take it or not
        for k in range(len(d.room)):
            if d.nodes[k].services == 0:
                continue
            found = cost(d, k, facts)
            bound = min(bound, found)
            if found < least and takes(d, k):
                best = k
                least = found
        if best == NONE:
            return
        if np.log(least / bound) > p[_AT.hold_level] + p[_AT.hold_queue] * np.log1p(behind):
            return
        send(d, j, best)
        behind -= 1.0
