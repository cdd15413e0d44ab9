"""The latency estimator that the neural bandits share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.schedulers.bandits.bandit import Contexts, Floats
from agents.schedulers.bandits.models.mlp import MLP
from agents.schedulers.bandits.models.moments import RunningMoments
from edgecloud_gym.checks import MOST, WIDEST, check_integer, check_number
from edgecloud_gym.wording import shown


@dataclass(frozen=True)
class Training:
    """How the network is trained; the defaults are those of the paper's code where it has them.

    Attributes:
        hidden: Widths of the hidden layers.
        learning_rate: Adam's step size.
        batch_size: Samples per step.
        buffer_size: Completed requests kept.
        train_every: Completed requests per Adam step.
        discount: What a sample weighs against the next one, in the standardisation and in the
            choice of batches; 1 forgets nothing, less follows drift.
    """

    hidden: Sequence[int] = (256, 256)
    learning_rate: float = 1e-3
    batch_size: int = 32
    buffer_size: int = 10_000
    train_every: int = 5
    discount: float = 1.0

    def __post_init__(self) -> None:
        check_number("learning_rate", self.learning_rate, above=0)
        for name in ("batch_size", "buffer_size", "train_every"):
            check_integer(name, getattr(self, name), least=1, most=MOST)
        check_number("discount", self.discount, above=0, most=1)
        if not self.hidden:
            raise ValueError(f"hidden={shown(self.hidden)}: must name at least one layer")
        for width in self.hidden:
            check_integer("hidden", width, least=1, most=WIDEST)


class LatencyEstimator:
    """Predicts standardised log times of requests from their embeddings.

    Trained by Adam (D. P. Kingma & J. Ba, ICLR 2015) on Huber's loss, with threshold 1, of log
    times standardised by running moments: times are heavy-tailed, and squared seconds would let a
    few long requests decide. Targets are standardised when they are used, so that a change of the
    moments applies to the whole buffer. Training is synchronous and counts samples, not time: the
    same completions give the same network.

    Attributes:
        network: The network.
        moments: Running moments of the log times.
        seen: Completed requests seen.
        steps: Training steps taken.
        contexts: Contexts of the last completed requests, a ring, float32 (buffer_size, D).
        logs: Their log times, float64 (buffer_size,).
        rng: Draws the batches.
    """

    def __init__(self, width: int, training: Training, rng: np.random.Generator) -> None:
        """Builds an untrained estimator of contexts of the given width."""
        self.training = training
        self.rng = rng
        self.network = MLP((width, *training.hidden, 1), rng, rows=training.batch_size)
        self.moments = RunningMoments(training.discount)
        self.seen = 0
        self.contexts = np.zeros((training.buffer_size, width), np.float32)
        self.logs = np.zeros(training.buffer_size)
        self.steps = 0

    def seed(self, rng: np.random.Generator) -> None:
        """Draws batches from ``rng`` from now on."""
        self.rng = rng

    def add(self, contexts: Contexts, times: Floats) -> None:
        """Takes in completed requests, contexts (n, D) and times (n,), s, and trains when due."""
        logs = np.log(times)
        self.moments.update(logs)
        size = self.training.buffer_size
        for context, log in zip(contexts, logs, strict=True):
            self.contexts[self.seen % size] = context
            self.logs[self.seen % size] = log
            self.seen += 1
            if self.seen % self.training.train_every == 0:
                self._train()

    def buffered(self) -> tuple[Contexts, Floats]:
        """Returns the contexts (n, D) and times (n,), s, that the buffer holds."""
        count = min(self.seen, self.training.buffer_size)
        return self.contexts[:count], np.exp(self.logs[:count])

    def _train(self) -> None:
        batch = self._draw_batch()
        target = (self.logs[batch] - self.moments.mean) / self.moments.std
        self.steps += 1
        self.network.train(
            self.contexts,
            batch,
            target.astype(np.float32),
            self.training.learning_rate,
            self.steps,
        )

    def _draw_batch(self) -> NDArray[np.int64]:
        """Draws samples of the buffer, with replacement, the recent ones more often if discounting.

        A sample of age k is drawn in proportion to discount^k.
        """
        held = min(self.seen, self.training.buffer_size)
        size = self.training.batch_size
        if self.training.discount == 1.0:
            return self.rng.integers(held, size=size)
        ages = self.rng.geometric(1.0 - self.training.discount, size) - 1
        return (self.seen - 1 - ages % held) % self.training.buffer_size

    def state(self) -> dict[str, NDArray[Any]]:
        """Returns all but the random state, as arrays; training goes on from there."""
        count = min(self.seen, self.training.buffer_size)
        return {
            "parameters": self.network.parameters,
            "adam_step": np.array(self.steps, np.float32),
            **{f"adam_{name}": array for name, array in self.network.moments().items()},
            "seen": np.array(self.seen),
            "moments": self.moments.state(),
            "contexts": self.contexts[:count],
            "logs": self.logs[:count],
        }

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Takes over what `state` returned."""
        self.network.parameters = state["parameters"]
        self.steps = int(state["adam_step"])
        self.network.restore_moments(
            {name: state[f"adam_{name}"] for name in self.network.moments()}
        )
        self.seen = int(state["seen"])
        self.moments.restore(state["moments"])
        count = len(state["logs"])
        self.contexts[:count] = state["contexts"]
        self.logs[:count] = state["logs"]
