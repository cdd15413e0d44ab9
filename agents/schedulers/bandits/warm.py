"""A bandit that starts from what training knows, and remembers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from agents.base import Info, Observation
from agents.prediction import load_predictor
from agents.prediction.belief import Belief
from agents.schedulers.plan import Plan
from agents.schedulers.scheduler import Scheduler
from edgecloud_gym.checks import check_integer, check_number
from edgecloud_gym.config import Priority

Floats = NDArray[np.float64]


class WarmLinear(Scheduler):
    learns: ClassVar[bool] = True
    name: ClassVar[str] = "warm-linear"

    def __init__(
        self,
        predictor: str | Path = "smollm2-135m",
        features: int = 256,
        noise: float = 0.09,
        alpha: float = 0.0,
    ) -> None:
        self.predictor = predictor
        self.features = check_integer("features", features, least=1)
        self.noise = check_number("noise", noise, least=0)
        self.alpha = check_number("alpha", alpha, least=0)
        self._belief = Belief(load_predictor(predictor), self.features, self.noise)

    def reset(self, env: gym.Env[Any, Any], seed: int) -> None:
        base: Any = env.unwrapped
        rows = base.simulator.workload.rows
        dataset = base.dataset
        self._rows = rows
        self._index = np.full(len(dataset), -1)
        self._index[rows] = np.arange(len(rows))
        self._belief.look_at(dataset, rows)
        self._scores = np.zeros(len(dataset))
        self._times = np.zeros(len(dataset))
        self._explore = True
        self._rank()
        super().reset(env, seed)

    def _rank(self) -> None:
        logs = self._belief.log_times()
        self._times[self._rows] = np.exp(logs)
        if self.alpha and self._explore:
            logs = logs - self.alpha * self._belief.deviations()
        self._scores[self._rows] = logs

    def priority(self) -> Priority:
        return self._scores

    def decide(self, plan: Plan, observation: Observation, info: Info, explore: bool) -> None:
        self._explore = explore
        times = self._times[self.env.candidates()["row"]]
        plan.to_cloud(plan.waiting[: plan.cloud_room])
        if plan.cloud_free:
            return
        if plan.continuous:
            waits = int(info["waiting"]) if "waiting" in info else len(plan.waiting)
            for j in plan.waiting[: plan.batch_room]:
                if times[j] > 0.7 * (1 + len(plan.waiting)):
                    break
                plan.to_edge([j])
            return
        room = plan.batch_room
        if room:
            w = plan.waiting
            plan.to_edge([j for j in w if times[j] <= 2.5 * times[w[0]]][:room])

    def observe(self, completions: NDArray[np.void]) -> bool:
        if not len(completions) or not self._explore:
            return False
        for row, time in zip(completions["row"].tolist(), completions["base_latency"].tolist()):
            self._belief.observe(int(self._index[row]), float(np.log(time)))
        self._rank()
        self.env.simulator.set_scores(self._scores)
        return True

    def state(self):
        return self._belief.state()

    def restore(self, state):
        self._belief.restore(state)
