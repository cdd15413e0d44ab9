"""What a system can serve, and the arrival rate that a given load means."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgecloud_gym.arrivals import Trace
from edgecloud_gym.config import DEFAULT_LOAD, ONCE, SystemConfig
from edgecloud_gym.dataset import RequestDataset
from edgecloud_gym.nodes import Engine, Node, Sequences, Slots, StaticBatches
from edgecloud_gym.simulator.mixture import Mixture
from edgecloud_gym.wording import shown

MIN_CLOUD_TIME = 0.001  # s, the shortest inference in the cloud


@dataclass(frozen=True, eq=False)
class Workload:
    """What a configuration and a dataset mean together.

    Attributes:
        rows: Dataset rows that may arrive, int32 (n,).
        slowdowns: For each node s(1), ..., s(L), float64 (L,), with L its largest number of
            requests side by side; (0,) where requests do not slow each other down by a curve.
        capacities: Requests/s that each node can complete.
        capacity: Requests/s that all nodes can complete together.
        arrival_rate: Requests/s asked of the arrival process; ``None`` if it keeps its own.
        mean_rate: Requests/s that actually arrive on average.
        mean_latency: Mean single-request inference time of ``rows`` (s).
        mean_prompt: Mean prompt of ``rows`` (tokens), 0 where they are not known.
        mean_output: Mean answer of ``rows`` (tokens), 0 where they are not known.
        mixture: Which families arrive when; ``None`` where ``rows`` arrive as they are.
    """

    rows: NDArray[np.int32]
    slowdowns: tuple[NDArray[np.float64], ...]
    capacities: tuple[float, ...]
    capacity: float
    arrival_rate: float | None
    mean_rate: float
    mean_latency: float
    mean_prompt: float
    mean_output: float
    mixture: Mixture | None

    @property
    def slowdown(self) -> NDArray[np.float64]:
        """The curve of the first node, which is the edge of a pair."""
        return self.slowdowns[0]

    @classmethod
    def resolve(cls, config: SystemConfig, dataset: RequestDataset) -> Workload:
        """Works out the derived quantities.

        Raises:
            ValueError: If the split is empty, a slowdown curve is shorter than its node's largest
                batch, requests have no token counts or do not fit in an engine's cache, families
                that are to arrive are not there, no request of a recorded trace falls into the
                episode, or more requests are to be expected than there are prompts that may come
                once.
        """
        rows = dataset.rows(config.split)
        for node in config.nodes:
            if isinstance(node, Engine):
                _require_engine_fits(node, dataset, rows)
        slowdowns = tuple(resolve_slowdown(config, node, dataset) for node in config.nodes)
        capacities = tuple(
            node_capacity(node, dataset, rows, slowdown)
            for node, slowdown in zip(config.nodes, slowdowns, strict=True)
        )
        capacity = sum(capacities)
        rate = _arrival_rate(config, capacity)
        _require_arrivals(config, rate)
        mean_rate = _own_rate(config) if rate is None else rate
        _require_prompts(config, mean_rate, len(rows))
        return cls(
            rows=rows,
            slowdowns=slowdowns,
            capacities=capacities,
            capacity=capacity,
            arrival_rate=rate,
            mean_rate=mean_rate,
            mean_latency=float(dataset.base_latency[rows].mean()),
            mean_prompt=_mean(dataset.prompt_tokens, rows),
            mean_output=_mean(dataset.response_tokens, rows),
            mixture=Mixture.resolve(config, dataset, rows),
        )


def node_capacity(
    node: Node,
    dataset: RequestDataset,
    rows: NDArray[np.int32],
    slowdown: NDArray[np.float64],
) -> float:
    """Returns a node's capacity in requests/s, for requests drawn from ``rows`` (n,).

    Static batching with full batches: E K / (E[max of K base times] m s(K) + RTT). Sequences, all
    of them running: E / (m s(E) E[base]). Slots: C / E[max(0.001, m base) + RTT]. m is the time
    multiplier. An engine: see `EngineModel.capacity`. Requests on their way to these two hold a
    place each: where places are few for the round trip, fewer run.
    """
    services = node.services
    latency = dataset.base_latency[rows]
    if services == 0:
        return 0.0
    if isinstance(node, StaticBatches):
        size = node.capacity
        time = expected_maximum(latency, size) * float(slowdown[size - 1])
        return services * size / (time * node.time_multiplier + node.network_rtt)
    if isinstance(node, Sequences):
        work = float(latency.mean()) * node.time_multiplier
        running = np.arange(1, services + 1)
        return _with_travel(node, running, running / (slowdown[:services] * work))
    if isinstance(node, Slots):
        inference = np.maximum(MIN_CLOUD_TIME, node.time_multiplier * latency)
        return services / float(inference.mean() + node.network_rtt)
    assert isinstance(node, Engine)
    assert dataset.prompt_tokens is not None
    assert dataset.response_tokens is not None
    prompts, outputs = (
        counts[rows].astype(np.float64)
        for counts in (dataset.prompt_tokens, dataset.response_tokens)
    )
    # Of the sequences that decode at a time there are the more of a kind the longer it takes.
    context = float(np.average(prompts + outputs / 2, weights=outputs))
    running = np.unique(np.geomspace(1, services, 64).astype(np.int64))
    model, prompt, output = node.engine, float(prompts.mean()), float(outputs.mean())
    if node.network_rtt == 0.0:
        running = running[-1:]
    rates = np.array(
        [
            model.replaced(sequences=int(n)).capacity(prompt, output, context=context)
            for n in running
        ]
    )
    return _with_travel(node, running, rates)


def _with_travel(node: Node, running: NDArray[np.int64], rates: NDArray[np.float64]) -> float:
    """Returns the rate at which a node finishes, of the rates with so many ``running`` (k,).

    The last is with all. By Little's law, network_rtt · rate requests are on their way.
    """
    held = running + node.network_rtt * rates
    places = node.services + node.backlog
    if places >= held[-1]:
        return float(rates[-1])
    return float(np.interp(places, [0.0, *np.maximum.accumulate(held)], [0.0, *rates]))


def _mean(counts: NDArray[np.int32] | None, rows: NDArray[np.int32]) -> float:
    return 0.0 if counts is None else float(counts[rows].mean())


def _require_engine_fits(node: Engine, dataset: RequestDataset, rows: NDArray[np.int32]) -> None:
    """Raises ``ValueError`` if an engine can not serve what may arrive."""
    for name in ("prompt_tokens", "response_tokens"):
        counts = getattr(dataset, name)
        if counts is None:
            raise ValueError(
                f"node {shown(node.name)} is an engine and needs token counts: dataset "
                f"{shown(dataset.name)} has no {name}"
            )
        if counts[rows].min() < 1:
            row = int(rows[counts[rows].argmin()])
            raise ValueError(
                f"dataset {shown(dataset.name)}, row {row}: {name} is {int(counts[row])}; an "
                f"engine (node {shown(node.name)}) needs at least 1"
            )
    assert dataset.prompt_tokens is not None
    assert dataset.response_tokens is not None
    sizes = dataset.prompt_tokens[rows].astype(np.int64) + dataset.response_tokens[rows]
    largest = int(rows[sizes.argmax()])
    prompt, output = int(dataset.prompt_tokens[largest]), int(dataset.response_tokens[largest])
    if not node.engine.fits(prompt, output):
        raise ValueError(
            f"dataset {shown(dataset.name)}, row {largest}: a prompt of {prompt} tokens with an "
            f"answer of {output} does not fit in the cache of node {shown(node.name)}, "
            f"kv_tokens={node.engine.kv_tokens}"
        )


def expected_maximum(values: NDArray[np.float64], draws: int) -> float:
    """Returns the mean of the maximum of ``draws`` independent draws from ``values`` (n,).

    The i-th smallest of n values is the maximum with probability (i/n)^k - ((i-1)/n)^k.
    """
    edges = np.linspace(0.0, 1.0, len(values) + 1) ** draws
    return float(np.sort(values) @ np.diff(edges))


def resolve_slowdown(
    config: SystemConfig, node: Node, dataset: RequestDataset
) -> NDArray[np.float64]:
    """Returns s(1), ..., s(L) for a node's largest number of requests side by side, L.

    A measured curve is a + b n, so that beyond its end it goes on with its last slope. Where a
    dataset has no measured curve, requests do not slow each other down, and a warning says so.
    """
    if not isinstance(node, StaticBatches | Sequences):
        return np.empty(0)
    largest = max(1, node.batch if isinstance(node, StaticBatches) else node.services)
    given = node.slowdown
    if given is None:
        return np.ones(largest)
    setting, limit = _curve_settings(config, node)
    if not isinstance(given, str):
        if len(given) < largest:
            raise ValueError(
                f"{setting} has {len(given)} entries: needs one for each batch size up to "
                f"{limit}={largest}"
            )
        return np.array(given[:largest])
    if dataset.slowdown is not None:
        return _extended(dataset.slowdown, largest)
    if node.services > 0 and largest > 1:
        whose = "edge requests" if config.is_pair else f"requests on {shown(node.name)}"
        warnings.warn(
            f"dataset {shown(dataset.name)} has no measured slowdown curve: {whose} will not slow "
            f"each other down. Give {setting}=None or an array to silence this, or measure "
            "the curve with `edgecloud profile --batch-sizes`.",
            stacklevel=2,
        )
    return np.ones(largest)


def _curve_settings(config: SystemConfig, node: StaticBatches | Sequences) -> tuple[str, str]:
    """Returns what the user calls a node's curve, and the length that it needs."""
    static = isinstance(node, StaticBatches)
    if config.is_pair:
        return "edge_slowdown", "edge_batch_capacity" if static else "edge_concurrency"
    return node.label("slowdown"), "capacity" if static else "sequences"


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
            f"arrivals={shown(process)}: its first request arrives at {first:.10g} s, not before "
            f"duration={config.duration:g} s, so none would arrive; times count from 0: give "
            "Trace(start=...), times less the first of them, or a longer duration"
        )


def _require_prompts(config: SystemConfig, rate: float, prompts: int) -> None:
    """Raises ``ValueError`` if prompts that may come once do not suffice for a mean episode."""
    expected = rate * config.duration
    if config.prompt_order == ONCE and expected > prompts:
        raise ValueError(
            f"prompt_order='once' with split={shown(config.split)}, which has {prompts:,} prompts: "
            f"at {rate:.4g} requests/s over duration={config.duration:g} s about {expected:,.0f} "
            f"requests arrive, and no prompt may come twice; {prompts:,} suffice for about "
            f"{prompts / rate:.3g} s"
        )


def _arrival_rate(config: SystemConfig, capacity: float) -> float | None:
    if config.arrival_rate is not None:
        return float(config.arrival_rate)
    if config.load is not None:
        return float(config.load) * capacity
    return None if isinstance(config.arrival_process, Trace) else DEFAULT_LOAD * capacity
