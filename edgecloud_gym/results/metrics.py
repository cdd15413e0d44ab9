"""What an episode amounted to: job completion times, utilisation, and what they leave out.

Statistics over completed requests alone flatter a scheduler that never finishes the long ones.
Beside each of them stands its *censored* twin, in which an unfinished request counts with its age:
a lower bound of what it would have been. Where nothing is unfinished the two are equal.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgecloud_gym.nodes import CLOUD_NODE, NODE_NAMES

if TYPE_CHECKING:
    import pandas as pd


Floats = NDArray[np.float64]

NAN = float("nan")


@dataclass(frozen=True, eq=False)
class RequestTimes:
    """Who arrived, started and finished when, one entry per request that arrived.

    Attributes:
        arrival: Arrival times (n,), s.
        start: Dispatch times (n,), s; NaN while waiting.
        finish: Completion times (n,), s; NaN until then.
        base_latency: Single-request inference times (n,), s; read only where ``finish`` is known.
        cloud: Whether the request was sent to the cloud (n,), bool.
        group: A number per request (n,): requests on the edge of equal group and start are one
            batch.
    """

    arrival: Floats
    start: Floats
    finish: Floats
    base_latency: Floats
    cloud: NDArray[np.bool_]
    group: NDArray[Any]

    @classmethod
    def from_log(cls, log: pd.DataFrame | Mapping[str, ArrayLike]) -> RequestTimes:
        """Reads the columns of `request_log`, from memory or from a CSV.

        A log does not say which edge slot a request took: requests of equal start and completion
        are taken for one batch.
        """
        finish = np.asarray(log["completion_time"], np.float64)
        return cls(
            arrival=np.asarray(log["arrival_time"], np.float64),
            start=np.asarray(log["start_time"], np.float64),
            finish=finish,
            base_latency=np.asarray(log["base_latency"], np.float64),
            cloud=np.asarray(log["node"]) == NODE_NAMES[CLOUD_NODE],
            group=np.nan_to_num(finish, nan=-1.0),
        )

    @property
    def done(self) -> NDArray[np.bool_]:
        """Which requests are completed (n,)."""
        return np.isfinite(self.finish)

    def jct(self, end: float = NAN) -> Floats:
        """Returns completion - arrival (s); ``end`` stands in for a completion not seen."""
        return np.where(self.done, self.finish, end) - self.arrival

    def queueing_delay(self, end: float = NAN) -> Floats:
        """Returns start - arrival (s); ``end`` stands in for a start not seen."""
        return np.where(np.isfinite(self.start), self.start, end) - self.arrival

    def slowdown(self) -> Floats:
        """Returns JCT / base latency (1); NaN until completed."""
        return self.jct() / self.base_latency


def summarize_requests(
    times: RequestTimes,
    *,
    end: float,
    edge_slots: int,
    cloud_slots: int,
    batches: bool,
    slo: float | None = None,
) -> dict[str, float]:
    """Returns the metrics of an episode that was watched until ``end``.

    Args:
        times: The requests.
        end: When watching ended (s).
        edge_slots: Edge slots.
        cloud_slots: Cloud slots.
        batches: Whether an edge slot holds a batch (static) or one request (continuous).
        slo: Service-level objective on the JCT (s).

    Returns:
        The same keys always; NaN where a value is not defined. n counts requests, T is ``end``.

        - ``arrived``, ``completed``, ``completed_edge``, ``completed_cloud``, ``unfinished``: n.
        - ``end_time``: T (s).
        - ``jct_{mean,p50,p95,p99}``: JCT = completion - arrival (s), completed requests.
        - ``queueing_delay_{mean,p95}``: start - arrival (s), completed requests.
        - ``slowdown_{mean,p95}``: JCT / base (1), completed requests.
        - ``*_censored``: the same over all that arrived; what has not happened by T counts as if
          it happened at T, a lower bound.
        - ``throughput``, ``throughput_edge``: completed / T (1/s).
        - ``offload_rate``: share of the completed that the cloud served.
        - ``{edge,cloud}_utilization``: busy slot-seconds / (slots T).
        - ``mean_in_system``: time-average N = sum over requests of (min(completion, T) - arrival)
          / T (Little's law in its exact form).
        - ``cloud_seconds``: slot-seconds used in the cloud (s).
        - ``slo_attainment``: in time / (completed or older than the objective at T).
        - ``goodput``: in time / T (1/s).
    """
    done = times.done
    jct, jct_censored = times.jct()[done], times.jct(end)
    delay, delay_censored = times.queueing_delay()[done], times.queueing_delay(end)
    on_cloud = int(np.count_nonzero(done & times.cloud))
    completed = int(np.count_nonzero(done))
    edge_seconds, cloud_seconds = _busy_seconds(times, end, batches)
    in_time, judged = (NAN, NAN) if slo is None else _slo_counts(jct, jct_censored, done, slo)
    return {
        "arrived": float(len(done)),
        "completed": float(completed),
        "completed_edge": float(completed - on_cloud),
        "completed_cloud": float(on_cloud),
        "unfinished": float(len(done) - completed),
        "end_time": end,
        **statistics("jct", jct, (50, 95, 99)),
        **statistics("queueing_delay", delay, (95,)),
        **statistics("slowdown", times.slowdown()[done], (95,)),
        **statistics("jct", jct_censored, (50, 95, 99), "_censored"),
        **statistics("queueing_delay", delay_censored, (95,), "_censored"),
        "throughput": ratio(completed, end),
        "throughput_edge": ratio(completed - on_cloud, end),
        "offload_rate": ratio(on_cloud, completed),
        "edge_utilization": ratio(edge_seconds, edge_slots * end),
        "cloud_utilization": ratio(cloud_seconds, cloud_slots * end),
        "mean_in_system": ratio(float(jct_censored.sum()), end),
        "cloud_seconds": cloud_seconds,
        "slo_attainment": ratio(in_time, judged),
        "goodput": ratio(in_time, end),
    }


def prediction_errors(predicted: ArrayLike, base_latency: ArrayLike) -> dict[str, float]:
    """Returns statistics of how far predicted times were from true ones.

    Args:
        predicted: Predicted base latencies (n,), s; NaN where nothing was predicted.
        base_latency: The true ones (n,), s; NaN where a request is not done.

    Returns:
        ``prediction_error_{mean,p95,p99}``: |predicted - base latency| (s), over the requests that
        have both: infinite if a prediction is, NaN if there are none. ``predictions``: how many
        requests that are done have one.
    """
    errors = np.abs(np.asarray(predicted, np.float64) - np.asarray(base_latency, np.float64))
    known = errors[~np.isnan(errors)]
    return {**statistics("prediction_error", known, (95, 99)), "predictions": float(len(known))}


def ratio(numerator: float, denominator: float) -> float:
    """Returns a quotient, NaN for a denominator of 0."""
    return numerator / denominator if denominator else NAN


def statistics(
    name: str, values: Floats, percentiles: tuple[int, ...], suffix: str = ""
) -> dict[str, float]:
    """Returns mean and percentiles (linear interpolation) by name; NaN for no values."""
    mean = float(values.mean()) if len(values) else NAN
    points = _percentiles(values, percentiles) if len(values) else [NAN] * len(percentiles)
    shares = {f"{name}_p{p}{suffix}": x for p, x in zip(percentiles, points, strict=True)}
    return {f"{name}_mean{suffix}": mean, **shares}


def _percentiles(values: Floats, percentiles: tuple[int, ...]) -> list[float]:
    """Returns what `numpy.percentile` does, to the bit, in a third of its time.

    An episode of a vector environment takes a millisecond, and ends with five calls of this.
    """
    ordered = np.sort(values)
    if np.isnan(ordered[-1]):
        return [NAN] * len(percentiles)
    points = []
    for percentile in percentiles:
        place = (len(ordered) - 1) * (percentile / 100)
        below = int(place)
        low, high = float(ordered[below]), float(ordered[min(below + 1, len(ordered) - 1)])
        share = place - below
        step = high - low
        points.append(high - step * (1 - share) if share >= 0.5 else low + step * share)
    return points


def _busy_seconds(times: RequestTimes, end: float, batches: bool) -> tuple[float, float]:
    """Returns the slot-seconds used on the edge and in the cloud."""
    started = np.isfinite(times.start)
    length = np.where(times.done, times.finish, end) - times.start
    on_edge = started & ~times.cloud
    edge = length[on_edge]
    if batches:
        # A complex number is the quickest pair that NumPy can sort.
        pairs = times.group[on_edge] + 1j * times.start[on_edge]
        edge = edge[np.unique(pairs, return_index=True)[1]]
    return float(edge.sum()), float(length[started & times.cloud].sum())


def _slo_counts(
    jct: Floats, jct_censored: Floats, done: NDArray[np.bool_], slo: float
) -> tuple[float, float]:
    """Returns how many requests met the objective, and of how many that is known."""
    in_time = np.count_nonzero(jct <= slo)
    return float(in_time), float(np.count_nonzero(done | (jct_censored > slo)))
