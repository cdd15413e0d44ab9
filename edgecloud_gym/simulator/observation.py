"""How an observation lies in the flat buffer that the compiled code fills."""

from __future__ import annotations

import itertools
import math

import numpy as np
from numpy.typing import NDArray

from edgecloud_gym.config import SystemConfig
from edgecloud_gym.simulator.state import (
    CANDIDATE_FEATURES,
    CLOUD_FEATURES,
    EDGE_FEATURES,
    HISTORY_FEATURES,
    SYSTEM_FEATURES,
)


class Layout:
    """Names and shapes of the observations, in the order of the float buffer.

    Attributes:
        shapes: Shape of each float key for one lane.
        size: Floats per lane.
        observe_ids: Whether candidates are named by dataset row instead of by embedding.
        candidates: M.
        rows: Rows of the dataset.
    """

    def __init__(self, config: SystemConfig, rows: int, embedding_width: int) -> None:
        """Lays out the observation of a system over ``rows`` dataset rows."""
        m = config.candidate_pool_size
        shapes: dict[str, tuple[int, ...]] = {
            "candidates": (m, CANDIDATE_FEATURES),
            "edge": (config.edge_concurrency, EDGE_FEATURES),
            "cloud": (config.cloud_concurrency, CLOUD_FEATURES),
            "system": (SYSTEM_FEATURES,),
            "history": (config.history_length, HISTORY_FEATURES),
            "embeddings": (m, embedding_width),
        }
        # What is absent, such as the slots of a side without any, is not shown.
        self.shapes = {name: shape for name, shape in shapes.items() if 0 not in shape}
        sizes = [math.prod(shape) for shape in self.shapes.values()]
        self.size = sum(sizes)
        self.observe_ids = config.observe == "id"
        self.candidates = m
        self.rows = rows
        stops = list(itertools.accumulate(sizes))
        self._blocks = [
            (name, stop - size, stop, shape)
            for (name, shape), size, stop in zip(self.shapes.items(), sizes, stops, strict=True)
        ]

    def one(
        self, floats: NDArray[np.float32], ids: NDArray[np.int32]
    ) -> dict[str, NDArray[np.generic]]:
        """Names the parts of the buffers of a single lane."""
        parts: dict[str, NDArray[np.generic]] = {
            name: floats[start:stop].reshape(shape) for name, start, stop, shape in self._blocks
        }
        if self.observe_ids:
            parts["prompt_ids"] = ids[0]
        return parts

    def many(
        self, floats: NDArray[np.float32], ids: NDArray[np.int32], lanes: int
    ) -> dict[str, NDArray[np.generic]]:
        """Names the parts of the buffers of ``lanes`` lanes, each of shape (lanes, ...)."""
        parts: dict[str, NDArray[np.generic]] = {
            name: floats[lanes * start : lanes * stop].reshape(lanes, *shape)
            for name, start, stop, shape in self._blocks
        }
        if self.observe_ids:
            parts["prompt_ids"] = ids
        return parts
