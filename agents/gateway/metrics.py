"""What Prometheus reads: the names are those of vLLM's metrics, with ``edgecloud`` before them."""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_TIMES: Final = (
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 60.0, 120.0, 300.0, 900.0,
)  # fmt: skip
_TOKEN_TIMES: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class Metrics:
    """The metrics of one gateway; times in s."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        node = ("node",)
        self.waiting = self._gauge("num_requests_waiting", "Requests that wait at the gateway.")
        self.running = self._gauge("num_requests_running", "Requests at a node.", node)
        self.up = self._gauge("node_up", "1 if a node takes requests.", node)
        self.slowness = self._gauge(
            "node_slowness",
            "Time per output token of late, as a multiple of what the node's engine model says.",
            node,
        )
        self.queue_time = self._histogram(
            "request_queue_time_seconds", "Time from arrival to the last dispatch."
        )
        self.ttft = self._histogram(
            "time_to_first_token_seconds", "Time from arrival to the first token.", node
        )
        self.tpot = self._histogram(
            "request_time_per_output_token_seconds", "Time per further token.", node, _TOKEN_TIMES
        )
        self.jct = self._histogram(
            "e2e_request_latency_seconds", "Time from arrival to the last byte.", node
        )
        self.requests = self._counter(
            "requests", "Requests that have ended, by outcome.", ("outcome",)
        )
        self.prompt_tokens = self._counter("prompt_tokens", "Prompt tokens of what is done.", node)
        self.tokens = self._counter("generation_tokens", "Tokens of the answers.", node)
        self.faults = self._counter("node_faults", "Faults of nodes.", ("node", "kind"))
        self.retries = self._counter("request_retries", "Requests sent to a further node.")
        self.decisions = self._counter("decisions", "Decisions of the agent.")
        self.decision_time = self._histogram(
            "decision_seconds", "Time that a round of decisions takes.", (), _TOKEN_TIMES
        )
        self.forced = self._counter(
            "forced_dispatches", "Requests sent though the agent would have had all wait."
        )
        self.agent_faults = self._counter(
            "agent_faults", "Decisions of the fallback rule, as the agent raised."
        )
        self.shadow = self._counter(
            "shadow_decisions", "What the shadow would have done, beside what was.", ("decision",)
        )

    def text(self) -> bytes:
        """Returns all of them in Prometheus' format."""
        return generate_latest(self.registry)

    def _counter(self, name: str, meaning: str, labels: tuple[str, ...] = ()) -> Counter:
        return Counter(f"edgecloud_{name}", meaning, labels, registry=self.registry)

    def _gauge(self, name: str, meaning: str, labels: tuple[str, ...] = ()) -> Gauge:
        return Gauge(f"edgecloud_{name}", meaning, labels, registry=self.registry)

    def _histogram(
        self,
        name: str,
        meaning: str,
        labels: tuple[str, ...] = (),
        buckets: tuple[float, ...] = _TIMES,
    ) -> Histogram:
        return Histogram(
            f"edgecloud_{name}", meaning, labels, buckets=buckets, registry=self.registry
        )
