"""Playing an episode of a neural bandit in compiled code, stretch by stretch."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from agents.rules.draws import random_source
from agents.schedulers.bandits.compiled.learner import Counts, Exploration, Learner
from agents.schedulers.bandits.compiled.play import play_learner
from agents.schedulers.bandits.models.estimator import LatencyEstimator
from agents.schedulers.bandits.models.mlp import run_address
from edgecloud_gym.simulator.rules import make_decision
from edgecloud_gym.simulator.simulator import Simulator

STEPS: Final = 1024  # of a stretch at most: a tenth of a second or two between two looks at signals
LARGEST_POOL: Final = 10_000  # candidates from which NumPy chooses as `several_below` does

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]


class LearnerPlayer:
    """Plays a simulator's one lane with an estimator that learns meanwhile.

    Args:
        simulator: Its lane 0 has begun an episode.
        estimator: What learns.
        table: Contexts of the dataset rows, float32 (rows, D).
        memory: Which version of the network has predicted each row, int64 (rows,), and what,
            float64 (rows,).
        rng: Draws whom the lot chooses.
        exploration: How it explores.
    """

    def __init__(
        self,
        simulator: Simulator,
        estimator: LatencyEstimator,
        table: NDArray[np.float32],
        memory: tuple[Indices, Floats],
        rng: np.random.Generator,
        exploration: Exploration,
    ) -> None:
        self._estimator = estimator
        self._simulator = simulator
        self._decision = make_decision(
            simulator,
            facts=np.empty((0, 0)),
            parameters=np.empty(0),
            memory=np.empty(0),
            random=random_source(rng),
            calls=np.full(1, -1),
        )
        self._learner = _make_learner(simulator, estimator, table, memory, exploration)
        self._rewards = np.empty(STEPS)
        self._everyone = np.ones(1, np.bool_)
        output = simulator.output()
        self._unwritten = output.buffers
        self._play = play_learner.compiled_for(self._arguments())

    def stretch(self, completed: int, ranking: int) -> tuple[list[float], int]:
        """Plays on, until the episode ends, a ranking is due or enough steps have been taken.

        Args:
            completed: Completed requests in this episode that it has learnt from so far.
            ranking: So many of which make the next ranking due.

        Returns:
            The rewards, and the new number of completed requests.
        """
        estimator, network = self._estimator, self._estimator.network
        counts, moments = self._learner.counts, self._learner.moments
        moments[:] = estimator.moments.state()
        counts[:] = Counts(
            network.version, estimator.steps, estimator.seen, completed, ranking, sent=0
        )
        played = self._play(*self._arguments())
        now = Counts(*counts.tolist())
        network.version, estimator.steps, estimator.seen = now.version, now.steps, now.seen
        estimator.moments.restore(moments)
        return self._rewards[:played].tolist(), now.completed

    def sent(self) -> tuple[Indices, Floats]:
        """Returns who was dispatched in the last stretch, and the times predicted for them (s)."""
        count = self._learner.counts[Counts().sent]
        return self._learner.sent[:count].copy(), np.exp(self._learner.log_times[:count])

    def _arguments(self) -> tuple[Any, ...]:
        actions = self._decision.action[np.newaxis]
        rest = (*self._simulator.arrays, *self._unwritten)
        step = self._simulator.step_address
        return step, self._decision, self._learner, self._rewards, self._everyone, actions, rest


def _make_learner(
    simulator: Simulator,
    estimator: LatencyEstimator,
    table: NDArray[np.float32],
    memory: tuple[Indices, Floats],
    exploration: Exploration,
) -> Learner:
    training, network = estimator.training, estimator.network
    known, remembered = memory
    candidates = simulator.config.candidate_pool_size
    capacity = max(candidates, len(network.ones))
    return Learner(
        run=run_address(),
        net=network.arrays,
        table=table,
        logs=np.log(simulator.dataset.base_latency),
        known=known,
        remembered=remembered,
        contexts=estimator.contexts,
        held=estimator.logs,
        moments=np.zeros(3),
        counts=np.zeros(len(Counts()), np.int64),
        exploration=exploration,
        discount=float(training.discount),
        learning_rate=float(training.learning_rate),
        train_every=training.train_every,
        random=random_source(estimator.rng),
        sent=np.empty(STEPS + candidates, np.int64),
        log_times=np.empty(STEPS + candidates),
        rows=np.empty(candidates, np.int64),
        fresh=np.empty(candidates, np.int64),
        means=np.empty(candidates),
        scores=np.empty(candidates),
        batch=np.empty(training.batch_size, np.int64),
        targets=np.empty(training.batch_size, np.float32),
        ones=network.ones,
        outputs=np.empty(capacity, np.float32),
        widths=np.empty(capacity, np.float32),
        nothing=np.empty(0, np.float32),
    )
