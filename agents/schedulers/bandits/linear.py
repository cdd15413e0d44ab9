"""Linear bandits: the paper's diagonal one, and C2UCB with the full matrix."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from agents.schedulers.bandits.bandit import Bandit, Contexts, Floats, Indices
from agents.schedulers.bandits.models.ridge import check_ridge
from agents.schedulers.bandits.models.row_ridge import RowRidge
from edgecloud_gym.checks import check_number


class CLinUCB(Bandit):
    """The paper's combinatorial LinUCB with a diagonal matrix, kept for comparison.

    With A = ridge and b = 0 at first, per feature, a request with context x and time t adds x^2 to
    A and -t x to b. Its score is -(sum b x / A + alpha sqrt(sum x^2 / A)): the reward is -t
    seconds. There is no intercept, and features count as independent; principal components are
    uncorrelated, which is kinder to this agent than the raw embeddings of the paper's code.

    Args:
        ridge: Regularisation, lambda, from 1e-12 to 1e30.
        alpha: Weight of the exploration bonus.
        rerank_every: See `Bandit`.
    """

    name: ClassVar[str] = "clinucb"
    cloud_by_mean: ClassVar[bool] = False

    def __init__(self, ridge: float = 1.0, alpha: float = 0.1, rerank_every: int = 256) -> None:
        super().__init__(rerank_every)
        self.ridge = check_ridge(ridge)
        self.alpha = check_number("alpha", alpha, least=0)

    def build(self, width: int, rng: np.random.Generator) -> None:
        """Starts with nothing seen."""
        del rng
        self._design = np.full(width, self.ridge)
        self._target = np.zeros(width)

    def evaluate(self, contexts: Contexts, explore: bool) -> tuple[Floats, Floats]:
        """Returns predicted times (s) and scores."""
        x = contexts.astype(np.float64)
        mean = -(x @ (self._target / self._design))
        if not explore:
            return mean, mean
        return mean, mean - self.alpha * np.sqrt(x**2 @ (1.0 / self._design))

    def seconds(self, predictions: Floats) -> Floats:
        """Returns predicted times (s), which the predictions are."""
        return predictions

    def update_exploration(self, contexts: Contexts) -> None:
        """Adds requests to A."""
        self._design += (contexts.astype(np.float64) ** 2).sum(axis=0)

    def learn(self, contexts: Contexts, times: Floats) -> None:
        """Adds times to b."""
        self._target -= times @ contexts.astype(np.float64)

    def state(self) -> dict[str, NDArray[Any]]:
        """Returns what was learnt."""
        return {"design": self._design, "target": self._target}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Takes over what was learnt."""
        self._design, self._target = state["design"], state["target"]
        self._width = len(self._design)


class C2UCB(Bandit):
    """Contextual combinatorial UCB with the full matrix, an intercept and log times.

    score = theta^T x - alpha sqrt(x^T A^-1 x), x the embedding and a 1, on standardised log times
    (L. Qin, S. Chen & X. Zhu, Contextual combinatorial bandit and its application on diversified
    online recommendation, SDM 2014, algorithm 1, with the sign of a cost).

    Args:
        ridge: Regularisation, lambda, from 1e-12 to 1e30.
        alpha: Weight of the exploration bonus, in standard deviations of the log time.
        rerank_every: See `Bandit`.
    """

    name: ClassVar[str] = "c2ucb"

    def __init__(self, ridge: float = 1.0, alpha: float = 0.1, rerank_every: int = 256) -> None:
        super().__init__(rerank_every)
        self.ridge = check_ridge(ridge)
        self.alpha = check_number("alpha", alpha, least=0)

    def reset(self, env: gym.Env[Any, Any], seed: int) -> None:
        """Prepares for an episode; see `Bandit.reset`."""
        super().reset(env, seed)
        self._model.attach(self._table)

    def rows_changed(self, rows: Indices) -> None:
        """Reads the embeddings of rows anew."""
        self._model.forget_rows(rows)
        super().rows_changed(rows)

    def build(self, width: int, rng: np.random.Generator) -> None:
        """Starts with nothing seen."""
        del rng
        self._model = RowRidge(width, self.ridge)

    def evaluate(self, contexts: Contexts, explore: bool) -> tuple[Floats, Floats]:
        """Returns predicted standardised log times and scores."""
        x = with_intercept(contexts)
        mean = self._model.mean(x)
        if not explore:
            return mean, mean
        return mean, mean - self.alpha * self._model.width(x)

    def assess(self, rows: Indices, explore: bool, scored: bool = True) -> tuple[Floats, Floats]:
        """Returns predictions and scores of dataset rows."""
        means, widths = self._model.assess(rows, explore and scored)
        return means, means - self.alpha * widths if explore and scored else means

    def seconds(self, predictions: Floats) -> Floats:
        """Returns predicted times (s)."""
        return self._model.moments.times(predictions)

    def update_exploration(self, contexts: Contexts) -> None:
        """Adds requests to the design."""
        self._model.add_design(with_intercept(contexts))

    def explore_rows(self, rows: Indices) -> None:
        """Adds dataset rows to the design."""
        self._model.add_rows(rows)

    def learn(self, contexts: Contexts, times: Floats) -> None:
        """Adds times to the targets."""
        self._model.add_times(with_intercept(contexts), times)

    def take_in(self, rows: Indices, times: Floats) -> None:
        """Adds times of dataset rows to the targets."""
        self._model.learn_rows(rows, times)

    def state(self) -> dict[str, NDArray[Any]]:
        """Returns what was learnt."""
        return self._model.state()

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Takes over what was learnt."""
        self._width = len(state["ridge_sum"]) - 1
        self._model = RowRidge(self._width, self.ridge)
        self._model.restore(state)


def with_intercept(features: NDArray[Any]) -> Floats:
    """Returns features (n, D) as float64 with a column of ones after them (n, D + 1)."""
    ones = np.ones((len(features), 1))
    return np.hstack([features.astype(np.float64), ones])
