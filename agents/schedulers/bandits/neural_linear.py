"""A network whose last layer is a regression."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from agents.schedulers.bandits.bandit import Contexts, Floats, Indices
from agents.schedulers.bandits.linear import with_intercept
from agents.schedulers.bandits.models.ridge import Ridge, check_ridge
from agents.schedulers.bandits.neural import NeuralBandit
from edgecloud_gym.checks import check_number


class NeuralLinear(NeuralBandit):
    """UCB with the full width of the last layer: ridge regression on what the network computes.

    The features are the network's last hidden layer, over the root of its width, and a 1; on
    them the regression of `Ridge` gives mean and width, score = mean - alpha sqrt(x^T A^-1 x). The
    network goes on training meanwhile; its features are taken over, and the regression refitted on
    the buffer, whenever the completed requests have grown by ``refit`` of the buffer (C. Riquelme,
    G. Tucker & J. Snoek, Deep Bayesian bandits showdown, ICLR 2018, "NeuralLinear").

    Args:
        alpha: Weight of the exploration bonus, in standard deviations of the log time.
        ridge: Regularisation, from 1e-12 to 1e30.
        refit: New requests per refit, as a share of those in the buffer.
        **training: See `NeuralBandit`.
    """

    name: ClassVar[str] = "neural-linear"

    def __init__(
        self, alpha: float = 0.1, ridge: float = 1.0, refit: float = 0.1, **training: Any
    ) -> None:
        super().__init__(**training)
        self.alpha = check_number("alpha", alpha, least=0)
        self.ridge = check_ridge(ridge)
        self.refit = check_number("refit", refit, above=0)

    def build_exploration(self) -> None:
        """Starts with the untrained network's features."""
        self._frozen = self._estimator.network.copy()
        self._model = Ridge(self.hidden[-1] + 1, self.ridge)
        self._next_refit = 2 * self.batch_size

    def evaluate(self, contexts: Contexts, explore: bool) -> tuple[Floats, Floats]:
        """Returns predicted standardised log times and scores."""
        features = self._features(contexts)
        mean = self._model.mean(features)
        if not explore:
            return mean, mean
        return mean, mean - self.alpha * self._model.width(features)

    def assess(self, rows: Indices, explore: bool, scored: bool = True) -> tuple[Floats, Floats]:
        """Returns predictions and scores of dataset rows."""
        return self.evaluate(self._table[rows], explore and scored)

    def explore_rows(self, rows: Indices) -> None:
        """Adds dataset rows to the design."""
        self.update_exploration(self._table[rows])

    def seconds(self, predictions: Floats) -> Floats:
        """Returns predicted times (s)."""
        return self._model.moments.times(predictions)

    def update_exploration(self, contexts: Contexts) -> None:
        """Adds requests to the design."""
        self._model.add_design(self._features(contexts))

    def learn(self, contexts: Contexts, times: Floats) -> None:
        """Trains the network, adds times to the regression, and refits it when due."""
        super().learn(contexts, times)
        self._model.add_times(self._features(contexts), times)
        if self._estimator.seen >= self._next_refit:
            self._frozen = self._estimator.network.copy()
            held, known = self._estimator.buffered()
            self._model.refit(self._features(held), known)
            grown = max(self.batch_size, int(self.refit * len(held)))
            self._next_refit = self._estimator.seen + grown

    def _features(self, contexts: Contexts) -> Floats:
        last = self._frozen.last_hidden(np.ascontiguousarray(contexts))
        return with_intercept(last / np.sqrt(last.shape[1]))

    def state(self) -> dict[str, NDArray[Any]]:
        """Returns what was learnt."""
        return {
            **super().state(),
            **self._model.state(),
            "frozen": self._frozen.parameters,
            "next_refit": np.array(self._next_refit),
        }

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Takes over what was learnt."""
        super().restore(state)
        self._model.restore(state)
        self._frozen.parameters = state["frozen"]
        self._next_refit = int(state["next_refit"])
