"""Time of a step with a million waiting requests, beside that with almost none."""

from typing import Any

import gymnasium as gym
import numpy as np

from edgecloud_gym.arrivals import Trace
from tests.benchmarks.single import stepper
from tests.benchmarks.support import Contestant, best_rates, dataset, print_table

WAITING = 1_000_000
GOAL = 2.0  # times slower


def contestant(crowded: bool, ranked: bool) -> Contestant:
    """Steps one system; the crowded one has far more requests than the benchmark serves."""
    rng = np.random.default_rng(0)
    workload: dict[str, Any] = {"arrivals": Trace(np.zeros(WAITING))} if crowded else {"load": 0.3}
    priority = rng.normal(size=len(dataset())) if ranked else None
    env = gym.make(
        "EdgeCloud-Static-v0", dataset=dataset(), observe="id", priority=priority, **workload
    )
    return stepper(env, [np.zeros(32, np.int64)])


def report(rounds: int) -> None:
    rows = []
    for order in ("arrival", "priority"):
        rates = best_rates(
            {str(crowded): contestant(crowded, order == "priority") for crowded in (False, True)},
            rounds,
        )
        few, many = 1e6 / rates["False"], 1e6 / rates["True"]
        rows.append((order, f"{few:.1f}", f"{many:.1f}", f"{many / few:.2f}", f"<= {GOAL}"))
    print_table(
        f"A step in overload (EdgeCloud-Static-v0; {WAITING:,} waiting requests against load 0.3)",
        ("queue in order of", "few (us)", "many (us)", "ratio", "goal"),
        rows,
    )
