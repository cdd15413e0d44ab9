"""Compiled steps of a ridge regression over the rows of a table.

The inverse A^-1 is kept as B less what has been added to A since B was computed, one rank each:
A^-1 = B - sum_k s_k g_k g_k^T. For the rows asked about of late the products A^-1 x are kept, too,
each with the number of additions that it knows of: bringing one up to date takes two short sums per
addition, where a product with the whole matrix reads a megabyte.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

import numba
import numpy as np

from agents.schedulers.bandits.compiled.network import FOLDER
from edgecloud_gym.simulator.compiled.cache import CompiledFunction

# Tasks of `run`.
ASSESS: Final = 0  # means
ASSESS_WIDTHS: Final = 1  # means and widths
ADD: Final = 2  # rows to A
LEARN: Final = 3  # times to the targets

ADDITIONS: Final = 128  # kept, so that products may be so many behind
SLOTS: Final = 256  # products kept

# Places in `Arrays.counts`.
_ADDED: Final = 0  # additions in all
_MERGED: Final = 1  # those of them that B has
_NEXT: Final = 2  # slot for the next product


class Arrays(NamedTuple):
    """A regression of features (D + 1,): a row of the table, and a 1.

    Attributes:
        inverse: B, float64 (D + 1, D + 1).
        gains: The last additions' g, a ring, float64 (`ADDITIONS`, D + 1).
        scales: Their s, float64 (`ADDITIONS`,).
        products: A^-1 x, float64 (`SLOTS`, D + 1).
        known: How many additions each product knows of, int64 (`SLOTS`,).
        owner: The row of each product, -1 for none, int64 (`SLOTS`,).
        slot: The product of each row; another's if that one's owner is another, int64 (rows,).
        counts: See above, int64 (3,).
        log_sum: Sum of x log t, float64 (D + 1,).
        sum: Sum of x, float64 (D + 1,).
        features: Work space, float64 (D + 1,).
        target: Work space, float64 (D + 1,).
    """

    inverse: Any
    gains: Any
    scales: Any
    products: Any
    known: Any
    owner: Any
    slot: Any
    counts: Any
    log_sum: Any
    sum: Any
    features: Any
    target: Any


_merged = numba.njit(inline="always", error_model="numpy")
_called = numba.njit(error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)


@numba.njit(error_model="numpy", fastmath=True, no_cpython_wrapper=True, no_cfunc_wrapper=True)
def _dot(a, b):
    total = 0.0
    for k in range(len(a)):
        total += a[k] * b[k]
    return total


@_called
def _add_multiple(factor, source, target):
    for k in range(len(target)):
        target[k] += factor * source[k]


@_called
def _read(table, row, features):
    """Writes a row's features."""
    values = table[row]
    for k in range(len(values)):
        features[k] = values[k]
    features[len(values)] = 1.0


@_called
def _catch_up(reg, features, product, known):
    """Tells a product of the additions from ``known`` on."""
    for k in range(known, reg.counts[_ADDED]):
        gain = reg.gains[k % ADDITIONS]
        _add_multiple(-reg.scales[k % ADDITIONS] * _dot(gain, features), gain, product)


@_called
def _product(reg, table, row):
    """Returns where A^-1 x of a row is, up to date; its features are in the work space."""
    _read(table, row, reg.features)
    added, merged = reg.counts[_ADDED], reg.counts[_MERGED]
    place = reg.slot[row]
    if reg.owner[place] == row and added - reg.known[place] <= ADDITIONS:
        _catch_up(reg, reg.features, reg.products[place], reg.known[place])
    else:
        place = reg.counts[_NEXT]
        reg.counts[_NEXT] = (place + 1) % SLOTS
        reg.owner[place] = row
        reg.slot[row] = place
        product = reg.products[place]
        for j in range(len(product)):
            product[j] = _dot(reg.inverse[j], reg.features)
        _catch_up(reg, reg.features, product, merged)
    reg.known[place] = added
    return place


@_merged
def _assess(reg, table, rows, mean, std, means, widths):
    for k in range(len(reg.target)):
        reg.target[k] = (reg.log_sum[k] - mean * reg.sum[k]) / std
    for i in range(len(rows)):
        product = reg.products[_product(reg, table, rows[i])]
        means[i] = _dot(product, reg.target)
        if len(widths) > 0:
            widths[i] = np.sqrt(max(_dot(product, reg.features), 0.0))


@_merged
def _add(reg, table, rows):
    """Adds rows to A by Sherman and Morrison's formula."""
    for i in range(len(rows)):
        product = reg.products[_product(reg, table, rows[i])]
        place = reg.counts[_ADDED] % ADDITIONS
        gain = reg.gains[place]
        for k in range(len(product)):
            gain[k] = product[k]
        reg.scales[place] = 1.0 / (1.0 + _dot(product, reg.features))
        reg.counts[_ADDED] += 1


@_merged
def _learn(reg, table, rows, logs):
    for i in range(len(rows)):
        _read(table, rows[i], reg.features)
        _add_multiple(logs[i], reg.features, reg.log_sum)
        _add_multiple(1.0, reg.features, reg.sum)


def _build(sources: str, cache: bool) -> Callable[..., Any]:
    @numba.njit(cache=cache, nogil=True, error_model="numpy", _nrt=False)
    def run(task, reg, table, rows, mean, std, values, widths):
        """Does one of the tasks above.

        Args:
            task: Which.
            reg: The regression.
            table: float32 (any, D).
            rows: Which rows of it, int64 (n,).
            mean: Mean of the log times; read to assess.
            std: Their standard deviation; read to assess.
            values: Filled with means (n,); to learn, the log times.
            widths: Filled with widths (n,), if asked for.
        """
        sources  # noqa: B018 - captured, so that it is part of the cache key
        if task == ADD:
            _add(reg, table, rows)
        elif task == LEARN:
            _learn(reg, table, rows, values)
        else:
            _assess(reg, table, rows, mean, std, values, widths)

    compiled: Callable[..., Any] = run
    return compiled


run: Final = CompiledFunction(_build, FOLDER)
