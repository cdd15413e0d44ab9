"""Random numbers for rules: those that the same `numpy.random.Generator` gives in Python.

The algorithms are NumPy's (``numpy/random/src/distributions/distributions.c`` and
``Generator.choice``), so that a rule draws what ``rng.random()``, ``rng.integers`` and
``rng.choice`` would have drawn.
"""

from __future__ import annotations

import ctypes
from typing import Any, Final

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from edgecloud_gym.simulator.compiled.inlining import compiled

# What `Decision.random` holds: addresses of the generator's state and of two of its functions.
_STATE: Final = 0
_NEXT_UINT32: Final = 1
_NEXT_DOUBLE: Final = 2
_BYTE: Final = ir.IntType(8).as_pointer()


def random_source(rng: np.random.Generator) -> NDArray[np.uint64]:
    """Returns what rules draw from, uint64 (3,); the generator must outlive it."""
    source = rng.bit_generator.ctypes
    functions = (source.next_uint32, source.next_double)
    pointers = [ctypes.cast(function, ctypes.c_void_p).value for function in functions]
    return np.array([source.state_address, *pointers], np.uint64)


def _caller(result: Any, llvm_result: ir.Type) -> Any:
    """Makes an intrinsic that calls one of the functions by its address."""

    def call(_: Any, function: Any, state: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            del context, signature
            kind = ir.FunctionType(llvm_result, [_BYTE]).as_pointer()
            address, state = arguments
            return builder.call(builder.inttoptr(address, kind), [builder.inttoptr(state, _BYTE)])

        return result(function, state), generate

    return intrinsic(call)


_call_uint32: Final = _caller(types.uint32, ir.IntType(32))
_call_double: Final = _caller(types.float64, ir.DoubleType())


@compiled
def uniform(random):
    """Draws from [0, 1), as ``rng.random()``."""
    return _call_double(random[_NEXT_DOUBLE], random[_STATE])


@compiled
def below(random, count):
    """Draws from 0, ..., count - 1, as ``rng.integers(count)``: Lemire's method."""
    if count == 1:
        return 0
    bound = np.uint64(count)
    mask = np.uint64(0xFFFFFFFF)
    product = np.uint64(_call_uint32(random[_NEXT_UINT32], random[_STATE])) * bound
    if (product & mask) < bound:
        threshold = (mask - (bound - np.uint64(1))) % bound
        while (product & mask) < threshold:
            product = np.uint64(_call_uint32(random[_NEXT_UINT32], random[_STATE])) * bound
    return np.int64(product >> np.uint64(32))


@compiled
def two_below(random, count):
    """Draws two different ones of 0, ..., count - 1, as ``rng.choice(count, 2, replace=False)``.

    That is Floyd's algorithm and a shuffle; count is at least 2.
    """
    first = below(random, count - 1)
    second = below(random, count)
    if second == first:
        second = count - 1
    if below(random, 2) == 0:
        first, second = second, first
    return first, second


@compiled
def several_below(random, count, size, drawn):
    """Draws different ones of 0, ..., count - 1, as ``rng.choice(count, size, replace=False)``.

    That is Floyd's algorithm and a shuffle, for a count of at most 10,000.

    Args:
        random: What to draw from.
        count: From how many.
        size: How many, at most all.
        drawn: Filled with them: its first ``size`` places.
    """
    for i in range(size):
        last = count - size + i
        choice = below(random, last + 1)
        for j in range(i):
            if drawn[j] == choice:
                choice = last
                break
        drawn[i] = choice
    for i in range(size - 1, 0, -1):
        j = below(random, i + 1)
        drawn[i], drawn[j] = drawn[j], drawn[i]
