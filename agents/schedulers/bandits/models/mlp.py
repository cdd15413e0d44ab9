"""A ReLU network with its gradients written out, and the diagonal exploration width they give.

For layers l = 1..L with inputs a_{l-1}, the signals of the scalar output are delta_L = 1 and
delta_{l-1} = (delta_l W_l) * 1[a_{l-1} > 0]; a weight's gradient is delta_l a_{l-1}^T, a bias's is
delta_l. Squares factorise likewise, so that sums of squared gradients over all parameters, weighted
or not, take two matrix products per layer and no gradient per request.

The arithmetic is compiled: `agents.schedulers.bandits.compiled.network`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from itertools import pairwise
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from agents.schedulers.bandits.compiled import network as compiled
from agents.schedulers.bandits.compiled.tile import WIDTH

Singles: TypeAlias = NDArray[np.float32]
Indices: TypeAlias = NDArray[np.int64]
Layer: TypeAlias = tuple[Any, Any]  # weights (out, in), biases (out,)

_NONE: Final = np.zeros(0, np.float32)
_ONE: Final = np.float32(1.0)

ROWS: Final = 48  # requests whose activations are held at a time, at least


def layers_of(flat: Any, sizes: Sequence[int]) -> list[Layer]:
    """Returns views of a flat vector as the layers of a network of the given widths."""
    layers = []
    start = 0
    for fan_in, fan_out in pairwise(sizes):
        end = start + fan_in * fan_out
        layers.append((flat[start:end].reshape(fan_out, fan_in), flat[end : end + fan_out]))
        start = end + fan_out
    return layers


def parameter_count(sizes: Sequence[int]) -> int:
    """Returns the number of weights and biases of a network of the given widths."""
    return sum((fan_in + 1) * fan_out for fan_in, fan_out in pairwise(sizes))


class MLP:
    """A ReLU network from contexts to one number, with Adam's moments of its training.

    Attributes:
        sizes: Widths of input, hidden layers and output.
        arrays: Where it lies in memory, padded, as compiled code reads it.
        version: How often it has changed.
        ones: As many as requests whose activations are held at a time, float32.
    """

    def __init__(self, sizes: Sequence[int], rng: np.random.Generator, rows: int = ROWS) -> None:
        """Draws weights from N(0, 2 / fan-in) (He et al., 2015); the output starts near 0.

        Args:
            sizes: Widths of input, hidden layers and output, which is 1.
            rng: Draws the weights.
            rows: Samples of a training step, at most.
        """
        self.sizes = tuple(sizes)
        self.version = 0
        self.arrays = _allocate(self.sizes, max(rows, ROWS))
        self.ones = np.ones(max(rows, ROWS), np.float32)
        self._outputs = np.empty_like(self.ones)
        flat = np.zeros(parameter_count(sizes), np.float32)
        layers = layers_of(flat, sizes)
        for weights, _ in layers:
            scale = np.sqrt(2.0 / weights.shape[1])
            weights[...] = rng.normal(0.0, scale, weights.shape)
        layers[-1][0][...] *= np.float32(0.1)
        self.parameters = flat

    def copy(self) -> MLP:
        """Returns a network of the same parameters, untrained as to Adam's moments."""
        twin = MLP(self.sizes, np.random.default_rng(0))
        twin.parameters = self.parameters
        return twin

    @property
    def parameters(self) -> Singles:
        """All weights and biases, flat float32, as `layers_of` reads them; a copy."""
        return self.unpadded(self.arrays.values)

    @parameters.setter
    def parameters(self, flat: Singles) -> None:
        self.pad(flat, self.arrays.values)
        start = 0
        layers = _padded_layers(self.arrays.values, self.sizes)
        for weights, _ in layers[1:-1]:
            self.arrays.turned[start : start + weights.size] = weights.T.ravel()
            start += weights.size
        self.version += 1

    def moments(self) -> dict[str, Singles]:
        """Returns Adam's moments, flat, as `layers_of` reads them; copies."""
        return {
            "exp_avg": self.unpadded(self.arrays.first),
            "exp_avg_sq": self.unpadded(self.arrays.second),
        }

    def restore_moments(self, state: Mapping[str, Singles]) -> None:
        """Takes over what `moments` returned."""
        self.pad(state["exp_avg"], self.arrays.first)
        self.pad(state["exp_avg_sq"], self.arrays.second)

    def unpadded(self, padded: Singles) -> Singles:
        """Returns an array that lies as the parameters do in the order of `layers_of`."""
        flat = np.empty(parameter_count(self.sizes), np.float32)
        for (weights, biases), (w, b) in zip(
            layers_of(flat, self.sizes), _padded_layers(padded, self.sizes), strict=True
        ):
            weights[...] = w[: weights.shape[1], : weights.shape[0]].T
            biases[...] = b[: len(biases)]
        return flat

    def pad(self, flat: Singles, padded: Singles) -> None:
        """Writes what `unpadded` returns to where it lies.

        Raises:
            ValueError: If there are too few or too many numbers.
        """
        expected = parameter_count(self.sizes)
        if flat.shape != (expected,):
            raise ValueError(f"{flat.shape} numbers for a network of {expected}")
        for (weights, biases), (w, b) in zip(
            layers_of(flat, self.sizes), _padded_layers(padded, self.sizes), strict=True
        ):
            w[: weights.shape[1], : weights.shape[0]] = weights.T
            b[: len(biases)] = biases

    def outputs(self, contexts: Singles, rows: Indices) -> Singles:
        """Returns the output for rows (n,) of contexts (any, D), C-ordered float32."""
        found = np.empty(len(rows), np.float32)
        self._run(compiled.PREDICT, contexts, rows, outputs=found)
        return found

    def outputs_and_widths(self, contexts: Singles, rows: Indices) -> tuple[Singles, Singles]:
        """Returns the same and the exploration widths sqrt(sum g^2 / (m U)), both (n,)."""
        found, widths = np.empty(len(rows), np.float32), np.empty(len(rows), np.float32)
        self._run(compiled.PREDICT_WIDTHS, contexts, rows, outputs=found, widths=widths)
        return found, widths

    def last_hidden(self, contexts: Singles) -> Singles:
        """Returns the last hidden layer's activations of contexts (n, D), C-ordered float32."""
        width, capacity = self.sizes[-2], len(self.ones)
        found = np.empty((len(contexts), width), np.float32)
        for start in range(0, len(contexts), capacity):
            part = contexts[start : start + capacity]
            self.outputs(part, np.arange(len(part)))
            units = int(self.arrays.sizes[-1])
            begin = len(self.arrays.work) - capacity * units
            layer = self.arrays.work[begin : begin + len(part) * units].reshape(len(part), units)
            found[start : start + capacity] = layer[:, :width]
        return found

    def train(
        self, contexts: Singles, batch: Indices, targets: Singles, learning_rate: float, step: int
    ) -> None:
        """One step of Adam (D. P. Kingma & J. Ba, ICLR 2015) on Huber's loss, threshold 1.

        Args:
            contexts: All there are (any, D), C-ordered float32.
            batch: Which of them (n,).
            targets: What the outputs should be (n,).
            learning_rate: Adam's step size.
            step: How many steps there have been, this one included.
        """
        rate = np.float32(learning_rate / (1.0 - 0.9**step))
        correction = np.float32(1.0 / np.sqrt(1.0 - 0.999**step))
        self._run(compiled.TRAIN, contexts, batch, targets, rate=rate, correction=correction)
        self.version += 1

    def add_precision(self, contexts: Singles, rows: Indices) -> None:
        """Adds the squared gradients of rows (n,) of contexts (any, D), over m, to U."""
        self._run(compiled.ADD_PRECISION, contexts, rows)

    def _run(
        self,
        task: int,
        contexts: Singles,
        rows: Indices,
        targets: Singles = _NONE,
        outputs: Singles | None = None,
        widths: Singles = _NONE,
        rate: np.float32 = _ONE,
        correction: np.float32 = _ONE,
    ) -> None:
        _compiled()(
            task,
            self.arrays,
            contexts,
            rows,
            self.ones,
            targets,
            self._outputs if outputs is None else outputs,
            widths,
            rate,
            correction,
        )


class DiagonalPrecision:
    """U = lambda + sum of g^2 / m, per parameter, over dispatched requests.

    g is the gradient of the network's output at a request's context and m the hidden width (D.
    Zhou, L. Li & Q. Gu, Neural contextual bandits with UCB-based exploration, ICML 2020, equation
    4.1 with the diagonal of their matrix). U lies with the network.
    """

    def __init__(self, network: MLP, initial: float) -> None:
        """Starts at U = ``initial``."""
        self._network = network
        self._initial = np.float32(initial)
        self.values = np.full(parameter_count(network.sizes), initial, np.float32)

    @property
    def values(self) -> Singles:
        """U, flat, as `layers_of` reads it; a copy."""
        return self._network.unpadded(self._network.arrays.precision)

    @values.setter
    def values(self, flat: Singles) -> None:
        arrays = self._network.arrays
        arrays.precision[...] = self._initial  # of the padding: anything but 0
        self._network.pad(flat, arrays.precision)
        np.divide(np.float32(1.0), arrays.precision, out=arrays.inverse)

    def add(self, contexts: Singles, rows: Indices, discount: float = 1.0) -> None:
        """Adds requests; with a discount < 1, what U holds beyond its start fades per request.

        Args:
            contexts: Contexts (any, D), C-ordered float32.
            rows: Which of them (n,).
            discount: What is kept of a request by the next one.
        """
        if discount < 1.0:
            values = self._network.arrays.precision
            values -= self._initial
            values *= np.float32(discount ** len(rows))
            values += self._initial
        self._network.add_precision(contexts, rows)


def _padded(width: int) -> int:
    return -(-width // WIDTH) * WIDTH


def _padded_layers(values: Singles, sizes: Sequence[int]) -> list[tuple[Singles, Singles]]:
    """Returns views of padded arrays as weights (in, out) and biases (out,)."""
    padded = [sizes[0], *map(_padded, sizes[1:-1]), 1]
    layers = []
    start = 0
    for fan_in, fan_out in pairwise(padded):
        end = start + fan_in * fan_out
        layers.append((values[start:end].reshape(fan_in, fan_out), values[end : end + fan_out]))
        start = end + fan_out
    return layers


def _allocate(sizes: Sequence[int], rows: int) -> compiled.Arrays:
    padded = [sizes[0], *map(_padded, sizes[1:-1])]
    count = parameter_count([*padded, 1])
    turned = sum(a * b for a, b in pairwise(padded[1:]))

    def zeros(length: int) -> Singles:
        return np.zeros(length, np.float32)

    return compiled.Arrays(
        sizes=np.array(padded, np.int64),
        values=zeros(count),
        turned=zeros(turned),
        first=zeros(count),
        second=zeros(count),
        precision=np.ones(count, np.float32),
        inverse=np.ones(count, np.float32),
        work=zeros(rows * sum(padded)),
        signals=zeros(rows * sum(padded)),
        squares=zeros(rows * sum(padded)),
        spare=zeros(max(rows, compiled.CHUNK) * max(padded) + 1),
        scale=np.float32(1.0 / sizes[-2]),
    )


@cache
def _compiled() -> Callable[..., None]:
    """Compiles, or loads, what all networks share: their arrays are of the same types."""
    return compiled.run.compiled_for(_example())


def run_address() -> int:
    """Returns where its machine code is, for compiled code that calls it."""
    return compiled.run.address_for(_example())


def _example() -> tuple[Any, ...]:
    arrays, rows = _allocate((1, 1, 1), 1), np.zeros(1, np.int64)
    contexts = np.zeros((1, 1), np.float32)
    return 0, arrays, contexts, rows, _NONE, _NONE, _NONE, _NONE, _ONE, _ONE
