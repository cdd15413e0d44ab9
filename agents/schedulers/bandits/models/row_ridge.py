"""Ridge regression over the rows of a table, whose products with A^-1 are kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from agents.schedulers.bandits.compiled import regression as compiled
from agents.schedulers.bandits.models.ridge import LARGEST_WIDTH, REFRESH, Ridge

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]

_NONE: Final = np.zeros(0)
_MANY: Final = 64  # rows for which one product of matrices is the quickest
_MERGE: Final = 32  # additions to A that are merged into the inverse at once


class RowRidge(Ridge):
    """`Ridge` for features that are a row of a table and a 1.

    What is said about rows is what `Ridge` says about their features, but for rounding.
    """

    def __init__(self, width: int, ridge: float) -> None:
        """Starts with nothing seen, for tables of the given width."""
        super().__init__(width + 1, ridge)
        self._added: list[Indices] = []  # rows that the design lacks
        self._arrays = _allocate(width + 1, self._inverse, self._log_sum, self._sum)
        self._table = np.zeros((0, width), np.float32)

    def attach(self, table: NDArray[np.float32]) -> None:
        """Takes rows from a table (any, D), C-ordered, from now on."""
        self._settle()
        self._table = table
        self._arrays = self._arrays._replace(slot=np.zeros(len(table), np.int64))
        self._forget()

    def forget_rows(self, rows: Indices) -> None:
        """Keeps nothing of rows (n,) of the table, which are about to change."""
        self._settle()
        owner = self._arrays.owner
        owner[np.isin(owner, rows)] = -1

    def assess(self, rows: Indices, with_widths: bool) -> tuple[Floats, Floats]:
        """Returns predicted standardised log times of rows (n,), and their widths if asked."""
        if len(rows) > _MANY:
            features = self._features(rows)
            return self.mean(features), self.width(features) if with_widths else _NONE
        means = np.empty(len(rows))
        widths = np.empty(len(rows) if with_widths else 0)
        task = compiled.ASSESS_WIDTHS if with_widths else compiled.ASSESS
        self._run(task, rows, means, widths)
        return means, widths

    def add_rows(self, rows: Indices) -> None:
        """Adds rows (n,) to the design."""
        _, widths = self.assess(rows, True)
        self._added.append(rows)
        if widths.max() > LARGEST_WIDTH:
            self._settle()
            self._invert()
            return
        self._run(compiled.ADD, rows, _NONE, _NONE)
        self._updates += len(rows)
        added, merged, _ = self._arrays.counts.tolist()
        if self._updates >= REFRESH:
            self._settle()
            self._invert()
        elif added - merged >= _MERGE:
            self._merge()

    def learn_rows(self, rows: Indices, times: Floats) -> None:
        """Adds the times (n,), s, of rows (n,)."""
        logs = np.log(times)
        self.moments.update(logs)
        self._run(compiled.LEARN, rows, logs, _NONE)

    def _run(self, task: int, rows: Indices, values: Floats, widths: Floats) -> None:
        moments = self.moments
        _compiled()(
            task, self._arrays, self._table, rows, moments.mean, moments.std, values, widths
        )

    def _features(self, rows: Indices) -> Floats:
        return np.hstack([self._table[rows].astype(np.float64), np.ones((len(rows), 1))])

    def _merge(self) -> None:
        """Brings the inverse up to date."""
        added, merged, _ = self._arrays.counts.tolist()
        which = np.arange(merged, added) % compiled.ADDITIONS
        gains = self._arrays.gains[which]
        self._inverse -= (gains.T * self._arrays.scales[which]) @ gains
        self._arrays.counts[1] = added

    def _settle(self) -> None:
        """Brings inverse and design up to date."""
        self._merge()
        if self._added:
            features = self._features(np.concatenate(self._added))
            self.design += features.T @ features
            self._added.clear()

    def _invert(self) -> None:
        super()._invert()
        self._forget()

    def _forget(self) -> None:
        """Keeps no products, nor additions."""
        self._arrays.counts[...] = 0
        self._arrays.owner[...] = -1

    def add_design(self, features: Floats) -> None:
        """Adds requests (n, width + 1) that need not be of the table."""
        self._settle()
        super().add_design(features)
        self._forget()

    def width(self, features: Floats) -> Floats:
        """See `Ridge.width`."""
        self._merge()
        return super().width(features)

    @property
    def theta(self) -> Floats:
        """See `Ridge.theta`."""
        self._merge()
        return super().theta

    def refit(self, features: Floats, times: Floats) -> None:
        """Is not for rows, which do not change."""
        raise NotImplementedError

    def state(self) -> dict[str, NDArray[Any]]:
        """Returns what was learnt, as arrays."""
        self._settle()
        return super().state()

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Takes over what `state` returned."""
        super().restore(state)
        self._added.clear()
        self._forget()


def _allocate(width: int, inverse: Floats, log_sum: Floats, total: Floats) -> compiled.Arrays:
    slots = compiled.SLOTS
    return compiled.Arrays(
        inverse=inverse,
        gains=np.zeros((compiled.ADDITIONS, width)),
        scales=np.zeros(compiled.ADDITIONS),
        products=np.zeros((slots, width)),
        known=np.zeros(slots, np.int64),
        owner=np.full(slots, -1),
        slot=np.zeros(0, np.int64),
        counts=np.zeros(3, np.int64),
        log_sum=log_sum,
        sum=total,
        features=np.zeros(width),
        target=np.zeros(width),
    )


@cache
def _compiled() -> Callable[..., None]:
    """Compiles, or loads, what all regressions share: their arrays are of the same types."""
    arrays = _allocate(1, np.zeros((1, 1)), np.zeros(1), np.zeros(1))
    table, rows = np.zeros((1, 1), np.float32), np.zeros(1, np.int64)
    return compiled.run.compiled_for((0, arrays, table, rows, 0.0, 1.0, _NONE, _NONE))
