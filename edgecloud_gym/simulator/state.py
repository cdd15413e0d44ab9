"""The simulator's state: a few contiguous arrays, one row per lane.

A *lane* is one independent system. The single environment has one lane, the vector environment
many; both run the same compiled code over these arrays. Everything that never changes within an
episode is in `Parameters` and the dataset tables, everything that does is in `State`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from edgecloud_gym.config import CONTINUOUS, REWARD_TERMS, SystemConfig
from edgecloud_gym.dataset import RequestDataset
from edgecloud_gym.nodes import NODE_NAMES
from edgecloud_gym.simulator.observation import FLOAT_KEYS, HISTORY, ObservationLayout
from edgecloud_gym.simulator.workload import Workload

# How the waiting queue is ordered.
BY_ARRIVAL: Final = 0
BY_TABLE: Final = 1  # one score per dataset row
BY_CALLABLE: Final = 2  # scores come from outside the compiled code

Scalar = TypeVar("Scalar", bound=np.generic)

WAITING: Final = -1  # `slot` of a request that has not been dispatched

PARAMETERS_DTYPE: Final = np.dtype(
    [
        ("continuous", "i8"),
        ("edge_slots", "i8"),
        ("batch_capacity", "i8"),
        ("cloud_slots", "i8"),
        ("candidates", "i8"),
        ("work_conserving", "i8"),
        ("drain", "i8"),
        ("priority_mode", "i8"),
        ("multiplier", "f8"),
        ("rtt", "f8"),
        ("duration", "f8"),
        ("slo", "f8"),
        ("interval", "f8"),
        ("time_scale", "f8"),  # s, where a squashed time is one half
        ("count_scale", "f8"),  # requests, where a squashed count per interval is one half
        ("score_mean", "f8"),
        ("score_std", "f8"),
        *((f"weight_{term}", "f8") for term in REWARD_TERMS),
        *((f"start_{key}", "i8") for key in FLOAT_KEYS),  # floats before this key, per lane
    ],
    align=True,
)

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
        ("edge_busy", "i8"),  # busy edge slots
        ("edge_requests", "i8"),  # requests on the edge
        ("cloud_busy", "i8"),
        ("room", "i8", len(NODE_NAMES)),  # requests that each node took when last observed
        ("clock", "f8"),  # attained service (s) of a request on the edge since it was last idle
        ("clock_time", "f8"),  # when `clock` was read
        ("next_edge", "f8"),  # time of the next edge completion, inf if none
        ("done", "i8"),
        ("done_before", "i8"),  # done before the last step
        ("next_sample", "f8"),
        ("samples", "i8"),
        ("sampled_arrived", "i8"),  # arrived, done at the last sample
        ("sampled_done", "i8"),
        ("scored", "i8"),  # running moments of the scores a callable gave
        ("score_mean", "f8"),
        ("score_m2", "f8"),
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
        ("slot", "i4"),  # edge slots first, then cloud slots
    ],
    align=True,
)

SLOT_DTYPE: Final = np.dtype(
    [
        ("mark", "f8"),  # finish time, or finish mark on the virtual clock
        ("start", "f8"),
        ("joined", "f8"),  # virtual clock at the start
        ("work", "f8"),  # what there is to do: the longest base latency in the slot
        ("attained", "f8"),  # how much of it was done when last observed
        ("count", "i8"),
        ("request", "i8"),  # cloud slots: who runs there
        # Not about this slot: the pool's slot indices, busy ones first, as a heap by mark.
        ("order", "i8"),
    ],
    align=True,
)

TABLE_DTYPE: Final = np.dtype(
    [("base_latency", "f8"), ("score", "f8"), ("prompt_tokens", "f4")], align=True
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


def info_fields(config: SystemConfig) -> tuple[str, ...]:
    """Returns which fields of `STEP_DTYPE` ``info`` has: so many of the first.

    The ``makespan`` term tells how long a running request will take, and is shown only where the
    reward asks for it.
    """
    names = tuple(name for name, _ in (*_STATUS, *_EVENTS, *_TERMS))
    return names if config.reward_weights[_MAY_BE_HIDDEN] else names[:-1]


def make_parameters(
    config: SystemConfig, workload: Workload, layout: ObservationLayout
) -> NDArray[np.void]:
    """Packs what the compiled code reads of the settings, shape (1,)."""
    parameters = np.zeros(1, PARAMETERS_DTYPE)
    values = {
        "continuous": config.batching == CONTINUOUS,
        "edge_slots": config.edge_concurrency,
        "batch_capacity": 1 if config.batching == CONTINUOUS else config.edge_batch_capacity,
        "cloud_slots": config.cloud_concurrency,
        "candidates": config.candidate_pool_size,
        "work_conserving": config.work_conserving,
        "drain": config.drain,
        "multiplier": config.cloud_time_multiplier,
        "rtt": config.network_rtt,
        "duration": config.duration,
        "slo": np.inf if config.slo is None else config.slo,
        "interval": config.telemetry_interval,
        "time_scale": workload.mean_latency,
        "count_scale": max(1.0, workload.mean_rate * config.telemetry_interval),
        "score_std": 1.0,
        **{f"weight_{term}": weight for term, weight in config.reward_weights.items()},
        **{f"start_{key}": start for key, start in layout.starts.items()},
    }
    for name, value in values.items():
        parameters[name] = value
    return parameters


def make_table(dataset: RequestDataset) -> NDArray[np.void]:
    """Packs what the compiled code reads of each dataset row, shape (rows,).

    The prompt's token count is shown as log(1 + tokens) / log(1 + 4096), at most 1.
    """
    table = np.zeros(len(dataset), TABLE_DTYPE)
    table["base_latency"] = dataset.base_latency
    if dataset.prompt_tokens is not None:
        feature = np.log1p(dataset.prompt_tokens) / np.log1p(4096.0)
        table["prompt_tokens"] = np.minimum(feature, 1.0)
    return table


@dataclass(slots=True)
class State:
    """All that changes while lanes run.

    Attributes:
        lanes: `LANE_DTYPE`, shape (lanes,).
        requests: `REQUEST_DTYPE`, shape (lanes, width), in order of arrival.
        finished: int32 (lanes, width), request ids in order of completion.
        window: int32 (lanes, M), the candidates: the first of the waiting queue, in its order.
        heap: int32 (lanes, width or 0), the rest of a queue ordered by priority.
        slots: `SLOT_DTYPE`, shape (lanes, edge + cloud).
        members: int32 (lanes, edge, batch capacity), request ids on the edge.
        history: float32 (lanes, H, features), a ring of telemetry samples.
        steps: `STEP_DTYPE`, shape (lanes,), what the last step yielded.
    """

    lanes: NDArray[np.void]
    requests: NDArray[np.void]
    finished: NDArray[np.int32]
    window: NDArray[np.int32]
    heap: NDArray[np.int32]
    slots: NDArray[np.void]
    members: NDArray[np.int32]
    history: NDArray[np.float32]
    steps: NDArray[np.void]

    @classmethod
    def allocate(cls, lanes: int, config: SystemConfig, batch_capacity: int) -> State:
        """Allocates the state of ``lanes`` systems that have not been reset."""
        slots = config.edge_concurrency + config.cloud_concurrency
        return cls(
            lanes=np.zeros(lanes, LANE_DTYPE),
            requests=np.zeros((lanes, 0), REQUEST_DTYPE),
            finished=np.zeros((lanes, 0), np.int32),
            window=np.zeros((lanes, config.candidate_pool_size), np.int32),
            heap=np.zeros((lanes, 0), np.int32),
            slots=np.zeros((lanes, slots), SLOT_DTYPE),
            members=np.zeros((lanes, config.edge_concurrency, batch_capacity), np.int32),
            history=np.zeros((lanes, config.history_length, len(HISTORY)), np.float32),
            steps=np.zeros(lanes, STEP_DTYPE),
        )

    def reserve(self, requests: int, heap: bool) -> None:
        """Makes room for ``requests`` requests per lane, keeping what is there."""
        width = self.requests.shape[1]
        if requests > width:
            # Grow by half at least, so that resets of unequal episodes seldom copy.
            width = max(requests + requests // 8, width + width // 2)
            self.requests = _widened(self.requests, width)
            self.finished = _widened(self.finished, width)
        if heap and self.heap.shape[1] < width:
            self.heap = _widened(self.heap, width)

    def begin_episode(
        self,
        lane: int,
        arrivals: NDArray[np.float64],
        rows: NDArray[np.int32],
        interval: float,
    ) -> None:
        """Puts one lane at time 0, before the first arrival.

        Args:
            lane: Which lane.
            arrivals: Arrival times (n,), sorted (s).
            rows: Dataset row of each request (n,).
            interval: Time between telemetry samples (s).
        """
        n = len(arrivals)
        self.lanes[lane] = np.zeros((), LANE_DTYPE)
        record = self.lanes[lane]
        record["requests"] = n
        record["next_edge"] = np.inf
        record["next_sample"] = interval
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


def _widened(array: NDArray[Scalar], width: int) -> NDArray[Scalar]:
    wider = np.zeros((array.shape[0], width), array.dtype)
    wider[:, : array.shape[1]] = array
    return wider
