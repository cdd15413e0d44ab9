"""A bandit that starts from what training knows, and remembers what it has served."""

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
from agents.rules import placement
from agents.rules.placement import BASE, OUTPUT, PROMPT, placement_parameters
from agents.rules.predicted import shortest
from agents.schedulers.lane_action import LaneAction
from agents.schedulers.ruled import RuleScheduler
from edgecloud_gym.checks import check_integer, check_number
from edgecloud_gym.config import Priority
from edgecloud_gym.simulator.rules import Rule

Floats = NDArray[np.float64]


class WarmLinear(RuleScheduler):
    """Bayesian linear regression on a predictor's features, with the predictor as its prior.

    It plays as `predicted-sjf` does, on the expected log times of its `Belief`: those of the
    predictor at first, which every completion brings up to date. A prompt that comes again is known
    by its own times, one that resembles those served by theirs. Whatever waits is ranked anew after
    every completion.

    There is no exploration bonus: every request is served sooner or later, and tells its time then,
    so that optimism has nothing to find out.

    Args:
        predictor: A bundled one's name, or a file of ``edgecloud train predictor``.
        features: Features of the predictor that are learnt further.
        noise: Standard deviation of the log time between two runs of one prompt. 0.09 is what 52
            prompts of the bundled dataset showed that were measured three times.
    """

    name: ClassVar[str] = "warm-linear"
    learns: ClassVar[bool] = True
    plays_live: ClassVar[bool] = False  # it believes something of each row of a dataset
    pair_rule: ClassVar[Rule | None] = shortest
    cluster_rule: ClassVar[Rule | None] = placement.soonest

    def __init__(
        self, predictor: str | Path = "smollm2-135m", features: int = 256, noise: float = 0.09
    ) -> None:
        super().__init__()
        self.predictor = predictor
        self.features = check_integer("features", features, least=1)
        self.noise = check_number("noise", noise, least=0)
        self._belief = Belief(load_predictor(predictor), self.features, self.noise)

    def reset(self, env: gym.Env[Any, Any], seed: int) -> None:
        """Prepares for an episode; see `Agent.reset`.

        Raises:
            ValueError: If the dataset has no embeddings, or of another width than the predictor's.
        """
        base: Any = env.unwrapped
        dataset, self._rows = base.dataset, base.simulator.workload.rows
        self._belief.look_at(dataset, self._rows)
        self._index = np.full(len(dataset), -1)
        self._index[self._rows] = np.arange(len(self._rows))
        prior = self._belief.prior
        self._known = np.zeros((len(dataset), 3))
        self._logs = np.zeros(len(dataset))
        if dataset.prompt_tokens is not None:
            self._known[:, PROMPT] = dataset.prompt_tokens
        self._answers = np.nan_to_num(prior.output_tokens)
        self._sent: list[tuple[NDArray[np.int64], Floats]] = []
        self._explore = True
        self._update()
        super().reset(env, seed)

    def _update(self) -> None:
        """Takes over what is believed now."""
        logs = self._belief.log_times()
        self._logs[self._rows] = logs
        self._known[self._rows, BASE] = np.exp(logs)
        # A request takes longer than predicted because its answer is longer.
        longer = np.exp(logs - self._belief.prior.log_time_mean)
        self._known[self._rows, OUTPUT] = self._answers * longer

    def priority(self) -> Priority:
        """Orders the queue by expected log time."""
        return self._logs

    def facts(self) -> Floats:
        """Returns expected times and answers; kept up to date."""
        return self._known

    def parameters(self) -> Floats:
        """Returns what the nodes are."""
        return placement_parameters(self.env.simulator)

    def act(self, observation: Observation, info: Info, explore: bool = True) -> NDArray[np.int64]:
        """Decides by the rule, on what is believed now."""
        del observation, info
        self._explore = explore
        plan = LaneAction(self.env.simulator)
        self._fill(plan)
        picked = np.flatnonzero(plan.action)
        if len(picked):
            chosen = self.env.candidates()[picked]
            self._sent.append((chosen["request"], self._known[chosen["row"], BASE]))
        return plan.action

    def observe(self, completions: NDArray[np.void]) -> bool:
        """Learns from what finished, and asks for a new ranking."""
        if not len(completions) or not self._explore:
            return False
        places = self._index[completions["row"]].tolist()
        for place, log in zip(places, np.log(completions["base_latency"]).tolist(), strict=True):
            self._belief.observe(place, log)
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
        return self._belief.state()

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Takes over what was learnt."""
        self._belief.restore(state)
