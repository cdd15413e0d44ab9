"""What an open loop measured, in a few numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from data_tools.backends.chat import OK
from data_tools.load.records import NOT_SENT, RequestRecord

LATE: Final = 0.1  # of the mean time to first token: later than that is said


@dataclass(frozen=True)
class LoadSummary:
    """Figures of an open loop; times in s, NaN where nothing was measured.

    Attributes:
        planned: Requests of the plan that were handled.
        statuses: How many ended how.
        rate: Requests per second as planned, from the first to the last; NaN for one.
        e2e, ttft, tpot: Mean, median and 99th percentile of the finished requests: until the end of
            the answer, until its first chunk, per further token. Times count from sending.
        lateness: Median, 99th percentile and most that sending came after the plan.
        uncounted: How many answers the server did not count the tokens of.
        errors: How many failed why, the most frequent first.
    """

    planned: int
    statuses: dict[str, int]
    rate: float
    e2e: tuple[float, float, float]
    ttft: tuple[float, float, float]
    tpot: tuple[float, float, float]
    lateness: tuple[float, float, float]
    uncounted: int
    errors: dict[str, int] = field(default_factory=dict)

    def notes(self) -> list[str]:
        """Returns what a reader of the figures must know."""
        found = []
        skipped = self.statuses.get(NOT_SENT, 0)
        if skipped:
            found.append(
                f"{skipped} of {self.planned} requests were not sent, since too many were in flight"
                " (--max-in-flight): the load was lower than planned"
            )
        if self.lateness[1] > LATE * self.ttft[0]:
            found.append(
                f"the client was late: 1 % of the requests were sent {self.lateness[1]:.3f} s or "
                "more after their moment; times count from sending, arrivals were not as planned"
            )
        if self.uncounted:
            found.append(
                f"the server did not count the tokens of {self.uncounted} answers: chunks stand for"
                " tokens there, and calibrate cannot use them"
            )
        found += [f"{count} × {error}" for error, count in self.errors.items()]
        return found


def summarise(records: Sequence[RequestRecord]) -> LoadSummary:
    """Returns the figures of a loop; its warm-up is left out."""
    counted = [record for record in records if not record.warm_up]
    done = [record for record in counted if record.status == OK]
    planned = sorted(record.planned for record in counted)
    span = planned[-1] - planned[0] if planned else 0.0
    sent = np.array([_of(r.sent) for r in done])
    first = np.array([_of(r.first_chunk) for r in done])
    last = np.array([_of(r.last_chunk) for r in done])
    further = np.array([_of(r.output_tokens) - 1 for r in done])
    late = np.array([_of(r.lateness) for r in counted if r.sent is not None])
    several = further > 0
    errors = Counter(_kind(record.error) for record in counted if record.error is not None)
    return LoadSummary(
        planned=len(counted),
        statuses=dict(Counter(record.status for record in counted)),
        rate=(len(planned) - 1) / span if span > 0 else np.nan,
        e2e=_three(last - sent),
        ttft=_three(first - sent),
        tpot=_three((last - first)[several] / further[several]),
        lateness=_three(late, median_first=True),
        uncounted=sum(not record.counted or record.prompt_tokens is None for record in done),
        errors=dict(errors.most_common(5)),
    )


def _kind(error: str) -> str:
    return error if len(error) <= 120 else error[:117] + "..."


def _of(value: float | None) -> float:
    return np.nan if value is None else float(value)


def _three(values: Any, *, median_first: bool = False) -> tuple[float, float, float]:
    known = values[np.isfinite(values)]
    if len(known) == 0:
        return np.nan, np.nan, np.nan
    middle, high = np.percentile(known, (50, 99))
    if median_first:
        return float(middle), float(high), float(known.max())
    return float(known.mean()), float(middle), float(high)
