"""Compiled steps of a network: scores, exploration widths, training.

A network of hidden widths h1, ..., hL and one output lies flat in memory: for each hidden layer the
weights (inputs, units) and the biases (units,), then the weights of the output (hL,) and its bias.
The hidden widths are padded to vectors; what pads them is zero, and stays so. Moments of Adam and
the diagonal U of the exploration lie likewise.

The work space holds a number of rows at once, its *capacity*: the activations of all rows in one
layer, then those in the next.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

import numba
import numpy as np

from agents.schedulers.bandits.compiled.loops import (
    adam,
    add,
    add_multiple,
    copy,
    cut,
    dot,
    fill,
    multiply,
    reciprocal,
    rectify,
    square,
    turn,
)
from agents.schedulers.bandits.compiled.tile import add_product, set_product
from edgecloud_gym.simulator.compiled.cache import CompiledFunction

FOLDER: Final = Path(__file__).parent
CHUNK: Final = 24  # rows of weights whose gradient is kept close until they have been updated

# Tasks of `run`.
PREDICT: Final = 0  # outputs
PREDICT_WIDTHS: Final = 1  # outputs and exploration widths
TRAIN: Final = 2  # one step of Adam on the mean of Huber's loss, threshold 1
ADD_PRECISION: Final = 3  # squared gradients, over m, to U

_merged = numba.njit(inline="always", error_model="numpy")
_ONE = np.float32(1.0)
_ZERO = np.float32(0.0)


class Arrays(NamedTuple):
    """A network with what it needs to be trained, and work space.

    Attributes:
        sizes: Width of the contexts, then the padded widths of the hidden layers, int64 (L + 1,).
        values: Weights and biases, flat float32.
        turned: The weights of the second and further hidden layers, turned: (units, inputs).
        first: Adam's first moment, as ``values``.
        second: Its second moment.
        precision: U, as ``values``.
        inverse: 1 / U.
        work: Work space: activations of all rows, layer by layer.
        signals: Work space likewise: derivatives by the units.
        squares: Work space likewise.
        spare: Work space, room for a layer of all rows and for `CHUNK` rows of weights.
        scale: 1 / m, float32; m is the true width of the last hidden layer.
    """

    sizes: Any
    values: Any
    turned: Any
    first: Any
    second: Any
    precision: Any
    inverse: Any
    work: Any
    signals: Any
    squares: Any
    spare: Any
    scale: Any


@_merged
def _gather(table, rows, start, count, work):
    """Copies rows of a table (any, D) to the first layer of the work space."""
    width = table.shape[1]
    for i in range(count):
        copy(table[rows[start + i]], work[i * width : (i + 1) * width])


@_merged
def _forward(net, rows, capacity, outputs, start):
    """Computes all activations of what was gathered, and the outputs."""
    work = net.work
    at = source = 0
    for layer in range(len(net.sizes) - 1):
        inputs, units = net.sizes[layer], net.sizes[layer + 1]
        target = source + capacity * inputs
        biases = net.values[at + inputs * units : at + (inputs + 1) * units]
        for i in range(rows):
            copy(biases, work[target + i * units : target + (i + 1) * units])
        add_product(
            work, source, inputs, 1, net.values, at, units, inputs,
            work, target, units, rows, units,
        )  # fmt: skip
        rectify(work[target : target + rows * units])
        at += (inputs + 1) * units
        source = target
    last = net.sizes[-1]
    weights = net.values[at : at + last]
    for i in range(rows):
        hidden = work[source + i * last : source + (i + 1) * last]
        outputs[start + i] = dot(hidden, weights) + net.values[at + last]


@_merged
def _backward(net, rows, capacity, slopes):
    """Computes the derivatives by all hidden units, for the derivatives by the outputs."""
    work, signals = net.work, net.signals
    last = net.sizes[-1]
    place = len(work) - capacity * last
    weights = net.values[-1 - last : -1]
    for i in range(rows):
        here = signals[place + i * last : place + (i + 1) * last]
        fill(here, _ZERO)
        add_multiple(slopes[i], weights, here)
    cut(signals[place : place + rows * last], work[place : place + rows * last])
    turned = len(net.turned)
    for layer in range(len(net.sizes) - 2, 0, -1):
        inputs, units = net.sizes[layer], net.sizes[layer + 1]
        turned -= inputs * units
        below = place - capacity * inputs
        set_product(
            signals, place, units, 1, net.turned, turned, inputs, units,
            signals, below, inputs, rows, inputs,
        )  # fmt: skip
        cut(signals[below : below + rows * inputs], work[below : below + rows * inputs])
        place = below


@_merged
def _slopes_of_loss(targets, outputs, rows):
    """Replaces outputs by the derivatives of the mean of Huber's loss, threshold 1."""
    for i in range(rows):
        error = min(max(outputs[i] - targets[i], -_ONE), _ONE)
        outputs[i] = error / np.float32(rows)


@_merged
def _descend(net, rows, capacity, slopes, rate, correction):
    """One step of Adam, from the derivatives of the loss by outputs and units."""
    at = source = turned = 0
    for layer in range(len(net.sizes) - 1):
        inputs, units = net.sizes[layer], net.sizes[layer + 1]
        above = source + capacity * inputs
        begin = at
        for first in range(0, inputs, CHUNK):
            count = min(CHUNK, inputs - first)
            gradient = net.spare[: count * units]
            set_product(
                net.work, source + first, 1, inputs, net.signals, above, units, rows,
                net.spare, 0, units, count, units,
            )  # fmt: skip
            _step(net, at, gradient, rate, correction)
            at += count * units
        gradient = net.spare[:units]
        fill(gradient, _ZERO)
        for i in range(rows):
            add(net.signals[above + i * units : above + (i + 1) * units], gradient)
        _step(net, at, gradient, rate, correction)
        at += units
        if layer > 0:
            turn(net.values[begin:], net.turned[turned:], inputs, units)
            turned += inputs * units
        source = above
    last = net.sizes[-1]
    gradient = net.spare[: last + 1]
    fill(gradient, _ZERO)
    for i in range(rows):
        hidden = net.work[source + i * last : source + (i + 1) * last]
        add_multiple(slopes[i], hidden, gradient[:last])
        gradient[last] += slopes[i]
    _step(net, at, gradient, rate, correction)


@_merged
def _step(net, at, gradient, rate, correction):
    here = slice(at, at + len(gradient))
    adam(net.values[here], net.first[here], net.second[here], gradient, rate, correction)


@_merged
def _square_all(net, rows, capacity):
    """Computes the squares of all activations, and of the output's derivatives by all units."""
    place = 0
    for size in net.sizes:
        here = slice(place, place + rows * size)
        square(net.work[here], net.squares[here])
        square(net.signals[here], net.signals[here])
        place += capacity * size


@_merged
def _widths(net, rows, capacity, widths, start):
    """Writes sqrt(sum g^2 / (m U)) of the rows whose squares have been computed.

    A weight's gradient is the product of a unit's derivative and an activation: sums of squares
    over all weights of a layer take one matrix product.
    """
    last = net.sizes[-1]
    at = source = 0
    for i in range(rows):
        widths[start + i] = _ZERO
    for layer in range(len(net.sizes) - 1):
        inputs, units = net.sizes[layer], net.sizes[layer + 1]
        above = source + capacity * inputs
        biases = net.inverse[at + inputs * units : at + (inputs + 1) * units]
        for i in range(rows):
            copy(biases, net.spare[i * units : (i + 1) * units])
        add_product(
            net.squares, source, inputs, 1, net.inverse, at, units, inputs,
            net.spare, 0, units, rows, units,
        )  # fmt: skip
        for i in range(rows):
            signals = net.signals[above + i * units : above + (i + 1) * units]
            widths[start + i] += dot(signals, net.spare[i * units : (i + 1) * units])
        at += (inputs + 1) * units
        source = above
    for i in range(rows):
        squares = net.squares[source + i * last : source + (i + 1) * last]
        total = dot(squares, net.inverse[at : at + last]) + net.inverse[at + last]
        widths[start + i] = np.sqrt((widths[start + i] + total) * net.scale)


@_merged
def _add_precision(net, rows, capacity):
    """Adds the squares of the gradients of rows, over m, to U."""
    last = net.sizes[-1]
    scale = net.scale
    at = source = 0
    for layer in range(len(net.sizes) - 1):
        inputs, units = net.sizes[layer], net.sizes[layer + 1]
        above = source + capacity * inputs
        scaled = net.signals[above : above + rows * units]
        multiply(scale, scaled)
        for first in range(0, inputs, CHUNK):
            count = min(CHUNK, inputs - first)
            add_product(
                net.squares, source + first, 1, inputs, net.signals, above, units, rows,
                net.precision, at, units, count, units,
            )  # fmt: skip
            here = slice(at, at + count * units)
            reciprocal(net.precision[here], net.inverse[here])
            at += count * units
        here = slice(at, at + units)
        for i in range(rows):
            add(scaled[i * units : (i + 1) * units], net.precision[here])
        reciprocal(net.precision[here], net.inverse[here])
        at += units
        source = above
    for i in range(rows):
        squares = net.squares[source + i * last : source + (i + 1) * last]
        add_multiple(scale, squares, net.precision[at : at + last])
        net.precision[at + last] += scale
    reciprocal(net.precision[at:], net.inverse[at:])


def _build(sources: str, cache: bool) -> Callable[..., Any]:
    @numba.njit(cache=cache, nogil=True, error_model="numpy", _nrt=False)
    def run(task, net, contexts, rows, ones, targets, outputs, widths, rate, correction):
        """Does one of the tasks above.

        Args:
            task: Which.
            net: The network.
            contexts: float32 (any, D).
            rows: Which of them, int64 (n,); to train, n is at most the capacity.
            ones: float32 (capacity,).
            targets: What the outputs should be (n,); read to train.
            outputs: Filled with the outputs (n,); work space of the capacity for other tasks.
            widths: Filled with the widths (n,), if asked for.
            rate: Adam's step size, corrected for the start of the first moment.
            correction: What the root of the second one is multiplied by.
        """
        sources  # noqa: B018 - captured, so that it is part of the cache key
        capacity = len(ones)
        for start in range(0, len(rows), capacity):
            here = min(capacity, len(rows) - start)
            place = start if task in (PREDICT, PREDICT_WIDTHS) else 0
            _gather(contexts, rows, start, here, net.work)
            _forward(net, here, capacity, outputs, place)
            if task == PREDICT:
                continue
            if task == TRAIN:
                _slopes_of_loss(targets, outputs, here)
                _backward(net, here, capacity, outputs)
                _descend(net, here, capacity, outputs, rate, correction)
                continue
            _backward(net, here, capacity, ones)
            _square_all(net, here, capacity)
            if task == PREDICT_WIDTHS:
                _widths(net, here, capacity, widths, place)
            else:
                _add_precision(net, here, capacity)

    compiled: Callable[..., Any] = run
    return compiled


run: Final = CompiledFunction(_build, FOLDER)
