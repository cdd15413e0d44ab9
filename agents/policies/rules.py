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
# The node where it is predicted to be done first, of those that would serve it at once. Where it
# would have to queue, first come first served, it waits here instead: here the shortest go first.
# A node counts as the slower the fuller it is, as those who run there are slowed down, too.
_CLUSTER: Final[dict[str, dict[str, float]]] = {
    "node": {"time": -1.0, "running": -1.0, "full": -6.0},
    "wait": {"bias": -4.0},
}
_RULES: Final = {"static": _STATIC, "continuous": _CONTINUOUS, "cluster": _CLUSTER}


def rule_for(batching: str) -> dict[str, Any]:
    """Returns the rule for a kind of system, ``"static"``, ``"continuous"`` or ``"cluster"``."""
    return _RULES[batching]
