"""A bandit that starts from what training knows, and remembers what it has served."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from agents.base import Info, Observation
from agents.prediction import Predictor, predictor_for
from agents.prediction.belief import PREDICTOR, Belief
from agents.rules.placement import BASE, OUTPUT
from agents.schedulers.index import PredictedSJF
from agents.schedulers.lane_action import LaneAction
from edgecloud_gym.checks import check_integer, check_number
from edgecloud_gym.config import Priority

Floats = NDArray[np.float64]


class WarmLinear(PredictedSJF):
    """Bayesian linear regression on a predictor's features, with the predictor as its prior.

    It orders and places as `predicted-sjf` does, by the expected log times of its `Belief`: those
    of the predictor at first, which every completion brings up to date. A prompt that comes again
    is known by its own times, one that resembles those served by theirs. All that wait are ranked
    anew after every completion. With ``explore=False`` it is `predicted-sjf` with what it
    remembers.

    In front of real servers it learns alike; there prompts are known by their embeddings alone, as
    their lengths are estimates.

    There is no exploration bonus: every request is served sooner or later, and tells its time then,
    so that optimism has nothing to find out.

    Args:
        predictor: See `PredictedSJF`.
        features: Features of the predictor that are learnt further.
        noise: Standard deviation of the log time between two runs of one prompt. 0.09 is what 52
            prompts of the bundled dataset showed that were measured three times.
    """

    name: ClassVar[str] = "warm-linear"
    learns: ClassVar[bool] = True

    def __init__(
        self,
        predictor: str | Path | Predictor | None = None,
        features: int = 256,
        noise: float = 0.09,
    ) -> None:
        super().__init__(predictor)
        self.features = check_integer("features", features, least=1)
        self.noise = check_number("noise", noise, least=0)
        self._belief: Belief | None = None
        self._learnt: Mapping[str, NDArray[Any]] = {}  # what was read before there is a belief

    def reset(self, env: gym.Env[Any, Any], seed: int) -> None:
        """Prepares for an episode; see `PredictedSJF.reset`.

        Raises:
            ValueError: If it has learnt with another dataset's predictor.
        """
        base: Any = env.unwrapped
        dataset, self._rows = base.dataset, base.simulator.workload.rows
        self._belief = self._belief_for(predictor_for(dataset.reference, self.predictor))
        if dataset.reference is dataset:
            self._belief.look_at(dataset, self._rows)
        else:  # live: rows are taken by one request after the other
            self._rows = np.arange(len(dataset))
            self._belief.look_at_changing(dataset)
        self._index = np.full(len(dataset), -1)
        self._index[self._rows] = np.arange(len(self._rows))
        self._logs = np.zeros(len(dataset))
        self._logs[self._rows] = self._belief.log_times()
        self._sent: list[tuple[NDArray[np.int64], Floats]] = []
        self._explore = True
        super().reset(env, seed)
        self._prior_facts = self._facts[self._rows]
        self._update()

    def rows_changed(self, rows: NDArray[np.int64]) -> None:
        """Believes of the requests that rows stand for now what it has learnt of their prompts."""
        super().rows_changed(rows)
        self._prior_facts[rows] = self._facts[rows]
        self.belief.change(self.env.dataset, rows, self._prediction.log_time_mean[rows])
        self._update()
        self.env.simulator.set_scores(self._logs)

    def forget_predictions(self) -> None:
        """Forgets which times were predicted for whom; see `Agent.forget_predictions`."""
        self._sent.clear()

    def _belief_for(self, predictor: Predictor) -> Belief:
        if self._belief is None:
            belief = Belief(predictor, self.features, self.noise)
            if self._learnt:
                belief.restore(self._learnt)
            return belief
        if self._belief.predictor is not predictor:
            raise ValueError(
                f"agent {self.name!r} has learnt with the predictor of another dataset; name one "
                "as predictor to keep to it"
            )
        return self._belief

    @property
    def belief(self) -> Belief:
        """What it believes.

        Raises:
            RuntimeError: If `reset` has not been called.
        """
        if self._belief is None:
            raise RuntimeError(f"agent {self.name!r}: call reset(env, seed) first")
        return self._belief

    def _update(self) -> None:
        """Takes over what is believed now, into what the rule reads."""
        logs = self.belief.log_times()
        self._logs[self._rows] = logs
        times = np.exp(logs)
        self._facts[self._rows, BASE] = times
        # A request takes longer than predicted because its answer is longer.
        longer = times / self._prior_facts[:, BASE]
        self._facts[self._rows, OUTPUT] = self._prior_facts[:, OUTPUT] * longer

    def priority(self) -> Priority:
        """Orders the queue by expected log time."""
        return self._logs

    def act(self, observation: Observation, info: Info, explore: bool = True) -> NDArray[np.int64]:
        """Decides by the rule, on what is believed now."""
        del observation, info
        self._explore = explore
        plan = LaneAction(self.env.simulator)
        self._fill(plan)
        picked = np.flatnonzero(plan.action)
        if len(picked):
            chosen = self.env.candidates()[picked]
            self._sent.append((chosen["request"], self._facts[chosen["row"], BASE]))
        return plan.action

    def observe(self, completions: NDArray[np.void]) -> bool:
        """Learns from what finished, and asks for a new ranking."""
        if not len(completions) or not self._explore:
            return False
        places = self._index[completions["row"]].tolist()
        for place, log in zip(places, np.log(completions["base_latency"]).tolist(), strict=True):
            self.belief.observe(place, log)
        self._update()
        self.env.simulator.set_scores(self._logs)
        return True

    def predicted_times(self) -> tuple[NDArray[np.int64], Floats]:
        """Returns what was predicted for the requests dispatched; see `Agent.predicted_times`."""
        if not self._sent:
            return super().predicted_times()
        requests, times = zip(*self._sent, strict=True)
        return np.concatenate(requests), np.concatenate(times)

    def state(self) -> dict[str, NDArray[Any]]:
        """Returns what was learnt."""
        return dict(self._learnt) if self._belief is None else self._belief.state()

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Takes over what was learnt, at the next `reset`, which knows the predictor.

        Raises:
            KeyError: If an array is missing.
        """
        self._learnt = {name: state[name] for name in Belief.STATE} if state else {}
        if PREDICTOR in state:
            self._learnt = {**self._learnt, PREDICTOR: state[PREDICTOR]}
        self._belief = None
