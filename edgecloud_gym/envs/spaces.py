"""The observation and action spaces of a system."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces

from edgecloud_gym.dataset import EMBEDDING_BOUND
from edgecloud_gym.nodes import NODE_NAMES
from edgecloud_gym.simulator.observation import EMBEDDINGS, ObservationLayout


class RowNumbers(spaces.Box):
    """Dataset rows by number, -1 for none: names, although they look like quantities.

    Attributes:
        looked_up: Whether some network has said that it looks them up in a table.
    """

    looked_up = False


def observation_space(layout: ObservationLayout) -> spaces.Dict:
    """Returns the observation space of one lane."""
    bounds: dict[str, tuple[Any, Any]] = {block.key: block.bounds() for block in layout.blocks}
    bounds[EMBEDDINGS] = (np.float32(-EMBEDDING_BOUND), np.float32(EMBEDDING_BOUND))
    boxes: dict[str, spaces.Space[np.ndarray]] = {}
    for key, shape in layout.shapes.items():
        low, high = (np.broadcast_to(bound, shape) for bound in bounds[key])
        boxes[key] = spaces.Box(low, high, dtype=np.float32)
    if layout.observe_ids:
        boxes["prompt_ids"] = RowNumbers(-1, layout.rows - 1, (layout.candidates,), np.int32)
    return spaces.Dict(boxes)


def action_space(candidates: int, nodes: int = len(NODE_NAMES)) -> spaces.MultiDiscrete:
    """Returns the action space of one lane: per candidate 0 to wait, 1 + node to be sent there."""
    return spaces.MultiDiscrete([1 + nodes] * candidates)
