"""What a system can serve, and the arrival rate that a given load means."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgecloud_gym.arrivals import Trace
from edgecloud_gym.config import CONTINUOUS, DEFAULT_LOAD, SystemConfig
from edgecloud_gym.dataset import RequestDataset

MIN_CLOUD_TIME = 0.001  # s, the shortest inference in the cloud


@dataclass(frozen=True, eq=False)
class Workload:
    """What a configuration and a dataset mean together.

    Attributes:
        rows: Dataset rows that may arrive, int32 (n,).
        slowdown: s(1), ..., s(L) of the edge, float64 (L,), L at least the largest batch.
        capacity: Requests/s that edge and cloud can complete together.
        arrival_rate: Requests/s asked of the arrival process; ``None`` if it keeps its own.
        mean_rate: Requests/s that actually arrive on average.
        mean_latency: Mean single-request inference time of ``rows`` (s).
    """

    rows: NDArray[np.int32]
    slowdown: NDArray[np.float64]
    capacity: float
    arrival_rate: float | None
    mean_rate: float
    mean_latency: float

    @classmethod
    def resolve(cls, config: SystemConfig, dataset: RequestDataset) -> Workload:
        """Works out the derived quantities.

        Raises:
            ValueError: If the split is empty, ``edge_slowdown`` is shorter than the edge's largest
                batch, or no request of a recorded trace falls into the episode.
        """
        rows = dataset.rows(config.split)
        slowdown = resolve_slowdown(config, dataset)
        latency = dataset.base_latency[rows]
        capacity = edge_capacity(config, latency, slowdown) + cloud_capacity(config, latency)
        rate = _arrival_rate(config, capacity)
        _require_arrivals(config, rate)
        return cls(
            rows=rows,
            slowdown=slowdown,
            capacity=capacity,
            arrival_rate=rate,
            mean_rate=_own_rate(config) if rate is None else rate,
            mean_latency=float(latency.mean()),
        )


def edge_capacity(
    config: SystemConfig, latency: NDArray[np.float64], slowdown: NDArray[np.float64]
) -> float:
    """Returns the edge's capacity in requests/s, for latencies drawn from ``latency`` (n,).

    Static batching with full batches: E K / (E[max of K base times] s(K)). Continuous batching
    with full slots: E / (s(E) E[base]).
    """
    slots = config.edge_concurrency
    if slots == 0:
        return 0.0
    if config.batching == CONTINUOUS:
        return slots / (float(slowdown[slots - 1]) * float(latency.mean()))
    size = config.edge_batch_capacity
    return slots * size / (expected_maximum(latency, size) * float(slowdown[size - 1]))


def cloud_capacity(config: SystemConfig, latency: NDArray[np.float64]) -> float:
    """Returns the cloud's capacity in requests/s: C / E[max(0.001, multiplier base) + RTT]."""
    if config.cloud_concurrency == 0:
        return 0.0
    inference = np.maximum(MIN_CLOUD_TIME, config.cloud_time_multiplier * latency)
    return config.cloud_concurrency / float(inference.mean() + config.network_rtt)


def expected_maximum(values: NDArray[np.float64], draws: int) -> float:
    """Returns the mean of the maximum of ``draws`` independent draws from ``values`` (n,).

    The i-th smallest of n values is the maximum with probability (i/n)^k - ((i-1)/n)^k.
    """
    edges = np.linspace(0.0, 1.0, len(values) + 1) ** draws
    return float(np.sort(values) @ np.diff(edges))


def resolve_slowdown(config: SystemConfig, dataset: RequestDataset) -> NDArray[np.float64]:
    """Returns s(1), ..., s(L) for the edge's largest number of requests side by side, L.

    A measured curve is a + b n, so that beyond its end it goes on with its last slope. Where a
    dataset has no measured curve, requests do not slow each other down, and a warning says so.
    """
    continuous = config.batching == CONTINUOUS
    name = "edge_concurrency" if continuous else "edge_batch_capacity"
    largest = max(1, config.edge_concurrency if continuous else config.edge_batch_capacity)
    given = config.edge_slowdown
    if given is None:
        return np.ones(largest)
    if not isinstance(given, str):
        if len(given) < largest:
            raise ValueError(
                f"edge_slowdown has {len(given)} entries: needs one for each batch size up to "
                f"{name}={largest}"
            )
        return np.ascontiguousarray(given[:largest])
    if dataset.slowdown is not None:
        return _extended(dataset.slowdown, largest)
    if config.edge_concurrency > 0 and largest > 1:
        warnings.warn(
            f"dataset {dataset.name!r} has no measured slowdown curve: edge requests will not slow "
            "each other down. Give edge_slowdown=None or an array to silence this, or measure "
            "the curve with `edgecloud profile --batch-sizes`.",
            stacklevel=2,
        )
    return np.ones(largest)


def _extended(curve: NDArray[np.float64], length: int) -> NDArray[np.float64]:
    if length <= len(curve):
        return np.ascontiguousarray(curve[:length])
    slope = curve[-1] - curve[-2] if len(curve) > 1 else 0.0
    beyond = curve[-1] + slope * np.arange(1, length - len(curve) + 1)
    return np.concatenate([curve, beyond])


def _own_rate(config: SystemConfig) -> float:
    """Returns the mean rate over an episode of a process that keeps its own times."""
    process = config.arrival_process
    times = process.times if isinstance(process, Trace) else np.empty(0)
    return float(np.count_nonzero(times < config.duration) / config.duration)


def _require_arrivals(config: SystemConfig, rate: float | None) -> None:
    """Raises ``ValueError`` if a recorded trace begins only after the episode."""
    process = config.arrival_process
    if not isinstance(process, Trace):
        return
    first = float(process.times[0]) * (1.0 if rate is None else process.rate / rate)
    if first >= config.duration:
        raise ValueError(
            f"arrivals={process!r}: its first request arrives at {first:.10g} s, not before "
            f"duration={config.duration:g} s, so none would arrive; times count from 0: give "
            "Trace(start=...), times less the first of them, or a longer duration"
        )


def _arrival_rate(config: SystemConfig, capacity: float) -> float | None:
    if config.arrival_rate is not None:
        return float(config.arrival_rate)
    if config.load is not None:
        return float(config.load) * capacity
    return None if isinstance(config.arrival_process, Trace) else DEFAULT_LOAD * capacity
