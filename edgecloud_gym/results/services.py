"""When requests were served, token by token as far as their node knows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgecloud_gym.drift import Speeds
from edgecloud_gym.nodes import Slots, StaticBatches
from edgecloud_gym.simulator.parameters import WAITING
from edgecloud_gym.simulator.simulator import Simulator

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Services:
    """What is known at present of the service of some requests, one entry each.

    Attributes:
        node: Their node by number, int64 (n,); -1 for those not dispatched.
        start: When service began, s (n,); NaN until then. In an engine: when the first step that
            the request is in was composed.
        first_token: When it gave its first token, s (n,); NaN until then, and where a node does
            not know: sequences, and batches and slots over a dataset that has no measured times
            to first token.
        preemptions: How often an engine preempted it, int64 (n,).
    """

    node: NDArray[np.int64]
    start: Floats
    first_token: Floats
    preemptions: NDArray[np.int64]


def services(simulator: Simulator, lane: int, ids: NDArray[np.integer] | slice) -> Services:
    """Returns what is known of the service of requests, by id."""
    state = simulator.state
    requests = state.requests[lane][ids]
    node = simulator.nodes(requests["slot"])
    if state.served is None:
        start = np.where(requests["slot"] == WAITING, np.nan, requests["dispatch"])
        first = np.full(len(requests), np.nan)
        preemptions = np.zeros(len(requests), np.int64)
    else:
        served = state.served[lane][ids]
        start = np.where(node < 0, np.nan, served["admitted"])
        first = served["first_token"].copy()
        preemptions = served["preemptions"].astype(np.int64)
    measured = simulator.dataset.time_to_first_token
    if measured is not None:
        for number, known in enumerate(simulator.config.nodes):
            here = np.flatnonzero((node == number) & np.isfinite(start))
            if isinstance(known, Slots | StaticBatches) and len(here):
                own = measured[requests["row"][here]]
                group = requests["slot"][here] + 1j * start[here]
                first[here] = _first_token(simulator, number, start[here], own, group)
        first[first > float(state.lanes[lane]["now"])] = np.nan
    return Services(node, start, first, preemptions)


def _first_token(
    simulator: Simulator, number: int, start: Floats, own: Floats, group: NDArray[np.complex128]
) -> Floats:
    """Returns when requests served on a node gave their first token, s (n,).

    Args:
        simulator: The simulator.
        number: The node's.
        start: When service began, s (n,).
        own: Their times to first token as measured alone, s (n,).
        group: Equal entries are a batch (n,).
    """
    node = simulator.config.nodes[number]
    assert isinstance(node, Slots | StaticBatches)
    work = _reading(simulator, node, number, own, group)
    speeds = Speeds(node.name, simulator.config.speed_changes)
    if speeds.are_constant:
        return start + (work + node.network_rtt)
    return speeds.finish(start + node.network_rtt, work)


def _reading(
    simulator: Simulator,
    node: Slots | StaticBatches,
    number: int,
    own: Floats,
    group: NDArray[np.complex128],
) -> Floats:
    """Returns how long requests are read until their first token.

    A batch has read all its prompts when it has read the longest.
    """
    if isinstance(node, Slots):
        return node.time_multiplier * own
    _, batch, sizes = np.unique(group, return_inverse=True, return_counts=True)
    longest = np.zeros(len(sizes))
    np.maximum.at(longest, batch, own)
    slowdown = simulator.workload.slowdowns[number][sizes - 1]
    return np.asarray((node.time_multiplier * longest * slowdown)[batch])
