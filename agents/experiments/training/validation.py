"""How good an agent in training is: on fixed requests, beside agents that everybody knows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from agents.base import constructor_arguments
from agents.experiments.design.replay import whole
from agents.experiments.design.scenario import Scenario
from agents.experiments.training.learners import Learner, played
from agents.prediction import Predictor
from agents.registry import AGENT_NAMES, agent_class, make_agent

_PREDICTOR: Final = "predictor"  # the setting by which agents take one
FIRST_SEED: Final = 1_000_000  # far from those of trainings and evaluations
# What it is measured by, and who plays beside it.
UNIT: Final = "fcfs"
BESIDE: Final = tuple(name for name in (UNIT, "cn-ducb", "predicted-sjf") if name in AGENT_NAMES)
BESIDE_IN_CLUSTERS: Final = tuple(
    name for name in (UNIT, "join-shortest-queue", "predicted-sjf") if name in AGENT_NAMES
)


@dataclass(frozen=True)
class Validation:
    """Fixed episodes on prompts that are kept aside from the train side.

    Attributes:
        scenarios: Where they are played.
        seeds: How many there are in each.
        beside: Agents that play them too.
    """

    scenarios: tuple[Scenario, ...]
    seeds: int = 4
    beside: tuple[str, ...] = BESIDE

    def _seeds(self) -> range:
        return range(FIRST_SEED, FIRST_SEED + self.seeds)

    def of(self, learner: Learner) -> list[float]:
        """Returns the mean JCT (s) of an agent in training in each scenario."""
        return [float(learner.mean_jct(s, self._seeds()).mean()) for s in self.scenarios]

    def of_others(self) -> dict[str, list[float]]:
        """Returns the same of the agents beside it, who learn as they are used to.

        Those who know predictions are given some that have not seen the prompts kept aside.
        """
        found = {}
        fitted: dict[int, Predictor] = {}  # by dataset, of which scenarios share one
        for name in dict.fromkeys((UNIT, *self.beside)):
            means = []
            for scenario in self.scenarios:
                settings = {}
                if _PREDICTOR in constructor_arguments(agent_class(name)):
                    data = whole(scenario.dataset)
                    if id(data) not in fitted:
                        fitted[id(data)] = Predictor.fit(data, data.rows("fit"))
                    settings[_PREDICTOR] = fitted[id(data)]
                agent = make_agent(name, **settings)
                means.append(float(played(agent, scenario, self._seeds(), explore=True).mean()))
            found[name] = means
        return found


def score(means: Sequence[float], unit: Sequence[float]) -> float:
    """Returns mean JCTs as a share of another agent's, over scenarios; lower is better."""
    ratios: NDArray[np.float64] = np.asarray(means) / np.asarray(unit)
    return float(ratios.mean())


def scores(of_others: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """Returns the scores of the agents beside one in training."""
    return {name: score(means, of_others[UNIT]) for name, means in of_others.items()}
