"""What an episode on a cluster amounted to: tokens, objectives, and each node's share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edgecloud_gym.nodes import Engine, Node, Slots, StaticBatches
from edgecloud_gym.results.metrics import NAN, RequestTimes, ratio, statistics, summarize_requests
from edgecloud_gym.results.services import Services, services

if TYPE_CHECKING:
    from edgecloud_gym.simulator.simulator import Simulator

Floats = NDArray[np.float64]
_PERCENTILES = (50, 95, 99)


@dataclass(frozen=True, eq=False)
class TokenTimes:
    """What objectives are about, one entry per request that has arrived; s, NaN if unknown.

    Attributes:
        jct: Completion - arrival.
        ttft: First token - arrival.
        tpot: (Completion - first token) / (output tokens - 1): time per output token.
        age: Time since arrival when watching ended.
    """

    jct: Floats
    ttft: Floats
    tpot: Floats
    age: Floats

    @classmethod
    def of(
        cls, times: RequestTimes, known: Services, output_tokens: Floats, end: float
    ) -> TokenTimes:
        """Works them out.

        Args:
            times: Who arrived and finished when.
            known: What is known of their service.
            output_tokens: Tokens of each answer (n,); read only where it is done.
            end: When watching ended (s).
        """
        steps = np.where(times.done & (output_tokens > 1), output_tokens - 1.0, NAN)
        return cls(
            jct=times.jct(),
            ttft=known.first_token - times.arrival,
            tpot=(times.finish - known.first_token) / steps,
            age=end - times.arrival,
        )

    def verdicts(self, slo: Mapping[str, float]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Returns who met every objective, and of whom that is known.

        Where a node does not know the first token it came by the end: TTFT is then judged by the
        JCT. A time per token that is not known, or that an answer of one token does not have, is
        no objection.
        """
        done = np.isfinite(self.jct)
        met, failed = done.copy(), np.zeros(len(done), np.bool_)
        ttft = np.where(np.isnan(self.ttft), self.jct, self.ttft)
        measured = {"jct": self.jct, "ttft": ttft, "tpot": self.tpot}
        for name, limit in slo.items():
            late = measured[name] > limit
            if name != "tpot":  # what has not happened yet may be late already
                late |= np.isnan(measured[name]) & (self.age > limit)
            failed |= late
        return met & ~failed, done | failed


def summarize_cluster(simulator: Simulator, lane: int) -> dict[str, float]:
    """Returns the metrics of a lane of a cluster so far.

    Those of `summarize_requests`, where "cloud" is what `Slots` served and "edge" the rest, and
    ``slo_attainment`` and ``goodput`` count the requests that met every objective (see
    `TokenTimes.verdicts`); and

    - ``ttft_{mean,p50,p95,p99}``: first token - arrival (s), requests that have given one.
    - ``tpot_{mean,p50,p95,p99}``: (completion - first token) / (output tokens - 1) (s), completed
      requests of two tokens or more.
    - ``output_token_rate``: tokens of completed answers / T (1/s).
    - ``preemptions``: how often engines preempted a request.
    - of each node by name, such as ``completed[edge]``: ``completed``; ``utilization``, busy
      service-seconds / (services T), where a service is a batch, a sequence or a slot;
      ``jct_mean``, ``ttft_mean`` (s); of engines also ``preemptions`` and, where the cache has a
      limit, ``cache_use``, the time-average share of its blocks that is taken.
    """
    config = simulator.config
    end = float(simulator.state.lanes[lane]["now"])
    arrived = int(simulator.state.lanes[lane]["arrived"])
    requests = simulator.state.requests[lane, :arrived]
    known = services(simulator, lane, slice(0, arrived))
    nodes = tuple(config.nodes)
    slots = np.array([isinstance(node, Slots) for node in nodes])
    times = RequestTimes(
        arrival=requests["arrival"],
        start=known.start,
        finish=requests["finish"],
        base_latency=simulator.dataset.base_latency[requests["row"]],
        cloud=slots[known.node] & (known.node >= 0),
        group=requests["slot"],
    )
    counts = simulator.dataset.response_tokens
    outputs = (
        np.full(arrived, NAN) if counts is None else counts[requests["row"]].astype(np.float64)
    )
    tokens = TokenTimes.of(times, known, outputs, end)
    busy = np.array([_busy(times, known, k, node, end) for k, node in enumerate(nodes)])
    count = np.array([node.services for node in nodes])
    base = summarize_requests(times, end=end, edge_slots=0, cloud_slots=0, batches=False)
    base |= {
        "edge_utilization": ratio(float(busy[~slots].sum()), float(count[~slots].sum()) * end),
        "cloud_utilization": ratio(float(busy[slots].sum()), float(count[slots].sum()) * end),
        **_objectives(tokens, config.slo_limits, end),
        **statistics("ttft", tokens.ttft[~np.isnan(tokens.ttft)], _PERCENTILES),
        **statistics("tpot", tokens.tpot[~np.isnan(tokens.tpot)], _PERCENTILES),
        "output_token_rate": ratio(float(outputs[times.done].sum()), end),
        "preemptions": float(known.preemptions.sum()),
    }
    for k, node in enumerate(nodes):
        here = known.node == k
        base |= {
            f"completed[{node.name}]": float(np.count_nonzero(here & times.done)),
            f"utilization[{node.name}]": ratio(float(busy[k]), node.services * end),
            f"jct_mean[{node.name}]": _mean(tokens.jct[here]),
            f"ttft_mean[{node.name}]": _mean(tokens.ttft[here]),
        }
        if isinstance(node, Engine):
            base[f"preemptions[{node.name}]"] = float(known.preemptions[here].sum())
            base[f"cache_use[{node.name}]"] = _cache_use(simulator, lane, k, end)
    return base


def _objectives(tokens: TokenTimes, slo: Mapping[str, float], end: float) -> dict[str, float]:
    if not slo:
        return {"slo_attainment": NAN, "goodput": NAN}
    met, judged = tokens.verdicts(slo)
    in_time = float(np.count_nonzero(met))
    attained = ratio(in_time, float(np.count_nonzero(judged)))
    return {"slo_attainment": attained, "goodput": ratio(in_time, end)}


def _length(times: RequestTimes, start: Floats, end: float) -> Floats:
    """Returns how long each request was in service by ``end`` (s); NaN if it never was."""
    return np.asarray(np.where(times.done, times.finish, end) - start)


def _busy(times: RequestTimes, known: Services, number: int, node: Node, end: float) -> float:
    """Returns the service-seconds that a node has used."""
    here = (known.node == number) & np.isfinite(known.start)
    length = _length(times, known.start, end)[here]
    if isinstance(node, StaticBatches):
        pairs = times.group[here] + 1j * known.start[here]
        length = length[np.unique(pairs, return_index=True)[1]]
    return float(length.sum())


def _cache_use(simulator: Simulator, lane: int, number: int, end: float) -> float:
    node = simulator.config.nodes[number]
    assert isinstance(node, Engine)
    blocks = node.engine.blocks
    if blocks is None:
        return NAN
    assert simulator.state.engines is not None
    which = sum(isinstance(before, Engine) for before in simulator.config.nodes[:number])
    engine = simulator.state.engines.states[lane, which]
    # What it has held up to its last boundary between steps, and what it holds since.
    held = float(engine["held"])
    if np.isfinite(engine["end"]):
        taken = blocks - int(engine["given"] - engine["taken"])
        held += max(0.0, end - float(engine["now"])) * taken
    return ratio(held, blocks * end)


def _mean(values: Floats) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else NAN
