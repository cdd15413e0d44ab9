"""Times of any type as numbers of seconds, by the unit that they carry."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgecloud_gym.checks import real_numbers, refuse_masked

UNITS: Final = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
_SECOND: Final = np.timedelta64(1, "s")
_DURATIONS: Final = (timedelta, np.timedelta64)
_TIMES: Final = (date, np.datetime64, *_DURATIONS)


def in_seconds(
    name: str, times: ArrayLike, *, moments: bool = False, entry: str = "entry"
) -> NDArray[np.float64]:
    """Returns times in s: numbers as they are, durations and dates by their unit.

    Args:
        name: What the times are called, for messages.
        times: Numbers, durations (of NumPy, pandas or ``datetime``) or dates.
        moments: Whether dates make sense; they become the time since the first of them.
        entry: What messages call an entry.

    Returns:
        A new float64 array of the same shape; NaN where there is no time.

    Raises:
        ValueError: If they are none of these.

    >>> in_seconds("gaps", np.array([1, 250], dtype="timedelta64[ms]"))
    array([0.001, 0.25 ])
    """
    try:
        refuse_masked(times, entry=entry)
        array = np.asarray(times)
        if array.dtype == object and carry_unit(array):
            array = _plain(list(array.flat), entry).reshape(array.shape)
        if array.dtype.kind in "mM" and np.datetime_data(array.dtype)[0] in "YM":
            if array.dtype.kind == "m":
                raise ValueError("months and years are of no fixed length")
            array = array.astype("datetime64[D]")
        if array.dtype.kind == "M" and moments:
            array = array - array.flat[:1]
        if array.dtype.kind == "M":
            raise ValueError("dates are moments, not durations")
        if array.dtype.kind == "m" and np.datetime_data(array.dtype)[0] == "generic":
            raise ValueError("these are durations without a unit")
        if array.dtype.kind == "m":
            return np.array(array / _SECOND, dtype=np.float64)
        return real_numbers(times, entry=entry)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{name} must be an array of numbers: {error}") from error


def carry_unit(times: ArrayLike) -> bool:
    """Whether times are durations or dates, whose unit is theirs, and not plain numbers."""
    array = np.asarray(times)
    if array.dtype == object:
        return any(isinstance(time, _TIMES) for time in array.flat)
    return array.dtype.kind in "mM"


def _plain(times: list[Any], entry: str) -> NDArray[Any]:
    """Returns a list of Python's or pandas' times as NumPy's."""
    import pandas as pd

    for index, time in enumerate(times):
        if not (time is None or time is pd.NaT or isinstance(time, _TIMES)):
            raise TypeError(f"{entry} {index} is {type(time).__name__} {time!r:.60}, no time")
        if isinstance(time, np.timedelta64) and np.datetime_data(time.dtype)[0] == "generic":
            raise ValueError(f"{entry} {index} is a duration without a unit")
    known = [time for time in times if not (time is None or time is pd.NaT)]
    if known and isinstance(known[0], _DURATIONS):
        return np.asarray(pd.to_timedelta(times))
    zoned = {getattr(time, "tzinfo", None) is not None for time in known}
    if len(zoned) > 1:
        raise ValueError("some dates have a time zone, others none")
    return np.asarray(pd.to_datetime(times, utc=zoned == {True}).tz_localize(None))
