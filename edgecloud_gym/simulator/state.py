"""The simulator's state: a few contiguous arrays, one row per lane.

A *lane* is one independent system. The single environment has one lane, the vector environment
many; both run the same compiled code over these arrays. Everything that never changes within an
episode is in `edgecloud_gym.simulator.parameters`, everything that does is in `State`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from edgecloud_gym.config import REWARD_TERMS, SystemConfig
from edgecloud_gym.nodes import Engine, Node, Sequences
from edgecloud_gym.simulator.compiled.engine.layout import ENGINE_REQUEST_DTYPE
from edgecloud_gym.simulator.engine_arrays import EngineArrays
from edgecloud_gym.simulator.observation import HISTORY, NODES
from edgecloud_gym.simulator.parameters import WAITING, member_count, slot_count

# How the waiting queue is ordered.
BY_ARRIVAL: Final = 0
BY_TABLE: Final = 1  # one score per dataset row
BY_CALLABLE: Final = 2  # scores come from outside the compiled code

Scalar = TypeVar("Scalar", bound=np.generic)

LANE_DTYPE: Final = np.dtype(
    [
        ("now", "f8"),
        ("epoch_time", "f8"),  # time of the previous decision epoch
        ("requests", "i8"),  # how many arrive in the episode
        ("arrived", "i8"),
        ("admitted", "i8"),  # arrived and placed in the waiting queue
        ("oldest", "i8"),  # no request before this one waits
        ("queue_length", "i8"),
        ("window_size", "i8"),
        ("heap_size", "i8"),
        ("dispatched", "i8"),  # at nodes: in service, in their backlogs or on the way
        ("slots_busy", "i8"),  # busy slots of the nodes that are slots
        ("done", "i8"),
        ("done_before", "i8"),  # done before the last step
        ("next_change", "f8"),  # when a node's speed changes next, inf if never
        ("next_sample", "f8"),
        ("signal_time", "f8"),  # when the nodes' rows were read
        ("samples", "i8"),
        ("sampled_arrived", "i8"),  # arrived, done at the last sample
        ("sampled_done", "i8"),
        ("scored", "i8"),  # running moments of the scores a callable gave
        ("score_mean", "f8"),
        ("score_m2", "f8"),
        ("changed", "i8"),  # changes of speed that have been made
    ],
    align=True,
)

NODE_STATE_DTYPE: Final = np.dtype(
    [
        ("next", "f8"),  # time of the next event here, inf if none
        ("pace", "f8"),  # how long a second of work takes: 1 / speed
        ("busy", "i8"),  # services that run; of an engine, requests that have reached it
        ("queued", "i8"),  # dispatched, not yet started: in the backlog or on the way
        ("open", "i8"),  # requests gathered for a batch that has not started
        ("room", "i8"),  # requests that it took when last observed
        # Sequences: service (s) attained by each since it was last idle; batches and slots: time
        # that has passed, in seconds of work.
        ("clock", "f8"),
        ("clock_time", "f8"),  # when `clock` was read
        ("tokens", "i8"),  # prompt tokens of its requests; kept in clusters
        ("cache", "f8"),  # share of an engine's cache that was taken when last observed
        ("head", "i8"),  # who is queued, first come first served: a list by `queued_next`
        ("tail", "i8"),
    ],
    align=True,
)

REQUEST_DTYPE: Final = np.dtype(
    [
        ("arrival", "f8"),
        ("dispatch", "f8"),
        ("finish", "f8"),
        ("score", "f8"),
        ("row", "i4"),
        ("slot", "i4"),  # among all nodes', in their order; WAITING before it is dispatched
    ],
    align=True,
)

SLOT_DTYPE: Final = np.dtype(
    [
        ("mark", "f8"),  # finish time, or finish mark on the virtual clock
        ("start", "f8"),
        ("joined", "f8"),  # the node's clock at the start
        ("work", "f8"),  # what there is to do: the longest base latency in the slot
        ("attained", "f8"),  # how much of it was done when last observed
        ("count", "i8"),
        ("request", "i8"),  # who runs there, where a service takes one request
        # Not about this slot: the pool's slot indices, busy ones first, as a heap by mark.
        ("order", "i8"),
    ],
    align=True,
)

# What a step yields, in groups: where the system stands, what happened, what the reward is made
# of, and how the step ended. `info` has the first three; what
# it may hide comes last of them.
_MAY_BE_HIDDEN: Final = "makespan"
_STATUS: Final = [
    ("time", "f8"),
    ("elapsed", "f8"),
    ("queue_length", "i8"),
    ("in_service", "i8"),
    ("completed_total", "i8"),
]
_EVENTS: Final = [
    ("arrivals", "i8"),  # at the very moment at which the step ended
    ("services_ended", "i8"),  # likewise; a batch is one service
    ("invalid_assignments", "i8"),
    ("forced_dispatches", "i8"),
]
_TERMS: Final = sorted(REWARD_TERMS.items(), key=lambda term: term[0] == _MAY_BE_HIDDEN)
_OUTCOME: Final = [("reward", "f8"), ("terminated", "?"), ("truncated", "?")]

STEP_DTYPE: Final = np.dtype([*_STATUS, *_EVENTS, *_TERMS, *_OUTCOME], align=True)
OUTCOME_FIELDS: Final = tuple(name for name, _ in _OUTCOME)
OUTCOME: Final = slice(-len(_OUTCOME), None)  # where they lie in a step's values
# Kind, word and byte in it of each field.
_PLACES: Final = {
    name: (STEP_DTYPE[name].kind, *divmod(offset, 8))
    for name, (_, offset, *_) in (STEP_DTYPE.fields or {}).items()
}


def told(words: NDArray[np.int64], names: Iterable[str], lanes: int) -> dict[str, NDArray[Any]]:
    """Returns fields of steps that are told word by word, each (lanes,): views, but for booleans.

    Args:
        words: The words of `STEP_DTYPE`, int64 (words, at least lanes).
        names: Which fields.
        lanes: How many lanes.
    """
    words = words[:, :lanes]
    numbers = words.view(np.float64)
    flags = words.view(np.bool_)
    parts: dict[str, NDArray[Any]] = {}
    for name in names:
        kind, place, within = _PLACES[name]
        if kind == "b":
            parts[name] = flags[place, within :: words.itemsize].copy()
        else:
            parts[name] = (numbers if kind == "f" else words)[place]
    return parts


def info_fields(config: SystemConfig) -> tuple[str, ...]:
    """Returns which fields of `STEP_DTYPE` ``info`` has: so many of the first.

    The ``makespan`` term tells how long a running request will take, and is shown only where the
    reward asks for it.
    """
    names = tuple(name for name, _ in (*_STATUS, *_EVENTS, *_TERMS))
    return names if config.reward_weights[_MAY_BE_HIDDEN] else names[:-1]


@dataclass(slots=True)
class State:
    """All that changes while lanes run.

    Attributes:
        lanes: `LANE_DTYPE`, shape (lanes,).
        nodes: `NODE_STATE_DTYPE`, shape (lanes, nodes).
        requests: `REQUEST_DTYPE`, shape (lanes, width), in order of arrival.
        finished: int32 (lanes, width), request ids in order of completion.
        window: int32 (lanes, M), the candidates: the first of the waiting queue, in its order.
        heap: int32 (lanes, width or 0), the rest of a queue ordered by priority.
        slots: `SLOT_DTYPE`, shape (lanes, slots), of all nodes.
        members: int32 (lanes, members), request ids in batches.
        history: float32 (lanes, H, features), a ring of telemetry samples.
        signals: float32 (lanes, nodes * features), the rows of a cluster's nodes as last read.
        steps: `STEP_DTYPE`, shape (lanes,), what the last step yielded.
        served: `ENGINE_REQUEST_DTYPE`, shape (lanes, width), what nodes that queue or count tokens
            know of requests; None where there are none.
        engines: What the engines hold; None where there are none.
    """

    lanes: NDArray[np.void]
    nodes: NDArray[np.void]
    requests: NDArray[np.void]
    finished: NDArray[np.int32]
    window: NDArray[np.int32]
    heap: NDArray[np.int32]
    slots: NDArray[np.void]
    members: NDArray[np.int32]
    history: NDArray[np.float32]
    signals: NDArray[np.float32]
    steps: NDArray[np.void]
    served: NDArray[np.void] | None
    engines: EngineArrays | None

    @classmethod
    def allocate(cls, lanes: int, config: SystemConfig) -> State:
        """Allocates the state of ``lanes`` systems that have not been reset."""
        nodes = config.nodes
        models = [node.engine for node in nodes if isinstance(node, Engine)]
        queues = bool(models) or any(keeps_queue(node) for node in nodes)
        return cls(
            lanes=np.zeros(lanes, LANE_DTYPE),
            nodes=np.zeros((lanes, len(nodes)), NODE_STATE_DTYPE),
            requests=np.zeros((lanes, 0), REQUEST_DTYPE),
            finished=np.zeros((lanes, 0), np.int32),
            window=np.zeros((lanes, config.candidate_pool_size), np.int32),
            heap=np.zeros((lanes, 0), np.int32),
            slots=np.zeros((lanes, sum(map(slot_count, nodes))), SLOT_DTYPE),
            members=np.zeros((lanes, sum(map(member_count, nodes))), np.int32),
            history=np.zeros((lanes, config.history_length, len(HISTORY)), np.float32),
            signals=np.zeros((lanes, 0 if config.is_pair else len(nodes) * len(NODES)), np.float32),
            steps=np.zeros(lanes, STEP_DTYPE),
            served=np.zeros((lanes, 0), ENGINE_REQUEST_DTYPE) if queues else None,
            engines=EngineArrays.allocate(lanes, models) if models else None,
        )

    def reserve(self, requests: int, heap: bool) -> None:
        """Makes room for ``requests`` requests per lane, keeping what is there."""
        width = self.requests.shape[1]
        if requests > width:
            # Grow by half at least, so that resets of unequal episodes seldom copy.
            width = max(requests + requests // 8, width + width // 2)
            self.requests = _widened(self.requests, width)
            self.finished = _widened(self.finished, width)
            if self.served is not None:
                self.served = _widened(self.served, width)
        if heap and self.heap.shape[1] < width:
            self.heap = _widened(self.heap, width)

    def begin_episode(
        self,
        lane: int,
        arrivals: NDArray[np.float64],
        rows: NDArray[np.int32],
        interval: float,
        first_change: float = np.inf,
    ) -> None:
        """Puts one lane at time 0, before the first arrival.

        Args:
            lane: Which lane.
            arrivals: Arrival times (n,), sorted (s).
            rows: Dataset row of each request (n,).
            interval: Time between telemetry samples (s).
            first_change: When a node's speed changes first (s).
        """
        n = len(arrivals)
        self.lanes[lane] = np.zeros((), LANE_DTYPE)
        record = self.lanes[lane]
        record["requests"] = n
        record["next_sample"] = interval
        record["next_change"] = first_change
        record["signal_time"] = -np.inf
        self.nodes[lane] = np.zeros((), NODE_STATE_DTYPE)
        self.nodes[lane]["next"] = np.inf
        self.nodes[lane]["pace"] = 1.0
        requests = self.requests[lane, :n]
        requests["arrival"] = arrivals
        requests["dispatch"] = np.nan
        requests["finish"] = np.nan
        requests["score"] = 0.0
        requests["row"] = rows
        requests["slot"] = WAITING
        slots = self.slots[lane]
        slots[:] = np.zeros((), SLOT_DTYPE)
        slots["order"] = np.arange(len(slots))
        self.history[lane] = 0.0
        self.steps[lane] = np.zeros((), STEP_DTYPE)
        if self.engines is not None:
            self.engines.reset(lane)

    def begin_service(
        self,
        lane: int,
        prompt_tokens: NDArray[np.int32],
        output_tokens: NDArray[np.int32],
        cached_tokens: NDArray[np.int32] | int,
    ) -> None:
        """Clears what is known of each request's service.

        Args:
            lane: Which lane.
            prompt_tokens: Tokens of each request's prompt (n,).
            output_tokens: Tokens of its answer (n,).
            cached_tokens: Tokens of its prompt that are in a server's cache (n,), below 0 where
                only the server knows; or one number for all.
        """
        assert self.served is not None
        served = self.served[lane, : len(prompt_tokens)]
        served[:] = np.zeros((), ENGINE_REQUEST_DTYPE)
        for name in ("admitted", "first_token", "finish"):
            served[name] = np.nan
        served["prompt_tokens"] = prompt_tokens
        served["output_tokens"] = output_tokens
        served["cached_tokens"] = cached_tokens


def _widened(array: NDArray[Scalar], width: int) -> NDArray[Scalar]:
    wider = np.zeros((array.shape[0], width), array.dtype)
    wider[:, : array.shape[1]] = array
    return wider


def keeps_queue(node: Node) -> bool:
    """Whether requests can be dispatched to a node before they are served there."""
    on_the_way = isinstance(node, Sequences) and node.network_rtt > 0
    return node.backlog > 0 or on_the_way
