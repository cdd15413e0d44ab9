"""What a lane has done, read from its state: completions, request log, telemetry, snapshot."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from edgecloud_gym.nodes import EDGE_NODE
from edgecloud_gym.simulator.simulator import Simulator
from edgecloud_gym.simulator.state import WAITING

if TYPE_CHECKING:
    import pandas as pd

CANDIDATE_DTYPE: Final = np.dtype([("request", "i8"), ("row", "i8"), ("arrival", "f8")])

COMPLETION_DTYPE: Final = np.dtype(
    [
        ("request", "i8"),
        ("row", "i8"),
        ("node", "i8"),
        ("arrival", "f8"),
        ("dispatch", "f8"),
        ("finish", "f8"),
        ("processing_time", "f8"),
        ("base_latency", "f8"),
    ]
)


def candidates(simulator: Simulator, lane: int) -> NDArray[np.void]:
    """Returns who the candidates are, in the observation's order, `CANDIDATE_DTYPE` (n,), n <= M.

    ``request`` is the request's id, ``row`` its dataset row, ``arrival`` its arrival time (s).
    """
    ids = simulator.state.window[lane, : simulator.state.lanes[lane]["window_size"]]
    requests = simulator.state.requests[lane][ids]
    table = np.empty(len(ids), CANDIDATE_DTYPE)
    table["request"] = ids
    for name in ("row", "arrival"):
        table[name] = requests[name]
    return table


def completions(simulator: Simulator, lane: int) -> NDArray[np.void]:
    """Returns what finished since the last step, in order of completion, `COMPLETION_DTYPE`.

    ``processing_time`` is the time in service (s), ``base_latency`` the time that the request would
    have taken alone (s): in a batch the former is the batch's, the latter each request's own.
    """
    record = simulator.state.lanes[lane]
    done = simulator.state.finished[lane, record["done_before"] : record["done"]]
    table = np.empty(len(done), COMPLETION_DTYPE)
    if len(done) == 0:  # as after most steps: agents ask each time
        return table
    requests = simulator.state.requests[lane][done]
    table["request"] = done
    for name in ("row", "arrival", "dispatch", "finish"):
        table[name] = requests[name]
    table["node"] = simulator.nodes(requests["slot"])
    table["processing_time"] = requests["finish"] - requests["dispatch"]
    table["base_latency"] = simulator.dataset.base_latency[requests["row"]]
    return table


def request_log(simulator: Simulator, lane: int) -> pd.DataFrame:
    """Returns one row per request that has arrived, in order of arrival.

    Columns: ``request_id``, ``prompt_row``, ``arrival_time``, ``start_time``,
    ``completion_time``, ``node`` ("edge", "cloud" or None), ``base_latency``,
    ``processing_time``, ``queueing_delay``, ``jct``; times in s. What is not known yet, the base
    latency of a request that is not done above all, is NaN.
    """
    import pandas as pd

    arrived = int(simulator.state.lanes[lane]["arrived"])
    requests = simulator.state.requests[lane, :arrived]
    done = np.isfinite(requests["finish"])
    dispatched = requests["slot"] != WAITING
    node = np.array(simulator.node_names, dtype=object)[simulator.nodes(requests["slot"])]
    node[~dispatched] = None
    return pd.DataFrame(
        {
            "request_id": np.arange(arrived),
            "prompt_row": requests["row"].astype(np.int64),
            "arrival_time": requests["arrival"].copy(),
            "start_time": requests["dispatch"].copy(),
            "completion_time": requests["finish"].copy(),
            "node": pd.Series(node, dtype=object),
            "base_latency": np.where(done, simulator.dataset.base_latency[requests["row"]], np.nan),
            "processing_time": requests["finish"] - requests["dispatch"],
            "queueing_delay": requests["dispatch"] - requests["arrival"],
            "jct": requests["finish"] - requests["arrival"],
        }
    )


def telemetry(
    simulator: Simulator, lane: int, interval: float | None, per_dispatch: bool
) -> pd.DataFrame:
    """Returns the system's state over time, worked out from the requests' times.

    Args:
        simulator: The simulator.
        lane: Which lane.
        interval: Time between rows (s); ``None`` is the ``telemetry_interval`` setting.
        per_dispatch: A row per moment at which something was dispatched instead, with the state
            right after it.

    Returns:
        Columns ``timestamp`` (s), ``queue_length``, ``edge_busy``, ``edge_total``,
        ``batch_capacity``, ``cloud_busy``, ``cloud_total``, and ``reward``: the paper's
        S_t = -max(processing times just dispatched), summed since the previous row; NaN where
        one of them is not done yet.
    """
    import pandas as pd

    config = simulator.config
    record = simulator.state.lanes[lane]
    now = float(record["now"])
    requests = simulator.state.requests[lane, : int(record["arrived"])]
    started = requests[requests["slot"] != WAITING]
    moments, index = np.unique(started["dispatch"], return_inverse=True)
    longest = np.zeros(len(moments))
    with np.errstate(invalid="ignore"):  # NaN for what is not done yet, which is meant
        np.maximum.at(longest, index, started["finish"] - started["dispatch"])
    every = config.telemetry_interval if interval is None else interval
    times = moments if per_dispatch else _multiples(every, now)
    rows = np.searchsorted(times, moments, side="left")
    reward = 0.0 - np.bincount(rows, weights=longest, minlength=len(times) + 1)[: len(times)]
    on_edge = simulator.nodes(started["slot"]) == EDGE_NODE
    edge, cloud = started[on_edge], started[~on_edge]
    # A batch is one busy slot: count its start and finish once.
    _, first = np.unique(edge[["slot", "dispatch"]], return_index=True)
    batches = edge[first]
    arrived = np.searchsorted(requests["arrival"], times, side="right")
    dispatched = np.searchsorted(np.sort(started["dispatch"]), times, side="right")
    return pd.DataFrame(
        {
            "timestamp": times,
            "queue_length": arrived - dispatched,
            "edge_busy": _busy(batches, times),
            "edge_total": config.edge_concurrency,
            "batch_capacity": simulator.batch_capacity,
            "cloud_busy": _busy(cloud, times),
            "cloud_total": config.cloud_concurrency,
            "reward": reward,
        }
    )


def _multiples(interval: float, end: float) -> NDArray[np.float64]:
    """Returns 0, interval, 2 interval, ... up to ``end``."""
    if not 0.0 < interval < math.inf:
        raise ValueError(f"interval={interval!r}: must be a finite number > 0 (s)")
    return interval * np.arange(int(end / interval) + 1, dtype=np.float64)


def _busy(services: NDArray[np.void], times: NDArray[np.float64]) -> NDArray[np.int64]:
    """Returns how many services run at each time; one that ends then has ended."""
    begun = np.searchsorted(np.sort(services["dispatch"]), times, side="right")
    finish = services["finish"]
    ended = np.searchsorted(np.sort(finish[np.isfinite(finish)]), times, side="right")
    return begun - ended
