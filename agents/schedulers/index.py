"""Index policies: the whole queue ordered by a prediction, and placement as a decision of its own.

`PredictedSJF` follows rules of thumb, `OraclePlacement` the same with the true times, and
`IndexPolicy` what ``edgecloud train index`` has found.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from agents.prediction import Prediction, Predictor, predictor_for
from agents.rules import index as rules
from agents.rules.index import CONTINUOUS_THUMB, STATIC_THUMB, Index, index_parameters
from agents.rules.placement import true_facts
from agents.schedulers.index_settings import IndexSettings, bundled_index, load_index
from agents.schedulers.ruled import RuleScheduler
from edgecloud_gym.checks import check_number
from edgecloud_gym.config import CONTINUOUS, Priority, SystemConfig
from edgecloud_gym.dataset import RequestDataset
from edgecloud_gym.priorities import AgedScores
from edgecloud_gym.simulator.rules import Rule

Floats = NDArray[np.float64]


class OraclePlacement(RuleScheduler):
    """Shortest job first by the true times, with a placement that spares the queue.

    The second yardstick beside `sjf-oracle`, which does not think about placement: the cloud takes
    the shortest while it has room, the edge only when the cloud is full. A static batch is the
    shortest request that waits with those of at most 2.5 times its time; where the edge batches
    continuously it takes a request only if its time is at most 0.7 (1 + q) s, q requests waiting.
    In any other system the place is chosen by `agents.rules.index.Index`.
    """

    name: ClassVar[str] = "oracle-placement"
    plays_live: ClassVar[bool] = False  # it knows the true times
    pair_rule: ClassVar[Rule | None] = rules.pair
    cluster_rule: ClassVar[Rule | None] = rules.cluster

    def index(self) -> Index:
        """Returns the numbers of the policy in this episode."""
        return thumb(self.env.config)

    def priority(self) -> Priority:
        """Orders the queue by the true single-request inference time."""
        return self.env.dataset.base_latency

    def facts(self) -> Floats:
        """Returns the true times and token counts."""
        return true_facts(self.env.dataset)

    def parameters(self) -> Floats:
        """Returns the numbers of the policy, and what the nodes are."""
        return index_parameters(self.env.simulator, self.index())


class PredictedSJF(OraclePlacement):
    """Shortest job first by predicted times: `oracle-placement` with a predictor.

    Args:
        predictor: A bundled one's name, a file of ``edgecloud train predictor``, or a `Predictor`.
            By default the bundled one of the dataset's name; where there is none, one is fitted on
            the dataset's train split.
        boost: γ (1/s) of a boost: who has waited long goes before who is short, see `boosted`. None
            for the predicted times alone.
    """

    name: ClassVar[str] = "predicted-sjf"
    plays_live: ClassVar[bool] = True

    def __init__(
        self, predictor: str | Path | Predictor | None = None, boost: float | None = None
    ) -> None:
        super().__init__()
        self.predictor = predictor
        self.boost = None if boost is None else check_number("boost", boost, above=0.0)

    def reset(self, env: gym.Env[Any, Any], seed: int) -> None:
        """Prepares for an episode; see `Agent.reset`.

        Raises:
            ValueError: If the dataset has no embeddings to predict from, or of another width than
                the predictor's.
        """
        base: Any = env.unwrapped
        reference = base.dataset.reference
        self._prediction = self._usual = predicted(reference, self.predictor)
        if reference is not base.dataset:  # live: rows are taken by one request after the other
            found = predictor_for(reference, self.predictor).predict_dataset(base.dataset)
            self._prediction = found
        super().reset(env, seed)

    def rows_changed(self, rows: NDArray[np.int64]) -> None:
        """Predicts the requests that rows stand for now."""
        dataset = self.env.dataset
        found = predictor_for(dataset.reference, self.predictor).predict_dataset(dataset, rows)
        for name in ("log_time_mean", "log_time_std", "output_tokens"):
            getattr(self._prediction, name)[rows] = getattr(found, name)
        super().rows_changed(rows)
        order: Any = self.priority()
        self.env.simulator.set_scores(order)

    def priority(self) -> Priority:
        """Orders the queue by the predicted time, or by arrival less its boost."""
        if self.boost is not None:
            return boosted(self._prediction.median_time, self.boost)
        return self._prediction.log_time_mean

    def facts(self) -> Floats:
        """Returns the predicted median times and expected token counts."""
        return predicted_facts(self.env.dataset, self._prediction)


class IndexPolicy(PredictedSJF):
    """A tuned index policy: order and placement by a prediction, with a handful of numbers.

    Args:
        tuned: A file of ``edgecloud train index``, or `IndexSettings`. By default those that
            come with the package for the environment; where there are none, the rules of thumb.
        predictor: See `PredictedSJF`.
    """

    name: ClassVar[str] = "index"
    aged: ClassVar[bool] = False

    def __init__(
        self,
        tuned: str | Path | IndexSettings | None = None,
        predictor: str | Path | Predictor | None = None,
    ) -> None:
        super().__init__(predictor)
        self.tuned = tuned
        self._given = None if tuned is None else load_index(tuned)

    def reset(self, env: gym.Env[Any, Any], seed: int) -> None:
        """Prepares for an episode; see `PredictedSJF.reset`."""
        base: Any = env.unwrapped
        self._tuned = self._given or bundled_index(base) or IndexSettings(thumb(base.config))
        super().reset(env, seed)

    def index(self) -> Index:
        """Returns the numbers of the policy in this episode."""
        return self._tuned.index

    def priority(self) -> Priority:
        """Orders the queue by the tuned key; `AgedIndexPolicy` adds the arrival time to it."""
        usual = self._usual.log_time_mean[self.env.simulator.workload.rows]
        return self._tuned.order(self._prediction, usual, self.aged)


class AgedIndexPolicy(IndexPolicy):
    """The tuned index policy with ageing: nobody but the longest waits for long.

    What is predicted to be among the longest few percent comes last; of the others, each is ordered
    by its key + α · its arrival time. The tail of the others is as short as in order of arrival,
    and those few bear it.
    """

    name: ClassVar[str] = "index-aged"
    aged: ClassVar[bool] = True


def boosted(times: Floats, rate: float) -> AgedScores:
    """Returns the order of arrival time - b(t), b(t) = -log(1 - e^(-γ t)) / γ.

    Between shortest first (γ to 0) and order of arrival (γ to infinity). Where times are known and
    light-tailed, it has the shortest tail of all orders if γ is the rate at which the tail of
    response times falls: Yu & Scully, Strongly Tail-Optimal Scheduling in the Light-Tailed M/G/1,
    2024, arXiv:2404.08826.

    Args:
        times: Of each dataset row (n,), s.
        rate: γ, 1/s.
    """
    return AgedScores(np.log(-np.expm1(-rate * times)) / rate, 1.0)


def thumb(config: SystemConfig) -> Index:
    """Returns the rules of thumb for a system."""
    if not config.is_pair:
        return Index()
    return CONTINUOUS_THUMB if config.batching == CONTINUOUS else STATIC_THUMB


@lru_cache(maxsize=8)
def predicted(
    dataset: RequestDataset, predictor: str | Path | Predictor | None = None
) -> Prediction:
    """Returns what is predicted of each row of a dataset; see `PredictedSJF`."""
    return predictor_for(dataset, predictor).predict_dataset(dataset)


def predicted_facts(dataset: RequestDataset, prediction: Prediction) -> Floats:
    """Returns what the rules are told of each row: median time, prompt and expected answer."""
    prompts = dataset.prompt_tokens
    known = np.zeros(len(dataset)) if prompts is None else prompts.astype(np.float64)
    outputs = np.nan_to_num(prediction.output_tokens)
    return np.column_stack([prediction.median_time, known, outputs])
