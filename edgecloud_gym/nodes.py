"""The nodes that serve requests, by number and by name, and what an action says of a candidate."""

from __future__ import annotations

from typing import Final

EDGE_NODE: Final = 0
CLOUD_NODE: Final = 1
NODE_NAMES: Final = ("edge", "cloud")

# An action has one number per candidate: 0 to wait, 1 + node to be sent there.
WAIT: Final = 0
TO_EDGE: Final = 1 + EDGE_NODE
TO_CLOUD: Final = 1 + CLOUD_NODE
