"""The metrics of a lane, whatever its nodes are."""

from __future__ import annotations

import numpy as np

from edgecloud_gym.config import CONTINUOUS
from edgecloud_gym.nodes import CLOUD_NODE
from edgecloud_gym.results.cluster_metrics import summarize_cluster
from edgecloud_gym.results.metrics import NAN, RequestTimes, summarize_requests
from edgecloud_gym.simulator.parameters import WAITING
from edgecloud_gym.simulator.simulator import Simulator


def summarize(simulator: Simulator, lane: int = 0) -> dict[str, float]:
    """Returns a lane's metrics so far; see `summarize_requests`.

    Clusters have more: see `edgecloud_gym.results.cluster_metrics.summarize_cluster`.
    """
    if not simulator.config.is_pair:
        return summarize_cluster(simulator, lane)
    record = simulator.state.lanes[lane]
    requests = simulator.state.requests[lane, : int(record["arrived"])]
    slot = requests["slot"]
    times = RequestTimes(
        arrival=requests["arrival"],
        start=np.where(slot == WAITING, NAN, requests["dispatch"]),
        finish=requests["finish"],
        base_latency=simulator.dataset.base_latency[requests["row"]],
        cloud=simulator.nodes(slot) == CLOUD_NODE,
        group=slot,
    )
    config = simulator.config
    return summarize_requests(
        times,
        end=float(record["now"]),
        edge_slots=config.edge_concurrency,
        cloud_slots=config.cloud_concurrency,
        batches=config.batching != CONTINUOUS,
        slo=config.slo_limits.get("jct"),
    )
