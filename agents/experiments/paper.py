"""The main experiment of the paper, as its code plays it.

"Cloud-Edge System for Scheduling Unpredictable LLM Requests with Combinatorial Bandit", IEEE
Transactions on Services Computing 18(6), 3567-3580, 2025: nine schedulers in three simulators, ten
epochs of 7200 s each at 5 requests/s.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from agents.experiments.design.scenario import Scenario
from edgecloud_gym import ENV_IDS

AGENTS: Final = (
    "fcfs",
    "random",
    "round-robin",
    "least-connections",
    "queue-length",
    "historical-lrt",
    "clinucb",
    "cn-greedy",
    "cn-ducb",
)
EPOCHS: Final = 10
DURATION: Final = 7200.0  # s
ARRIVAL_RATE: Final = 5.0  # requests/s

STATIC, TIME_SERIES, CONTINUOUS = ENV_IDS

_SYSTEM: Final[dict[str, Any]] = {
    "cloud_concurrency": 8,
    "cloud_time_multiplier": 1.0,  # the published code sets 0.7, but it never takes effect
    "network_rtt": 0.05,
    "prompt_order": "sequential",
    "candidate_pool_size": 32,
    "embedding_dim": None,  # the full width
    "drain": False,
}
_BATCHES: Final = {"edge_concurrency": 1, "edge_batch_capacity": 4}
EDGES: Final[dict[str, dict[str, Any]]] = {
    STATIC: _BATCHES,
    TIME_SERIES: _BATCHES,
    CONTINUOUS: {"edge_concurrency": 4},
}


def scenarios(env_ids: Sequence[str] = ENV_IDS, **workload: Any) -> list[Scenario]:
    """Returns the paper's systems.

    Args:
        env_ids: Of which simulators.
        **workload: ``dataset``, ``arrival_rate``, ``duration``: other settings than the paper's.

    Raises:
        KeyError: If an id is none of the paper's three.
    """
    common = {"arrival_rate": ARRIVAL_RATE, "duration": DURATION, **_SYSTEM, **workload}
    return [Scenario(env_id, {**common, **EDGES[env_id]}) for env_id in env_ids]
