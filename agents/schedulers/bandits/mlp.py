"""A ReLU network with its gradients written out, and the diagonal exploration width they give.

For layers l = 1..L with inputs a_{l-1}, the signals of the scalar output are delta_L = 1 and
delta_{l-1} = (delta_l W_l) * 1[a_{l-1} > 0]; a weight's gradient is delta_l a_{l-1}^T, a bias's is
delta_l. Squares factorise likewise, so that sums of squared gradients over all parameters, weighted
or not, take two matrix products per layer and no gradient per request.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import linear

Layer: TypeAlias = tuple[torch.Tensor, torch.Tensor]  # weights (out, in), biases (out,)


def layers_of(flat: torch.Tensor, sizes: Sequence[int]) -> list[Layer]:
    """Returns views of a flat vector as the layers of a network of the given widths."""
    layers = []
    start = 0
    for fan_in, fan_out in pairwise(sizes):
        end = start + fan_in * fan_out
        layers.append((flat[start:end].view(fan_out, fan_in), flat[end : end + fan_out]))
        start = end + fan_out
    return layers


def parameter_count(sizes: Sequence[int]) -> int:
    """Returns the number of weights and biases of a network of the given widths."""
    return sum((fan_in + 1) * fan_out for fan_in, fan_out in pairwise(sizes))


class MLP:
    """A ReLU network from contexts to one number.

    Attributes:
        sizes: Widths of input, hidden layers and output.
        parameters: All weights and biases, flat float32.
    """

    def __init__(self, sizes: Sequence[int], rng: np.random.Generator) -> None:
        """Draws weights from N(0, 2 / fan-in) (He et al., 2015); the output starts near 0."""
        self.sizes = tuple(sizes)
        self.parameters = torch.zeros(parameter_count(sizes))
        self._layers = layers_of(self.parameters, sizes)
        for weights, _ in self._layers:
            scale = np.sqrt(2.0 / weights.shape[1])
            drawn = rng.normal(0.0, scale, tuple(weights.shape)).astype(np.float32)
            weights.copy_(torch.from_numpy(drawn))
        self._layers[-1][0].mul_(0.1)

    def copy(self) -> MLP:
        """Returns a network of the same parameters."""
        twin = MLP(self.sizes, np.random.default_rng(0))
        twin.parameters.copy_(self.parameters)
        return twin

    def activations(self, contexts: torch.Tensor) -> list[torch.Tensor]:
        """Returns each layer's input and the output: (n, D), (n, H1), ..., (n, 1)."""
        found = [contexts]
        *hidden, last = self._layers
        for weights, biases in hidden:
            found.append(linear(found[-1], weights, biases).relu_())
        found.append(linear(found[-1], *last))
        return found

    def signals(
        self, activations: Sequence[torch.Tensor], output: torch.Tensor
    ) -> list[torch.Tensor]:
        """Returns delta_1, ..., delta_L for given signals ``output`` (n, 1) at the output."""
        found = [output]
        for (weights, _), inputs in zip(
            reversed(self._layers[1:]), reversed(activations[1:-1]), strict=True
        ):
            found.append((found[-1] @ weights) * (inputs > 0))
        return found[::-1]

    def gradient(self, activations: Sequence[torch.Tensor], output: torch.Tensor) -> torch.Tensor:
        """Returns the flat gradient of sum(output * network), ``output`` fixed (n, 1)."""
        flat = torch.empty_like(self.parameters)
        signals = self.signals(activations, output)
        layers = layers_of(flat, self.sizes)
        for (weights, biases), delta, inputs in zip(layers, signals, activations[:-1], strict=True):
            torch.mm(delta.t(), inputs, out=weights)
            torch.sum(delta, 0, out=biases)
        return flat


class DiagonalPrecision:
    """U = lambda + sum of g^2 / m, per parameter, over dispatched requests.

    g is the gradient of the network's output at a request's context and m the hidden width (D.
    Zhou, L. Li & Q. Gu, Neural contextual bandits with UCB-based exploration, ICML 2020, equation
    4.1 with the diagonal of their matrix).

    Attributes:
        values: U, flat.
    """

    def __init__(self, network: MLP, initial: float) -> None:
        """Starts at U = ``initial``."""
        self._network = network
        self._scale = 1.0 / network.sizes[-2]
        self._initial = initial
        self.values = torch.full_like(network.parameters, initial)
        self._refresh()

    def _refresh(self) -> None:
        self._inverse = layers_of(self.values.reciprocal(), self._network.sizes)

    def width(self, activations: Sequence[torch.Tensor]) -> torch.Tensor:
        """Returns sqrt(sum g^2 / (m U)) of each request (n,)."""
        total = torch.zeros(len(activations[0]))
        for (weights, biases), delta, inputs in self._squares(self._inverse, activations):
            total += (delta * linear(inputs, weights, biases)).sum(1)
        return (total * self._scale).sqrt_()

    def add(self, activations: Sequence[torch.Tensor], discount: float = 1.0) -> None:
        """Adds requests; with a discount < 1, what U holds beyond its start fades per request."""
        if discount < 1.0:
            kept = discount ** len(activations[0])
            self.values.sub_(self._initial).mul_(kept).add_(self._initial)
        layers = layers_of(self.values, self._network.sizes)
        for (weights, biases), delta, inputs in self._squares(layers, activations):
            weights.addmm_(delta.t(), inputs, alpha=self._scale)
            biases.add_(delta.sum(0), alpha=self._scale)
        self._refresh()

    def _squares(
        self, layers: Sequence[Layer], activations: Sequence[torch.Tensor]
    ) -> list[tuple[Layer, torch.Tensor, torch.Tensor]]:
        """Returns layers with the squares of their signals and inputs."""
        ones = torch.ones_like(activations[-1])
        signals = self._network.signals(activations, ones)
        return [
            (layer, delta.square(), inputs.square())
            for layer, delta, inputs in zip(layers, signals, activations[:-1], strict=True)
        ]

    def restore(self, values: NDArray[np.float32]) -> None:
        """Takes over ``values``."""
        self.values.numpy()[...] = values
        self._refresh()
