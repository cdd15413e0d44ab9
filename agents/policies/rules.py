"""The rules that learning starts from, as columns of what `QueueHead` shows and their weights.

Scores are logarithms of seconds, so that a difference of 1 is a factor of e; to wait scores 0
unless it is said otherwise.
"""

from __future__ import annotations

import math
from typing import Any, Final

# Slots, which disturb nobody, take the shortest request while they have room. A batch takes the
# shortest that waits and those of up to 2.5 times its time.
_STATIC: Final[dict[str, dict[str, float]]] = {
    "node": {"slots": 4.0, "stretch": -1.0, "bias": math.log(2.5)}
}
# A sequence takes a request only if it would be done within s(1 + q), q others waiting: a longer
# one would slow down all that come.
_CONTINUOUS: Final[dict[str, dict[str, float]]] = {
    "node": {"slots": 4.0, "time": -1.0, "system.queue": 1.0, "bias": 0.0}
}
# What `edgecloud train index` finds for a cluster, rounded: the node of the least cost, of those
# that serve the request at once and hold it in the cache. Or it waits for a better one, which takes
# none now, if that costs less by a factor of more than 1.65 (1 + q)^0.7, q others waiting.
_CLUSTER: Final[dict[str, dict[str, float]]] = {
    "node": {"cost": -1.0, "crowded": -8.0},
    "wait": {"bias": -0.5, "queue": -0.7},
}
_RULES: Final = {"static": _STATIC, "continuous": _CONTINUOUS, "cluster": _CLUSTER}


def rule_for(batching: str) -> dict[str, Any]:
    """Returns the rule for a kind of system, ``"static"``, ``"continuous"`` or ``"cluster"``."""
    return _RULES[batching]
