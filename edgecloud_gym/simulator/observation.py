"""What agents are shown: every column of an observation, by name, once.

Spaces, widths, positions in memory and the tables of the documentation derive from the blocks
below. Unbounded quantities x >= 0 are shown as x / (x + c), which lies in [0, 1) and is one half at
the scale c: the mean inference time for times, M for numbers of waiting requests, the mean arrivals
per interval for counts of events.
"""

from __future__ import annotations

import itertools
import math
from collections import namedtuple
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgecloud_gym.config import SystemConfig

SCORE_LIMIT: Final = 5.0  # standard deviations


class Column(NamedTuple):
    """A column of a block.

    Attributes:
        name: What code calls it.
        meaning: What the documentation calls it.
        low: Least value.
        high: Largest value.
    """

    name: str
    meaning: str
    low: float = 0.0
    high: float = 1.0


class Block:
    """A float key of the observation.

    Attributes:
        key: The key.
        columns: Its columns, in order.
        positions: Where each column lies, by name; a named tuple, which compiled code can read.
    """

    def __init__(self, key: str, *columns: Column) -> None:
        """Names a block's columns."""
        self.key = key
        self.columns = columns
        names = [column.name for column in columns]
        self.positions: Any = namedtuple(key, names)(*range(len(names)))

    def __len__(self) -> int:
        return len(self.columns)

    def bounds(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Returns the least and the largest value of each column, each (columns,)."""
        low, high = zip(*((column.low, column.high) for column in self.columns), strict=True)
        return np.array(low, np.float32), np.array(high, np.float32)


CANDIDATES: Final = Block(
    "candidates",
    Column("present", "present"),
    Column("waited", "time waited"),
    Column("prompt_tokens", "prompt tokens (log scale)"),
    Column("score", "standardised ``priority`` score in [-5, 5]", -SCORE_LIMIT, SCORE_LIMIT),
)
EDGE: Final = Block(
    "edge",
    Column("busy", "busy"),
    Column("fill", "fill"),
    Column("elapsed", "time since start"),
    Column("attained", "attained service"),
)
CLOUD: Final = Block(
    "cloud",
    Column("busy", "busy"),
    Column("elapsed", "time since start"),
)
SYSTEM: Final = Block(
    "system",
    Column("queue_length", "queue length"),
    Column("edge_busy", "busy share of the edge"),
    Column("cloud_busy", "busy share of the cloud"),
    Column("time", "time / ``duration``"),
    Column("arrivals_over", "arrivals are over"),
    Column("longest_wait", "longest wait"),
    Column("elapsed", "time since the last decision"),
)
HISTORY: Final = Block(
    "history",
    Column("queue_length", "queue length"),
    Column("edge_busy", "busy share of the edge"),
    Column("cloud_busy", "busy share of the cloud"),
    Column("arrivals", "arrivals since the sample before"),
    Column("completions", "completions since the sample before"),
)
# Of systems that are not an edge and a cloud: one row per node, and what is left of `SYSTEM`.
NODES: Final = Block(
    "nodes",
    Column("static", "static batches"),
    Column("sequences", "sequences"),
    Column("engine", "engine"),
    Column("slots", "slots"),
    Column("room", "free room"),
    Column("running", "running"),
    Column("backlog", "backlog"),
    Column("cache", "cache use"),
    Column("speed", "speed"),
    Column("rtt", "network round trip"),
    Column("tokens", "prompt tokens outstanding"),
)
CLUSTER: Final = Block(
    "system",
    Column("queue_length", "queue length"),
    Column("time", "time / ``duration``"),
    Column("arrivals_over", "arrivals are over"),
    Column("longest_wait", "longest wait"),
    Column("elapsed", "time since the last decision"),
)
BLOCKS: Final = (CANDIDATES, EDGE, CLOUD, SYSTEM, HISTORY)
CLUSTER_BLOCKS: Final = (CANDIDATES, NODES, CLUSTER, HISTORY)
EMBEDDINGS: Final = "embeddings"  # a float key too, as wide as the dataset has it
FLOAT_KEYS: Final = tuple(
    dict.fromkeys([*(block.key for block in (*BLOCKS, *CLUSTER_BLOCKS)), EMBEDDINGS])
)


class ObservationLayout:
    """How the float keys lie in the flat buffer that compiled code fills.

    The keys follow each other; each holds its part of all lanes, one lane after the other.

    Attributes:
        shapes: Shape of each key that is shown, for one lane.
        starts: Floats before each key, per lane; of every key of its blocks, shown or not.
        size: Floats per lane.
        observe_ids: Whether candidates are named by dataset row instead of by embedding.
        candidates: M.
        rows: Rows of the dataset.
    """

    def __init__(self, config: SystemConfig, rows: int, embedding_width: int) -> None:
        """Lays out the observation of a system over ``rows`` dataset rows."""
        lengths = {
            CANDIDATES: (config.candidate_pool_size,),
            EDGE: (config.edge_concurrency,),
            CLOUD: (config.cloud_concurrency,),
            SYSTEM: (),
            NODES: (len(config.nodes),),
            CLUSTER: (),
            HISTORY: (config.history_length,),
        }
        self._is_pair = config.is_pair
        shapes = {block.key: (*lengths[block], len(block)) for block in self.blocks}
        shapes[EMBEDDINGS] = (config.candidate_pool_size, embedding_width)
        stops = list(itertools.accumulate(math.prod(shape) for shape in shapes.values()))
        self.starts = dict(zip(shapes, [0, *stops[:-1]], strict=True))
        self.size = stops[-1]
        # What is absent, such as the slots of a side without any, is not shown.
        self.shapes = {key: shape for key, shape in shapes.items() if 0 not in shape}
        self.observe_ids = config.observe == "id"
        self.candidates = config.candidate_pool_size
        self.rows = rows
        self._parts = [
            (key, self.starts[key], self.starts[key] + math.prod(shape), shape)
            for key, shape in self.shapes.items()
        ]

    @property
    def blocks(self) -> tuple[Block, ...]:
        """What the float keys but the embeddings consist of."""
        return BLOCKS if self._is_pair else CLUSTER_BLOCKS

    def one(
        self, floats: NDArray[np.float32], ids: NDArray[np.int32]
    ) -> dict[str, NDArray[np.generic]]:
        """Names the parts of the buffers of a single lane."""
        parts: dict[str, NDArray[np.generic]] = {
            key: floats[start:stop].reshape(shape) for key, start, stop, shape in self._parts
        }
        if self.observe_ids:
            parts["prompt_ids"] = ids[0]
        return parts

    def many(
        self, floats: NDArray[np.float32], ids: NDArray[np.int32], lanes: int
    ) -> dict[str, NDArray[np.generic]]:
        """Names the parts of the buffers of ``lanes`` lanes, each of shape (lanes, ...)."""
        parts: dict[str, NDArray[np.generic]] = {
            key: floats[lanes * start : lanes * stop].reshape(lanes, *shape)
            for key, start, stop, shape in self._parts
        }
        if self.observe_ids:
            parts["prompt_ids"] = ids
        return parts
