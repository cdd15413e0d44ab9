"""The latency estimator that the neural bandits share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from agents.bandit import Contexts, Floats, positive
from agents.mlp import MLP
from agents.moments import RunningMoments

_ADAM: Final = (0.9, 0.999, 1e-8)  # decay of the two moments, and epsilon


@dataclass(frozen=True)
class Training:
    """How the network is trained; the defaults are the reference's where it has them.

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
        for name in ("learning_rate", "batch_size", "buffer_size", "train_every", "discount"):
            positive(name, getattr(self, name))
        if self.discount > 1.0:
            raise ValueError(f"discount={self.discount!r}: must be at most 1")
        if not self.hidden or min(self.hidden) < 1:
            raise ValueError(f"hidden={self.hidden!r}: must name at least one layer, all >= 1")


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
    """

    def __init__(self, width: int, training: Training, rng: np.random.Generator) -> None:
        """Builds an untrained estimator of contexts of the given width."""
        self.training = training
        self._rng = rng
        self.network = MLP((width, *training.hidden, 1), rng)
        self.moments = RunningMoments(training.discount)
        self.seen = 0
        self._contexts = np.zeros((training.buffer_size, width), np.float32)
        self._logs = np.zeros(training.buffer_size)
        self._mean = torch.zeros_like(self.network.parameters)
        self._square = torch.zeros_like(self.network.parameters)
        self._steps = 0

    def seed(self, rng: np.random.Generator) -> None:
        """Draws batches from ``rng`` from now on."""
        self._rng = rng

    def predict(self, contexts: Contexts) -> Floats:
        """Returns standardised log times (n,) of contexts (n, D)."""
        output = self.network.activations(torch.from_numpy(contexts))[-1]
        return output.numpy()[:, 0].astype(np.float64)

    def seconds(self, contexts: Contexts) -> Floats | None:
        """Returns predicted times (n,), s; ``None`` before the first time was seen."""
        if self.seen == 0:
            return None
        return np.exp(self.moments.mean + self.moments.std * self.predict(contexts))

    def add(self, contexts: Contexts, times: Floats) -> None:
        """Takes in completed requests, contexts (n, D) and times (n,), s, and trains when due."""
        logs = np.log(times)
        self.moments.update(logs)
        size = self.training.buffer_size
        for context, log in zip(contexts, logs, strict=True):
            self._contexts[self.seen % size] = context
            self._logs[self.seen % size] = log
            self.seen += 1
            if self.seen % self.training.train_every == 0:
                self._train()

    def buffered(self) -> tuple[Contexts, Floats]:
        """Returns the contexts (n, D) and times (n,), s, that the buffer holds."""
        count = min(self.seen, self.training.buffer_size)
        return self._contexts[:count], np.exp(self._logs[:count])

    def _train(self) -> None:
        batch = self._draw_batch()
        target = (self._logs[batch] - self.moments.mean) / self.moments.std
        activations = self.network.activations(torch.from_numpy(self._contexts[batch]))
        error = activations[-1] - torch.from_numpy(target.astype(np.float32))[:, None]
        # The derivative of Huber's loss is the error, cut off at its threshold.
        output = error.clamp_(-1.0, 1.0) / len(batch)
        self._adam_step(self.network.gradient(activations, output))

    def _draw_batch(self) -> NDArray[np.int64]:
        """Draws samples of the buffer, with replacement, the recent ones more often if discounting.

        A sample of age k is drawn in proportion to discount^k.
        """
        held = min(self.seen, self.training.buffer_size)
        size = self.training.batch_size
        if self.training.discount == 1.0:
            return self._rng.integers(held, size=size)
        ages = self._rng.geometric(1.0 - self.training.discount, size) - 1
        return (self.seen - 1 - ages % held) % self.training.buffer_size

    def _adam_step(self, gradient: torch.Tensor) -> None:
        first, second, epsilon = _ADAM
        self._steps += 1
        self._mean.lerp_(gradient, 1.0 - first)
        self._square.mul_(second).addcmul_(gradient, gradient, value=1.0 - second)
        step = self.training.learning_rate / (1.0 - first**self._steps)
        root = (self._square / (1.0 - second**self._steps)).sqrt_().add_(epsilon)
        self.network.parameters.addcdiv_(self._mean, root, value=-step)

    def state(self) -> dict[str, NDArray[Any]]:
        """Returns all but the random state, as arrays; training goes on from there."""
        count = min(self.seen, self.training.buffer_size)
        return {
            "parameters": self.network.parameters.numpy(),
            "adam_mean": self._mean.numpy(),
            "adam_square": self._square.numpy(),
            "counts": np.array([self.seen, self._steps]),
            "moments": self.moments.state(),
            "contexts": self._contexts[:count],
            "logs": self._logs[:count],
        }

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Takes over what `state` returned."""
        for tensor, name in (
            (self.network.parameters, "parameters"),
            (self._mean, "adam_mean"),
            (self._square, "adam_square"),
        ):
            tensor.numpy()[...] = state[name]
        self.seen, self._steps = (int(count) for count in state["counts"])
        self.moments.restore(state["moments"])
        count = len(state["logs"])
        self._contexts[:count] = state["contexts"]
        self._logs[:count] = state["logs"]
