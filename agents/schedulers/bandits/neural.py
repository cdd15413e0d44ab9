"""Neural bandits over one latency estimator; they differ in how they explore."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from agents.schedulers.bandits.bandit import Bandit, Contexts, Floats, Indices
from agents.schedulers.bandits.compiled.learner import BY_LOT, BY_WIDTH, Exploration
from agents.schedulers.bandits.models.estimator import LatencyEstimator, Training
from agents.schedulers.bandits.models.mlp import DiagonalPrecision
from agents.schedulers.bandits.models.ridge import check_ridge
from agents.schedulers.bandits.player import LARGEST_POOL, LearnerPlayer
from agents.schedulers.likelihood import batch_by_lot
from edgecloud_gym.checks import check_number
from edgecloud_gym.nodes import EDGE_NODE
from edgecloud_gym.wording import shown


class NeuralBandit(Bandit):
    """Base: a network predicts standardised log times; see `LatencyEstimator` for its settings.

    Attributes:
        draws: Whether scores are drawn at random, each time whether or not they are looked at.
    """

    draws: ClassVar[bool] = False

    def __init__(
        self,
        hidden: Sequence[int] = (256, 256),
        learning_rate: float = 1e-3,
        batch_size: int = 32,
        buffer_size: int = 10_000,
        train_every: int = 5,
        discount: float = 1.0,
        rerank_every: int = 256,
    ) -> None:
        super().__init__(rerank_every)
        given: object = hidden
        if isinstance(given, str) or not isinstance(given, Iterable):
            raise TypeError(
                f"hidden={shown(hidden)}: must be a sequence of widths, such as [64, 64]"
            )
        self.hidden = list(hidden)
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.buffer_size = buffer_size
        self.train_every = train_every
        self.discount = discount
        self._training = Training(
            self.hidden, learning_rate, batch_size, buffer_size, train_every, discount
        )

    def reset(self, env: gym.Env[Any, Any], seed: int) -> None:
        """Prepares for an episode; see `Bandit.reset`."""
        super().reset(env, seed)
        self._estimator.seed(np.random.default_rng([seed, 2]))
        self._remembered = np.zeros(len(self._table))  # predictions, by dataset row,
        self._known = np.full(len(self._table), -1)  # and which version of the network made them

    @property
    def plays_compiled(self) -> bool:
        """Whether compiled code can play for it: it knows the class, and not what others add.

        Others add by a class of their own, or by what they set on the agent in a method's place.
        """
        return (
            "exploration" in vars(type(self))
            and not any(callable(getattr(type(self), name, None)) for name in vars(self))
            and self.discount == 1.0
            and self.env.simulator.score_rows == self._score_rows
            and self.env.config.candidate_pool_size <= LARGEST_POOL
        )

    def play(self, explore: bool) -> Iterator[float]:
        """Plays an episode as `Bandit.play`, with the same decisions."""
        if self.plays_compiled:
            return self.env.played(self._play_compiled(explore))
        return super().play(explore)

    def _play_compiled(self, explore: bool) -> Iterator[float]:
        self._explore = explore
        simulator = self.env.simulator
        step = simulator.state.steps[0]
        memory = self._known, self._remembered
        exploration = self.exploration() if explore else Exploration()
        player = LearnerPlayer(
            simulator, self._estimator, self._table, memory, self._rng, exploration
        )
        ended = False
        while not ended:
            rewards, self._completed = player.stretch(self._completed, self._next_ranking)
            self._predictions.append(player.sent())
            ended = bool(step["terminated"] or step["truncated"])
            if self._ranking_is_due() and not ended:
                simulator.rank_anew(0)
            yield from rewards

    def exploration(self) -> Exploration:
        """Returns how it explores, if that is a way which compiled code knows."""
        raise NotImplementedError

    def rows_changed(self, rows: Indices) -> None:
        """Reads the embeddings of rows anew, and forgets what was predicted of them."""
        super().rows_changed(rows)
        self._known[rows] = -1

    def build(self, width: int, rng: np.random.Generator) -> None:
        """Makes an untrained estimator."""
        self._estimator = LatencyEstimator(width, self._training, rng)
        self.build_exploration()

    def build_exploration(self) -> None:
        """Makes the exploration statistics, empty."""

    def evaluate(self, contexts: Contexts, explore: bool) -> tuple[Floats, Floats]:
        """Returns predicted standardised log times and scores."""
        rows = np.arange(len(contexts))
        means = self._means(contexts, rows)
        return means, self._scores(means, contexts, rows) if explore else means

    def assess(self, rows: Indices, explore: bool, scored: bool = True) -> tuple[Floats, Floats]:
        """Returns predictions and scores; what the present network predicted is remembered."""
        version = self._estimator.network.version
        new = rows[self._known[rows] != version]
        if len(new):
            self._remembered[new] = self._means(self._table, new)
            self._known[new] = version
        means = self._remembered[rows]
        if not explore or not (scored or self.draws):
            return means, means
        return means, self._scores(means, self._table, rows)

    def _means(self, contexts: Contexts, rows: Indices) -> Floats:
        if self._estimator.seen < self.train_every:  # nothing learnt: in order of arrival
            return np.zeros(len(rows))
        return self._estimator.network.outputs(contexts, rows).astype(np.float64)

    def _scores(self, means: Floats, contexts: Contexts, rows: Indices) -> Floats:
        if self._estimator.seen < self.train_every:
            return means
        return self.exploration_scores(means, contexts, rows)

    def exploration_scores(self, means: Floats, contexts: Contexts, rows: Indices) -> Floats:
        """Returns scores of rows (n,) of contexts, from predictions (n,): the same."""
        del contexts, rows
        return means

    def seconds(self, predictions: Floats) -> Floats:
        """Returns predicted times (s)."""
        return self._estimator.moments.times(predictions)

    def update_exploration(self, contexts: Contexts) -> None:
        """Updates the exploration statistics: there are none."""

    def learn(self, contexts: Contexts, times: Floats) -> None:
        """Trains the network."""
        self._estimator.add(contexts, times)

    def state(self) -> dict[str, NDArray[Any]]:
        """Returns what was learnt."""
        return self._estimator.state()

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Takes over what was learnt."""
        self._width = state["contexts"].shape[1]
        self.build(self._width, np.random.default_rng(0))
        self._estimator.restore(state)


class CNGreedy(NeuralBandit):
    """Epsilon-greedy: now and then the edge takes a random batch, else the shortest predicted.

    Args:
        epsilon: Share of the calls that explore.
        **training: See `NeuralBandit`.
    """

    name: ClassVar[str] = "cn-greedy"

    def __init__(self, epsilon: float = 0.1, **training: Any) -> None:
        super().__init__(**training)
        self.epsilon = check_number("epsilon", epsilon, least=0, most=1)

    def exploration(self) -> Exploration:
        """Returns how often the lot decides."""
        return Exploration(BY_LOT, epsilon=float(self.epsilon))

    def explore_rows(self, rows: Indices) -> None:
        """Does nothing: lots need no statistics."""

    def choice_table(self, contexts: Contexts, batch: int, cloud: int, explore: bool) -> Floats:
        """Returns the probabilities of the choices: a mixture of the shortest and of lots."""
        shortest = super().choice_table(contexts, batch, cloud, explore)
        if not (explore and batch):
            return shortest
        drawn = batch_by_lot(self.evaluate(contexts, explore)[0], batch, cloud)
        mixed: Floats = (1.0 - self.epsilon) * shortest + self.epsilon * drawn
        return mixed

    def pick_for_edge(
        self, scores: Floats, room: int, action: NDArray[np.int64], explore: bool
    ) -> None:
        """Sends a random batch with probability epsilon, else the shortest."""
        if explore and self._rng.random() < self.epsilon:
            action[self._rng.choice(len(scores), room, replace=False)] = 1 + EDGE_NODE
        else:
            super().pick_for_edge(scores, room, action, explore)


class DiagonalBandit(NeuralBandit):
    """Base of the two that explore by the diagonal width of `DiagonalPrecision`."""

    def __init__(self, ridge: float = 1.0, nu: float = 0.001, **training: Any) -> None:
        super().__init__(**training)
        self.ridge = check_ridge(ridge)
        self.nu = check_number("nu", nu, least=0)

    def build_exploration(self) -> None:
        """Starts at U = ridge."""
        self._precision = DiagonalPrecision(self._estimator.network, self.ridge)

    def scaled_width(self, contexts: Contexts, rows: Indices) -> Floats:
        """Returns sqrt(ridge nu sum g^2 / (m U)) of rows (n,) of contexts."""
        _, width = self._estimator.network.outputs_and_widths(contexts, rows)
        scaled: Floats = np.sqrt(self.ridge * self.nu) * width.astype(np.float64)
        return scaled

    def update_exploration(self, contexts: Contexts) -> None:
        """Adds requests to U."""
        self._precision.add(contexts, np.arange(len(contexts)), self.discount)

    def explore_rows(self, rows: Indices) -> None:
        """Adds dataset rows to U."""
        self._precision.add(self._table, rows, self.discount)

    def state(self) -> dict[str, NDArray[Any]]:
        """Returns what was learnt."""
        return {**super().state(), "precision": self._precision.values}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Takes over what was learnt."""
        super().restore(state)
        self._precision.values = state["precision"]


class CNDUCB(DiagonalBandit):
    """The paper's combinatorial neural UCB with a diagonal matrix, its defects repaired.

    score = mu - sqrt(ridge nu sum g^2 / (m U)), with U = ridge + sum g^2 / m over all dispatched
    requests. The edge takes the lowest scores, the cloud the lowest predictions mu of the rest.
    Unlike in the paper's code, every request trains with its own base latency, cloud picks enter
    U, candidates are scored by the present model, and gradients are scaled by the width m.

    Args:
        ridge: lambda, the start of U, from 1e-12 to 1e30.
        nu: Weight of the exploration bonus.
        **training: See `NeuralBandit`.
    """

    name: ClassVar[str] = "cn-ducb"

    def exploration(self) -> Exploration:
        """Returns what a width counts for."""
        return Exploration(BY_WIDTH, bonus=float(np.sqrt(self.ridge * self.nu)))

    def exploration_scores(self, means: Floats, contexts: Contexts, rows: Indices) -> Floats:
        """Returns predictions less the bonus."""
        return means - self.scaled_width(contexts, rows)
