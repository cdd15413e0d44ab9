"""What a lane has done, read from its state: completions, request log, telemetry, snapshot."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from edgecloud_gym.nodes import EDGE_NODE
from edgecloud_gym.results.services import services
from edgecloud_gym.simulator.parameters import WAITING
from edgecloud_gym.simulator.simulator import Simulator
from edgecloud_gym.wording import shown

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

# What nodes of a cluster know beyond that; times in s, NaN where unknown.
SERVICE_DTYPE: Final = np.dtype(
    [
        *((name, COMPLETION_DTYPE[name]) for name in COMPLETION_DTYPE.names or ()),
        ("start", "f8"),
        ("first_token", "f8"),
        ("prompt_tokens", "i8"),
        ("output_tokens", "i8"),
        ("preemptions", "i8"),
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
    In clusters `SERVICE_DTYPE`, with the ``start`` of service, the ``first_token`` (s) and counts
    of tokens (-1 where the dataset has none) and preemptions.
    """
    record = simulator.state.lanes[lane]
    done = simulator.state.finished[lane, record["done_before"] : record["done"]]
    pair = simulator.config.is_pair
    table = np.empty(len(done), COMPLETION_DTYPE if pair else SERVICE_DTYPE)
    if len(done) == 0:  # as after most steps: agents ask each time
        return table
    requests = simulator.state.requests[lane][done]
    table["request"] = done
    for name in ("row", "arrival", "dispatch", "finish"):
        table[name] = requests[name]
    table["node"] = simulator.nodes(requests["slot"])
    table["processing_time"] = requests["finish"] - requests["dispatch"]
    table["base_latency"] = simulator.dataset.base_latency[requests["row"]]
    if not pair:
        _add_service(simulator, lane, done, table)
    return table


def _add_service(
    simulator: Simulator, lane: int, done: NDArray[np.int32], table: NDArray[np.void]
) -> None:
    """Fills in what `SERVICE_DTYPE` has beyond `COMPLETION_DTYPE`."""
    known = services(simulator, lane, done)
    for name in ("start", "first_token", "preemptions"):
        table[name] = getattr(known, name)
    table["processing_time"] = table["finish"] - table["start"]
    data = simulator.dataset
    for name, counts in (
        ("prompt_tokens", data.prompt_tokens),
        ("output_tokens", data.response_tokens),
    ):
        table[name] = -1 if counts is None else counts[table["row"]]


def request_log(simulator: Simulator, lane: int) -> pd.DataFrame:
    """Returns one row per request that has arrived, in order of arrival.

    Columns: ``request_id``, ``prompt_row``, ``arrival_time``, ``start_time``,
    ``completion_time``, ``node`` ("edge", "cloud" or None), ``base_latency``,
    ``processing_time``, ``queueing_delay``, ``jct``; times in s. What is not known yet, the base
    latency of a request that is not done above all, is NaN.

    In clusters ``node`` is the node's name, ``start_time`` the time at which service began there,
    and there are ``dispatch_time``, ``first_token_time`` (s; NaN where the node does not know),
    ``prompt_tokens``, ``output_tokens`` (both NaN where the dataset has none, the latter until the
    request is done) and ``preemptions``.
    """
    import pandas as pd

    arrived = int(simulator.state.lanes[lane]["arrived"])
    requests = simulator.state.requests[lane, :arrived]
    done = np.isfinite(requests["finish"])
    dispatched = requests["slot"] != WAITING
    node = np.array(simulator.node_names, dtype=object)[simulator.nodes(requests["slot"])]
    node[~dispatched] = None
    log = pd.DataFrame(
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
    if not simulator.config.is_pair:
        _add_service_columns(simulator, lane, log)
    return log


def _add_service_columns(simulator: Simulator, lane: int, log: pd.DataFrame) -> None:
    """Replaces and adds the columns that clusters have."""
    known = services(simulator, lane, slice(0, len(log)))
    log["dispatch_time"] = log["start_time"]
    log["start_time"] = known.start
    log["processing_time"] = log["completion_time"] - known.start
    log["queueing_delay"] = known.start - log["arrival_time"]
    log["first_token_time"] = known.first_token
    data = simulator.dataset
    rows = log["prompt_row"].to_numpy()
    done = log["completion_time"].notna().to_numpy()
    log["prompt_tokens"] = np.nan if data.prompt_tokens is None else data.prompt_tokens[rows] * 1.0
    known_answer = np.full(len(log), np.nan)
    if data.response_tokens is not None:
        known_answer[done] = data.response_tokens[rows[done]]
    log["output_tokens"] = known_answer
    log["preemptions"] = known.preemptions


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
        one of them is not done yet. In clusters the columns are ``timestamp``, ``queue_length``
        and, by each node's name, how many requests it has: in service, queued or on their way.
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
    if not config.is_pair:
        return _node_telemetry(simulator, requests, started, times)
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


def _node_telemetry(
    simulator: Simulator,
    requests: NDArray[np.void],
    started: NDArray[np.void],
    times: NDArray[np.float64],
) -> pd.DataFrame:
    import pandas as pd

    arrived = np.searchsorted(requests["arrival"], times, side="right")
    dispatched = np.searchsorted(np.sort(started["dispatch"]), times, side="right")
    node = simulator.nodes(started["slot"])
    present = {
        name: _busy(started[node == number], times)
        for number, name in enumerate(simulator.node_names)
    }
    return pd.DataFrame({"timestamp": times, "queue_length": arrived - dispatched, **present})


def _multiples(interval: float, end: float) -> NDArray[np.float64]:
    """Returns 0, interval, 2 interval, ... up to ``end``."""
    if not 0.0 < interval < math.inf:
        raise ValueError(f"interval={shown(interval)}: must be a finite number > 0 (s)")
    return interval * np.arange(int(end / interval) + 1, dtype=np.float64)


def _busy(services: NDArray[np.void], times: NDArray[np.float64]) -> NDArray[np.int64]:
    """Returns how many services run at each time; one that ends then has ended."""
    begun = np.searchsorted(np.sort(services["dispatch"]), times, side="right")
    finish = services["finish"]
    ended = np.searchsorted(np.sort(finish[np.isfinite(finish)]), times, side="right")
    return begun - ended
