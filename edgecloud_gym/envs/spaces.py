"""The observation space of a system."""

from __future__ import annotations

import numpy as np
from gymnasium import spaces

from edgecloud_gym.simulator.compiled.features import SCORE_LIMIT
from edgecloud_gym.simulator.observation import Layout

EMBEDDING_LIMIT = 10.0  # matches RequestDataset.embedding_table


def observation_space(layout: Layout) -> spaces.Dict:
    """Returns the observation space of one lane."""
    boxes: dict[str, spaces.Space[np.ndarray]] = {
        name: _box(name, shape) for name, shape in layout.shapes.items()
    }
    if layout.observe_ids:
        boxes["prompt_ids"] = spaces.Box(-1, layout.rows - 1, (layout.candidates,), np.int32)
    return spaces.Dict(boxes)


def _box(name: str, shape: tuple[int, ...]) -> spaces.Box:
    if name == "embeddings":
        return spaces.Box(-EMBEDDING_LIMIT, EMBEDDING_LIMIT, shape, np.float32)
    low = np.zeros(shape, np.float32)
    high = np.ones(shape, np.float32)
    if name == "candidates":
        low[:, 3] = -SCORE_LIMIT
        high[:, 3] = SCORE_LIMIT
    return spaces.Box(low, high, dtype=np.float32)
