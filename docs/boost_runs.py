"""Orders of the queue and what they do to means and tails: what docs/predict.md says of boosts."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pandas as pd

from agents import make_agent
from agents.experiments.episode import run_episode
from agents.prediction import Predictor
from edgecloud_gym import ENV_IDS, load_dataset

SEEDS = range(20)
LOADS = (0.8, 0.95, 1.1)
BOOSTS = (0.01, 0.03, 0.1, 0.3)  # 1/s
LENGTH = "length"  # in place of a predictor: one that sees the number of prompt tokens alone
ARRIVAL = 1e3  # 1/s, so large a boost that nobody is boosted


def orders() -> dict[str, tuple[str, dict[str, Any]]]:
    """Returns agents with settings by what tables call them."""
    found: dict[str, tuple[str, dict[str, Any]]] = {
        name: (name, {}) for name in ("fcfs", "predicted-sjf", "index-aged")
    }
    for boost in BOOSTS:
        found[f"predicted-sjf:boost={boost:g}"] = ("predicted-sjf", {"boost": boost})
    found["boost=0.1, by the prompt's length alone"] = (
        "predicted-sjf",
        {"boost": 0.1, "predictor": LENGTH},
    )
    found["in order of arrival, placed by prediction"] = ("predicted-sjf", {"boost": ARRIVAL})
    return found


def boosts(seeds: range = SEEDS) -> pd.DataFrame:
    """Plays all orders in the nine cells on test prompts.

    Returns:
        One row per environment, load and agent, means over the seeds of what an episode of 300 s
        has: ``mean``, ``p95`` and ``p99`` of the JCT and ``wait``, the longest in the queue (s).
    """
    by_length = Predictor.fit(load_dataset("smollm2-135m"), embedding_scale=1e-6)
    rows = []
    for env_id in ENV_IDS:
        for load in LOADS:
            settings = {"load": load, "duration": 300.0, "split": "test", "observe": "id"}
            env = gymnasium.make(env_id, work_conserving=False, **settings)
            for label, (name, given) in orders().items():
                chosen = {n: by_length if v == LENGTH else v for n, v in given.items()}
                agent = make_agent(name, **chosen)
                means = np.mean([_episode(env, agent, seed) for seed in seeds], axis=0)
                named = dict(zip(("mean", "p95", "p99", "wait"), means.tolist(), strict=True))
                rows.append(
                    {"env": env_id, "load": load, "agent": label, "seeds": len(seeds), **named}
                )
    return pd.DataFrame(rows)


def _episode(env: Any, agent: Any, seed: int) -> tuple[float, float, float, float]:
    run_episode(env, agent, seed, 0)
    base = env.unwrapped
    jct = base.summary()
    lane = base.simulator.state.lanes[0]
    log = base.simulator.state.requests[0, : int(lane["requests"])]
    wait = float(np.max(log["dispatch"] - log["arrival"], initial=0.0))
    return jct["jct_mean"], jct["jct_p95"], jct["jct_p99"], wait
