"""Thompson sampling with a network and the diagonal width."""

from __future__ import annotations

from typing import ClassVar, Final

import numpy as np

from agents.schedulers.bandits.bandit import Contexts, Floats, Indices
from agents.schedulers.bandits.neural import DiagonalBandit
from agents.schedulers.likelihood import batch_and_rest

_DRAWS: Final = 4096  # of scores, where the probabilities of choices are estimated


class CNTS(DiagonalBandit):
    """Combinatorial neural Thompson sampling: scores are drawn from N(mu, ridge nu g^2 / (m U)).

    W. Zhang, D. Zhou, L. Li & Q. Gu, Neural Thompson sampling, ICLR 2021, algorithm 1, with the
    diagonal of their matrix and the sign of a cost.

    Args:
        ridge: lambda, the start of U, from 1e-12 to 1e30.
        nu: Variance of the draws, in units of the width.
        **training: See `NeuralBandit`.
    """

    name: ClassVar[str] = "cn-ts"
    draws: ClassVar[bool] = True

    def exploration_scores(self, means: Floats, contexts: Contexts, rows: Indices) -> Floats:
        """Returns draws about the predictions."""
        draws = self._rng.standard_normal(len(means))
        return means + self.scaled_width(contexts, rows) * draws

    def choice_table(self, contexts: Contexts, batch: int, cloud: int, explore: bool) -> Floats:
        """Returns estimates of the probabilities of the choices, from `_DRAWS` draws of scores.

        Their standard errors are at most 0.008. What no draw has brought about counts as one draw.
        """
        means, scores = self.drawn_scores(contexts, explore)
        if len(scores) == 1:
            return super().choice_table(contexts, batch, cloud, explore=False)
        table = batch_and_rest(scores, np.broadcast_to(means, scores.shape), batch, cloud)
        counts = np.maximum(table.sum(axis=0), 1.0)
        likely: Floats = counts / counts.sum(axis=1, keepdims=True)
        return likely

    def drawn_scores(self, contexts: Contexts, explore: bool) -> tuple[Floats, Floats]:
        """Returns predictions, and `_DRAWS` draws of the scores once there is what to draw from."""
        if not explore or self._estimator.seen < self.train_every:
            return super().drawn_scores(contexts, explore=False)
        rows = np.arange(len(contexts))
        means = self._means(contexts, rows)
        drawn = np.random.default_rng(0).standard_normal((_DRAWS, len(means)))
        return means, means + self.scaled_width(contexts, rows) * drawn
