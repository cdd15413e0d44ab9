"""Tuning an index policy: placement and order for the mean JCT, then ageing for the tail.

Predictions of train prompts come from predictors that did not see them: those of one that did are
half again as good as any it will make, and a policy tuned on them would trust them too much.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from agents.prediction import Prediction, Predictor, predictor_for
from agents.prediction.forecasts import cross_predicted
from agents.rules import index as rules
from agents.rules import paper, routers
from agents.rules.index import Index, index_parameters
from agents.schedulers.index import predicted_facts
from agents.schedulers.index_settings import Ageing, IndexSettings, Order
from agents.tuning.cross_entropy import Generation, search
from agents.tuning.rollouts import Rollouts, mean_jct, tail_jct
from edgecloud_gym.config import CONTINUOUS

Floats = NDArray[np.float64]

LOADS: Final = (0.8, 0.95, 1.1)
RATES: Final = (0.0, 0.005, 0.01, 0.015, 0.02, 0.03, 0.04, 0.06, 0.08, 0.12)
SHARES: Final = (0.02, 0.03, 0.04)
TAIL: Final = 0.95  # of the 95th percentile in order of arrival, that ageing may leave

# What is searched in each kind of system: where it begins, and how far around.
_ORDER: Final = {"root": (0.0, 0.1), "long": (0.0, 0.3), "spread": (0.0, 0.3)}
_EDGE: Final = {"edge_queue": (0.0, 1.0), "edge_full": (0.0, 1.0)}
_STATIC: Final = {
    "edge_level": (3.0, 2.0),
    "edge_free": (-30.0, 10.0),
    **_EDGE,
    "batch_spread": (0.9, 0.5),
    "batch_fill": (0.0, 0.5),
}
_CONTINUOUS: Final = {
    "edge_level": (-0.36, 0.7),
    "edge_free": (-20.0, 8.0),
    **_EDGE,
    "edge_queue": (1.0, 0.4),
}
_CLUSTER: Final = {
    "fill_limit": (1.1, 0.2),
    "own_time": (0.3, 0.2),
    "hold_level": (1.0, 0.5),
    "hold_queue": (1.0, 0.5),
}


class Progress(NamedTuple):
    """What a tuning has come to after a generation: where it stands, and what that means."""

    state: Generation
    settings: IndexSettings


@dataclass
class _Case:
    """Rollouts at one load."""

    rollouts: Rollouts
    arrival_mean: float
    arrival_tail: float


class IndexTuning:
    """Tunes an index policy for an environment.

    Args:
        env_id: The environment.
        settings: Its settings; the load is up to ``loads``.
        loads: It is to do well at all of these.
        episodes: Request streams at each.
        seed: Seeds streams, search and the cut of the train rows.
        predictor: See `agents.schedulers.index.PredictedSJF`.
    """

    def __init__(
        self,
        env_id: str,
        settings: Mapping[str, Any],
        loads: Sequence[float] = LOADS,
        episodes: int = 12,
        seed: int = 0,
        predictor: Any = None,
    ) -> None:
        self._seed = seed
        streams = np.random.SeedSequence(seed).generate_state(episodes).tolist()
        envs = [
            gym.make(
                env_id, **{**settings, "load": load, "observe": "id", "work_conserving": False}
            )
            for load in loads
        ]
        first: Any = envs[0].unwrapped
        self._dataset = first.dataset
        chosen: Predictor = predictor_for(self._dataset, predictor)
        self._prediction: Prediction = cross_predicted(chosen, self._dataset, seed=seed)
        self._facts = predicted_facts(self._dataset, self._prediction)
        pair = first.config.is_pair
        self._rule = rules.pair if pair else rules.cluster
        by_arrival = paper.fcfs if pair else routers.first_fit
        searched = _CLUSTER
        if pair:
            searched = _CONTINUOUS if first.config.batching == CONTINUOUS else _STATIC
        self._searched = {**searched, **_ORDER}
        self._cases = []
        for env in envs:
            rollouts = Rollouts(env, streams)
            jcts = rollouts.play(by_arrival, None, self._facts, np.empty(0))
            self._cases.append(_Case(rollouts, mean_jct(jcts), tail_jct(jcts)))

    @property
    def start(self) -> Generation:
        """Where the search begins."""
        mean, std = np.array(list(self._searched.values())).T
        return Generation(0, mean, std)

    def generations(self, start: Generation, count: int, **options: Any) -> Iterator[Progress]:
        """Searches on for the mean JCT; see `search`."""
        for state in search(self._cost, start, generations=count, seed=self._seed, **options):
            yield Progress(state, self.settings(state.mean))

    def settings(self, point: Floats) -> IndexSettings:
        """Returns what a point of the search means."""
        named = dict(zip(self._searched, point.tolist(), strict=True))
        order = Order(**{name: named.pop(name) for name in _ORDER})
        return IndexSettings(Index(**named), order)

    def _cost(self, point: Floats) -> float:
        """Returns the mean over loads of the log of the mean JCT."""
        return float(np.mean(np.log([mean for mean, _ in self.judge(self.settings(point))])))

    def judge(self, settings: IndexSettings, aged: bool = False) -> list[tuple[float, float]]:
        """Returns the mean JCT (s) at each load, and its 95th percentile as a share of FCFS's."""
        found = []
        for case in self._cases:
            simulator = case.rollouts.simulator
            order = settings.order(self._prediction, simulator.workload.rows, aged)
            numbers = index_parameters(simulator, settings.index)
            jcts = case.rollouts.play(self._rule, order, self._facts, numbers)
            found.append((mean_jct(jcts), tail_jct(jcts) / case.arrival_tail))
        return found

    def age(self, settings: IndexSettings) -> IndexSettings:
        """Adds the ageing of the least mean JCT among those whose tails are short enough.

        At each load the 95th percentile must be at most `TAIL` of FCFS's. Where it is above that
        without ageing, but not above FCFS's, ageing must not make it worse; if none will do, the
        one of the shortest tail is taken.
        """
        tails = [tail for _, tail in self.judge(settings)]
        limits = np.array([tail if TAIL < tail <= 1.0 else TAIL for tail in tails])
        found = []
        for share in SHARES:
            for rate in RATES:
                tried = IndexSettings(settings.index, settings.ordering, Ageing(rate, share))
                means, tails = np.array(self.judge(tried, aged=True)).T
                excess = max(0.0, float(np.max(tails - limits)) - 0.005)
                found.append((excess, float(np.mean(np.log(means))), tried))
        return min(found, key=lambda item: item[:2])[2]
