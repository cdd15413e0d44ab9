"""What the bandits share: who learns what when, and how scores become decisions."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Final

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from agents.base import Info, Observation
from agents.schedulers.bandits.compiled.lowest import take_lowest
from agents.schedulers.bandits.lane_view import LaneView
from agents.schedulers.bandits.routing import Routing
from agents.schedulers.cluster_plan import ClusterPlan
from agents.schedulers.likelihood import Likelihood, batch_and_rest
from agents.schedulers.plan import Plan
from agents.schedulers.scheduler import Scheduler
from edgecloud_gym.checks import check_integer
from edgecloud_gym.config import CONTINUOUS, Priority
from edgecloud_gym.nodes import CLOUD_NODE, EDGE_NODE

Contexts = NDArray[np.float32]
Floats = NDArray[np.float64]
Indices = NDArray[np.int64]

FIRST_RANKING: Final = 16  # completions before the queue is first ranked by what was learnt


class Bandit(Scheduler):
    """A contextual combinatorial bandit: it learns how long requests take and sends short ones.

    The waiting queue is ordered by score, lower first: a request is scored at its arrival, and
    all that wait are scored anew now and then, as the model improves. At every call the candidates
    are scored by the model as it is; the K lowest go to a free edge, then the next to the cloud.

    Exploration statistics are updated at dispatch, with every request dispatched; the model is
    updated at completion, with each request's own context and its own single-request time
    (semi-bandit feedback), whichever node and batch it was served in.

    A score is a prediction less an exploration bonus (optimism: the reward is a short time).
    Before anything is learnt all predictions are equal; ties go to the request that came first.
    With ``explore=False`` there is no bonus, and model and statistics stay as they are.

    Args:
        rerank_every: Completions between rankings of the whole queue; early on it is ranked
            whenever their number has doubled.
    """

    learns: ClassVar[bool] = True
    from_zero: ClassVar[bool] = True
    # Whether the cloud takes the lowest predictions, as the edge takes the lowest scores.
    cloud_by_mean: ClassVar[bool] = True

    def __init__(self, rerank_every: int = 256) -> None:
        super().__init__()
        self.rerank_every = check_integer("rerank_every", rerank_every, least=1)
        self._width: int | None = None  # of a context, once the model is built
        self._explore = True

    def reset(self, env: gym.Env[Any, Any], seed: int) -> None:
        """Prepares for an episode; builds the model at the first one.

        Raises:
            ValueError: If the dataset has no embeddings, or the model is for another width.
        """
        super().reset(env, seed)
        simulator = self.env.simulator
        # A copy of its own, as compiled code takes it.
        self._table = np.array(simulator.embeddings, np.float32, order="C")
        width = self._table.shape[1]
        if self._width is None:
            self._width = width
            self.build(width, np.random.default_rng([seed, 1]))
        elif self._width != width:
            raise ValueError(
                f"agent {self.name!r} has learnt from embeddings of width {self._width}: needs "
                f"embedding_dim to give that width, got {width}"
            )
        self._explore = True
        self._predictions: list[tuple[NDArray[np.int64], Floats]] = []
        self._completed = 0
        self._next_ranking = FIRST_RANKING
        self._routing = Routing(self.env)
        self._view_of: Any = None  # the arrays that the view is of
        self._continuous = self.env.config.batching == CONTINUOUS
        simulator.score_rows = self._score_rows  # spares it the contexts of who arrives

    def priority(self) -> Priority:
        """Orders the queue by score."""
        return self._score

    def _score(self, contexts: Contexts) -> Floats:
        return self.evaluate(np.array(contexts, np.float32, order="C"), self._explore)[1]

    def _score_rows(self, rows: Indices) -> Floats:
        return self.assess(rows, self._explore)[1]

    def choose(self, plan: ClusterPlan, candidate: int) -> int | None:
        """Is not asked: `route` looks at all candidates together."""
        raise NotImplementedError

    def decide(self, plan: Plan, observation: Observation, info: Info, explore: bool) -> None:
        """Is not asked: `act` decides by itself."""
        raise NotImplementedError

    def act(self, observation: Observation, info: Info, explore: bool = True) -> NDArray[np.int64]:
        """Sends the lowest scores to the edge, then the best that are left to the cloud."""
        if not self.env.config.is_pair:
            return super().act(observation, info, explore)
        if self._view_of is not self.env.simulator.arrays:
            self._look()
        action = np.zeros(self.env.config.candidate_pool_size, np.int64)
        if self._calls.take(info):
            self._decide(action, explore)
        return action

    @property
    def plays_alone(self) -> bool:
        """Whether it decides and learns as bandits do, for an edge and a cloud."""
        return self.keeps(Bandit, "act", "observe") and self.env.config.is_pair

    def play(self, explore: bool) -> Iterator[float]:
        """Plays an episode for which nothing is written that a bandit does not read.

        That is the embeddings of all candidates, above all.
        """
        self._look()
        simulator = self.env.simulator
        step = simulator.state.steps[0]
        actions = np.zeros((1, simulator.config.candidate_pool_size), np.int64)

        def choose() -> NDArray[np.int64]:
            actions.fill(0)
            events = step["arrivals"] + step["services_ended"]
            if self._calls.take_of(step["elapsed"], events):
                self._decide(actions[0], explore)
            return actions

        for reward in self.env.play_unseen(choose):
            due = step["completed"] and self.learn_rows(*self._view.completed())
            if due and not (step["terminated"] or step["truncated"]):
                simulator.rank_anew(0)
            yield reward

    def _look(self) -> None:
        self._view_of = self.env.simulator.arrays
        self._view = LaneView(self.env.simulator)

    def _decide(self, action: NDArray[np.int64], explore: bool) -> None:
        """Fills an action (M,), zero at first, for an edge and a cloud."""
        self._explore = explore
        waiting, rows = self._view.waiting()
        count = len(waiting)
        if not count:
            return
        edge, cloud = self._view.room()
        if not self._continuous:
            edge = min(edge, self.env.simulator.batch_capacity)
        edge = min(edge, count)
        cloud = min(cloud, count - edge)
        means, scores = self.assess(rows, explore, scored=edge > 0 or not self.cloud_by_mean)
        if edge:
            self.pick_for_edge(scores, edge, action, explore)
        if cloud:
            values = means if self.cloud_by_mean else scores
            take_lowest(_plain(values), cloud, 1 + CLOUD_NODE, action)
        if edge + cloud:
            picked = action[:count].nonzero()[0]
            self._predictions.append((waiting[picked], self.seconds(means[picked])))
            if explore:
                self.explore_rows(rows[picked])

    def probabilities(
        self, observation: Observation, info: Info, explore: bool = True
    ) -> NDArray[np.float64] | None:
        """Returns how likely each choice is; see `Agent.probabilities`."""
        if not self.env.config.is_pair:

            def draw(rows: Indices) -> tuple[Floats, Floats]:
                means, scores = self.drawn_scores(self._table[rows], explore)
                return self.seconds(means), scores

            return self._routing.probabilities(observation, draw)
        plan = Plan(self.env.simulator)
        waiting = np.array(plan.waiting, np.int64)
        likely = Likelihood(len(plan.action))
        if len(waiting) and self._calls.has(info):
            contexts = self._table[self.env.candidates()["row"][waiting]]
            room = plan.batch_room, plan.cloud_room
            likely.table[waiting] = self.choice_table(contexts, *room, explore)
        return likely.table

    def choice_table(self, contexts: Contexts, batch: int, cloud: int, explore: bool) -> Floats:
        """Returns the probabilities of the choices (n, 3): of one that draws no lots, 0 and 1.

        Args:
            contexts: Of the candidates that wait (n, D).
            batch: How many the edge takes.
            cloud: How many the cloud takes.
            explore: Whether it explores.
        """
        means, scores = self.evaluate(contexts, explore)
        return batch_and_rest(scores, means if self.cloud_by_mean else scores, batch, cloud)

    def drawn_scores(self, contexts: Contexts, explore: bool) -> tuple[Floats, Floats]:
        """Returns predictions (n,) and scores as they may be drawn (draws, n), changing nothing.

        Args:
            contexts: Of the candidates that wait (n, D).
            explore: Whether it explores.
        """
        means, scores = self.evaluate(contexts, explore)
        return means, scores[np.newaxis]

    def route(self, plan: ClusterPlan, observation: Observation, explore: bool) -> None:
        """Sends candidates, lowest scores first, to the nodes predicted to finish them soonest."""
        self._explore = explore
        del observation
        waiting = np.array(plan.waiting, np.int64)
        if not len(waiting):
            return
        known = self.env.candidates()[waiting]
        means, scores = self.assess(known["row"].copy(), explore)
        times = self.seconds(means)
        order = np.argsort(scores, kind="stable")
        sent = order[: len(self._routing.send(plan, order, times))]
        if len(sent):
            self._predictions.append((known["request"][sent], times[sent]))
            if explore:
                self.explore_rows(known["row"][sent])

    def pick_for_edge(
        self, scores: Floats, room: int, action: NDArray[np.int64], explore: bool
    ) -> None:
        """Sends candidates to the edge, by filling the action: those of the lowest scores."""
        del explore
        take_lowest(_plain(scores), room, 1 + EDGE_NODE, action)

    def observe(self, completions: NDArray[np.void]) -> bool:
        """Learns from what finished; asks for a new ranking when one is due."""
        super().observe(completions)
        self._routing.observe(completions)
        # Copies: sums of numbers that do not lie side by side differ in their last bits.
        return self.learn_rows(completions["row"].copy(), completions["base_latency"].copy())

    def learn_rows(self, rows: Indices, times: Floats) -> bool:
        """Learns from dataset rows (n,) that took so long (n,), s; returns what `observe` does."""
        if not len(rows) or not self._explore:
            return False
        self.take_in(rows, times)
        self._completed += len(rows)
        return self._ranking_is_due()

    def _ranking_is_due(self) -> bool:
        """Whether the queue is to be ranked anew; if so, sets when to do it the next time."""
        if self._completed < self._next_ranking:
            return False
        self._next_ranking = min(2 * self._completed, self._completed + self.rerank_every)
        return True

    def assess(self, rows: Indices, explore: bool, scored: bool = True) -> tuple[Floats, Floats]:
        """Returns predictions and scores of dataset rows (n,): see `evaluate`.

        Args:
            rows: Which rows.
            explore: As for `evaluate`.
            scored: Whether the scores will be looked at; they may be anything otherwise.
        """
        del scored
        return self.evaluate(self._table[rows], explore)

    def take_in(self, rows: Indices, times: Floats) -> None:
        """Learns from completed dataset rows (n,) and their times (n,), s."""
        self.learn(self._table[rows], times)

    def explore_rows(self, rows: Indices) -> None:
        """Updates the exploration statistics with dataset rows (n,) that were dispatched."""
        self.update_exploration(self._table[rows])

    def rows_changed(self, rows: Indices) -> None:
        """Reads the embeddings of rows anew."""
        self._table[rows] = self.env.simulator.embeddings[rows]

    def forget_predictions(self) -> None:
        """Forgets what was predicted for the requests dispatched."""
        self._predictions.clear()

    def predicted_times(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Returns what was predicted for the requests dispatched; see `Agent.predicted_times`."""
        if not self._predictions:
            return super().predicted_times()
        requests, times = zip(*self._predictions, strict=True)
        return np.concatenate(requests), np.concatenate(times)

    def save(self, path: str | Path) -> None:
        """Writes settings and what was learnt to one file; complete or not at all.

        Raises:
            RuntimeError: Before the first episode, when there is no model yet.
        """
        if self._width is None:
            raise RuntimeError(f"agent {self.name!r} has no model to save before its first episode")
        super().save(path)

    @abstractmethod
    def build(self, width: int, rng: np.random.Generator) -> None:
        """Makes the model, untrained, for contexts of the given width."""

    @abstractmethod
    def evaluate(self, contexts: Contexts, explore: bool) -> tuple[Floats, Floats]:
        """Returns predictions and scores of contexts (n, D), each (n,); lower is sooner."""

    @abstractmethod
    def seconds(self, predictions: Floats) -> Floats:
        """Returns what `evaluate` predicts (n,) in s; NaN before there is anything to go by."""

    @abstractmethod
    def update_exploration(self, contexts: Contexts) -> None:
        """Updates the exploration statistics with what was dispatched (n, D)."""

    @abstractmethod
    def learn(self, contexts: Contexts, times: Floats) -> None:
        """Updates the model with completed requests: contexts (n, D) and times (n,), s."""


def _plain(values: Floats) -> Floats:
    """Returns values as compiled code takes them, whatever a model of a user's own returns."""
    if values.dtype == np.float64 and values.flags.carray:
        return values
    return np.require(values, np.float64, ("C", "A", "W"))
