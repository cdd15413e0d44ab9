"""Networks for Stable-Baselines3.

`candidates` are over all candidates at once, as the environments and `SequentialAssignment` show
them; `walk` is over one candidate and the nodes, as `QueueHead` shows them. Files of models name
the classes by this package.
"""

from agents.policies.candidates import (
    CandidateExtractor,
    CandidateHead,
    CandidatePolicy,
    MaskableCandidatePolicy,
)
from agents.policies.environments import make_walk_env
from agents.policies.rules import rule_for
from agents.policies.walk import (
    MaskableWalkPolicy,
    WalkExtractor,
    WalkPolicy,
    WalkQPolicy,
)

__all__ = [
    "CandidateExtractor",
    "CandidateHead",
    "CandidatePolicy",
    "MaskableCandidatePolicy",
    "MaskableWalkPolicy",
    "WalkExtractor",
    "WalkPolicy",
    "WalkQPolicy",
    "make_walk_env",
    "rule_for",
]
