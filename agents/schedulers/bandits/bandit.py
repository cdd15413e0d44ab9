"""What the bandits share: who learns what when, and how scores become decisions."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import Any, ClassVar, Final

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from agents.base import Info, Observation
from agents.schedulers.cluster_plan import ClusterPlan, least
from agents.schedulers.likelihood import Likelihood, batch_and_rest
from agents.schedulers.placement import Placement
from agents.schedulers.plan import Plan
from agents.schedulers.scheduler import Scheduler
from edgecloud_gym.checks import check_integer
from edgecloud_gym.config import Priority

Contexts = NDArray[np.float32]
Floats = NDArray[np.float64]

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
        self._table = self.env.simulator.embeddings
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
        self._placement = Placement(self.env.simulator)
        self._seen = np.zeros(2)  # output tokens and base latency (s) of what has finished

    def priority(self) -> Priority:
        """Orders the queue by score."""
        return self._score

    def _score(self, contexts: Contexts) -> Floats:
        return self.evaluate(contexts, self._explore)[1]

    def choose(self, plan: ClusterPlan, candidate: int) -> int | None:
        """Is not asked: `route` looks at all candidates together."""
        raise NotImplementedError

    def decide(self, plan: Plan, observation: Observation, info: Info, explore: bool) -> None:
        """Sends the lowest scores to the edge, then the best that are left to the cloud."""
        del info
        self._explore = explore
        waiting = np.array(plan.waiting, np.int64)
        if not len(waiting):
            return
        contexts = self._contexts(observation, waiting)
        means, scores = self.evaluate(contexts, explore)
        room = plan.batch_room
        if room:
            plan.to_edge(self.edge_picks(scores, room, explore))
        if plan.cloud_room:
            order = np.argsort(means if self.cloud_by_mean else scores, kind="stable")
            rest = order[plan.action[order] == 0]
            plan.to_cloud(rest[: plan.cloud_room].tolist())
        picked = np.flatnonzero(plan.action[waiting])
        if len(picked):
            requests = self.env.candidates()["request"][waiting[picked]]
            self._predictions.append((requests, self.seconds(means[picked])))
            if explore:
                self.update_exploration(contexts[picked])

    def probabilities(
        self, observation: Observation, info: Info, explore: bool = True
    ) -> Floats | None:
        """Returns how likely each choice is, for an edge and a cloud; see `Agent.probabilities`."""
        if not self.env.config.is_pair:
            return None
        plan = Plan(self.env.simulator)
        waiting = np.array(plan.waiting, np.int64)
        likely = Likelihood(len(plan.action))
        if len(waiting) and self._calls.has(info):
            contexts = self._contexts(observation, waiting)
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

    def route(self, plan: ClusterPlan, observation: Observation, explore: bool) -> None:
        """Sends candidates, lowest scores first, to the nodes predicted to finish them soonest."""
        self._explore = explore
        waiting = np.array(plan.waiting, np.int64)
        if not len(waiting):
            return
        contexts = self._contexts(observation, waiting)
        means, scores = self.evaluate(contexts, explore)
        times = self.seconds(means)
        known = self.env.candidates()[waiting]
        prompts = self.env.dataset.prompt_tokens
        sent = []
        for j in np.argsort(scores, kind="stable").tolist():
            if not len(plan.open):
                break
            prompt = 0 if prompts is None else int(prompts[known["row"][j]])
            plan.send(int(waiting[j]), self._soonest(plan, float(times[j]), prompt))
            sent.append(j)
        if sent:
            self._predictions.append((known["request"][sent], times[sent]))
            if explore:
                self.update_exploration(contexts[sent])

    def _soonest(self, plan: ClusterPlan, seconds: float, prompt_tokens: int) -> int:
        """Returns the node predicted to finish a request soonest, of those that take it.

        Before anything is known of times, the one with the shortest queue for its speed.
        """
        tokens, base = self._seen
        if not np.isfinite(seconds) or (self._placement.needs_tokens and not base):
            return least(plan.load, plan.open)
        answer = seconds * tokens / base if base else 0.0
        return least(self._placement.times(plan, seconds, prompt_tokens, answer), plan.open)

    def edge_picks(self, scores: Floats, room: int, explore: bool) -> list[int]:
        """Returns which candidates go to the edge: those of the lowest scores."""
        del explore
        picks: list[int] = np.argsort(scores, kind="stable")[:room].tolist()
        return picks

    def observe(self, completions: NDArray[np.void]) -> bool:
        """Learns from what finished; asks for a new ranking when one is due."""
        super().observe(completions)
        if len(completions) and "output_tokens" in (completions.dtype.names or ()):
            counted = completions[completions["output_tokens"] >= 0]
            self._seen += counted["output_tokens"].sum(), counted["base_latency"].sum()
        if not len(completions) or not self._explore:
            return False
        self.learn(self._table[completions["row"]], completions["base_latency"])
        self._completed += len(completions)
        if self._completed < self._next_ranking:
            return False
        self._next_ranking = min(2 * self._completed, self._completed + self.rerank_every)
        return True

    def _contexts(self, observation: Observation, waiting: NDArray[np.int64]) -> Contexts:
        if "embeddings" in observation:
            return np.asarray(observation["embeddings"][waiting])
        return self._table[observation["prompt_ids"][waiting]]

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
