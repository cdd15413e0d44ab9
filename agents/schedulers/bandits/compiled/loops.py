"""Compiled loops over whole arrays: the steps of a network between its matrix products.

Numba's indices may be negative, which keeps loops from being vectorised unless they run over whole
arrays: callers hand over slices.
"""

from __future__ import annotations

import numba
import numpy as np

_called = numba.njit(error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)
# Where the order of a sum and the last bit of a root are the machine's to choose.
_free = numba.njit(
    error_model="numpy", fastmath=True, no_cpython_wrapper=True, no_cfunc_wrapper=True
)
_ROWS = 16  # that are turned at a time: more would drive each other from the cache

_ONE = np.float32(1.0)
_ZERO = np.float32(0.0)
_DECAY = np.float32(0.9)  # of Adam's moments, and what keeps it from dividing by 0
_DECAY_SQUARE = np.float32(0.999)
_EPSILON = np.float32(1e-8)


@_free
def dot(a, b):
    """Returns the sum of products."""
    total = _ZERO
    for k in range(len(a)):
        total += a[k] * b[k]
    return total


@_called
def fill(target, value):
    """Writes one value everywhere."""
    for k in range(len(target)):
        target[k] = value


@_called
def copy(source, target):
    """Copies."""
    for k in range(len(target)):
        target[k] = source[k]


@_called
def add(source, target):
    """Adds."""
    for k in range(len(target)):
        target[k] += source[k]


@_called
def add_multiple(factor, source, target):
    """Adds a multiple."""
    for k in range(len(target)):
        target[k] += factor * source[k]


@_called
def multiply(factor, target):
    """Multiplies."""
    for k in range(len(target)):
        target[k] *= factor


@_called
def rectify(target):
    """Replaces negative values by 0."""
    for k in range(len(target)):
        target[k] = max(target[k], _ZERO)


@_called
def cut(target, activations):
    """Drops the signals of units that are off."""
    for k in range(len(target)):
        target[k] = target[k] if activations[k] > _ZERO else _ZERO


@_free
def adam(values, first, second, gradient, rate, correction):
    """One step of Adam; its second moment's root is multiplied by ``correction``."""
    for k in range(len(values)):
        slope = gradient[k]
        moment = first[k] + (slope - first[k]) * (_ONE - _DECAY)
        square = _DECAY_SQUARE * second[k] + (_ONE - _DECAY_SQUARE) * slope * slope
        first[k] = moment
        second[k] = square
        values[k] -= rate * moment / (np.sqrt(square) * correction + _EPSILON)


@_called
def square(source, target):
    """Writes squares."""
    for k in range(len(target)):
        target[k] = source[k] * source[k]


@_called
def reciprocal(source, target):
    """Writes reciprocals."""
    for k in range(len(target)):
        target[k] = _ONE / source[k]


@_called
def turn(source, target, inputs, units):
    """Writes weights (inputs, units) as (units, inputs)."""
    for first in range(0, inputs, _ROWS):
        for j in range(units):
            for k in range(first, first + _ROWS):
                target[j * inputs + k] = source[k * units + j]
