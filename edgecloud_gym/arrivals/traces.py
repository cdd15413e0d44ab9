"""Published workload traces: when requests came, and how many tokens they had.

Five formats, CSV or JSON lines, told apart by their header or keys:

- `azure`: the Azure LLM inference traces, `TIMESTAMP,ContextTokens,GeneratedTokens`, dates.
- `burstgpt`: BurstGPT, `Timestamp,...,Request tokens,Response tokens`, s, mostly whole ones.
- `mooncake`: Mooncake, `timestamp`, `input_length`, `output_length`, whole ms.
- `bailian`: Bailian (Qwen), the same three and `chat_id`, s.
- `edgecloud`: the log of `edgecloud serve --record`, `arrival_time`, `prompt_tokens`,
  `output_tokens` and more, s.

A packed file (gzip, bzip2, xz, lzma, a zip of one file) is read as it is.
"""

from __future__ import annotations

import math
import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgecloud_gym.arrivals.trace_files import FORMATS, read_csv, read_lines, recognise
from edgecloud_gym.checks import check_choice
from edgecloud_gym.files import UnreadableFileError
from edgecloud_gym.times import UNITS, in_seconds

HIGHEST_RATE: Final = 1000.0  # requests/s, from which on a trace is remarked on


@dataclass(frozen=True, eq=False)
class WorkloadTrace:
    """A recorded workload, one entry per request.

    Attributes:
        times: (n,) float64, s; ascending, the first is 0.
        input_tokens: (n,) int64, tokens of the prompts.
        output_tokens: (n,) int64, tokens of the responses.
        format: "azure", "burstgpt", "mooncake", "bailian" or "edgecloud".
        unit: What the file's clock was taken to count: "s", "ms", "us", "ns" or "dates".
    """

    times: NDArray[np.float64]
    input_tokens: NDArray[np.int64]
    output_tokens: NDArray[np.int64]
    format: str
    unit: str

    def __len__(self) -> int:
        return len(self.times)

    @property
    def rate(self) -> float:
        """Mean arrival rate (requests/s); NaN where there is no time between the arrivals."""
        span = float(self.times[-1])
        return (len(self) - 1) / span if span > 0 else math.nan


def read_trace(path: str | os.PathLike[str], *, unit: str | None = None) -> WorkloadTrace:
    """Reads a workload trace of any of the formats.

    Args:
        path: The file.
        unit: What the file's clock counts: "s", "ms", "us" or "ns"; None for what its format says.
            A trace of 1000 requests/s or more gives a warning.

    Raises:
        UnreadableFileError: If the file has none of the formats, no request, a column twice, a
            malformed value, times that are not ascending, or times of which the unit cannot be
            told; names the file, and the row where there is one.
        ValueError: If `unit` is none of these.
        FileNotFoundError: If there is no such file.
    """
    if unit is not None:
        check_choice("unit", unit, tuple(UNITS))
    path = Path(path)
    head = recognise(path)
    name, layout = head.format, FORMATS[head.format]
    counted = unit or layout.unit
    try:
        rows = read_lines(path, layout) if head.is_json else read_csv(path, layout, counted, head)
        ticks = rows.ascending()
        if unit is None and name == "mooncake":
            rows.require_whole_ticks()
        elapsed = ticks - ticks[0]
        seconds = elapsed / np.timedelta64(1, "s") if counted is None else elapsed * UNITS[counted]
        trace = WorkloadTrace(
            times=check_times(seconds),
            input_tokens=rows.tokens(layout.input_tokens),
            output_tokens=rows.tokens(layout.output_tokens),
            format=name,
            unit=counted or "dates",
        )
    except UnreadableFileError:
        raise
    except ValueError as error:  # pyarrow's parse errors are ValueErrors too
        numbers = "; give unit= if its times are numbers" if "to timestamp" in str(error) else ""
        raise UnreadableFileError(f"{path}: {error}{numbers}") from error
    if trace.rate >= HIGHEST_RATE:
        warnings.warn(
            f"{path}: {trace.rate:,.0f} requests/s, if its times count {trace.unit}: give unit= if "
            "they do not",
            UserWarning,
            stacklevel=2,
        )
    return trace


def check_times(times: ArrayLike) -> NDArray[np.float64]:
    """Checks arrival times and returns them as a read-only copy, in s.

    Args:
        times: Numbers (s), durations, or dates, which count from the first of them.

    Raises:
        ValueError: If they are not one non-empty row of finite, non-negative, ascending times;
            where an entry is at fault, its index is named.
    """
    checked = in_seconds("arrival times", times, moments=True)
    if checked.ndim != 1 or len(checked) == 0:
        raise ValueError(f"arrival times must be one non-empty row, got shape {checked.shape}")
    good = np.isfinite(checked) & (checked >= 0)
    ascending = np.diff(checked) >= 0
    if not ascending.all() and good[: ascending.argmin() + 1].all():
        index = int(ascending.argmin()) + 1
        if np.isfinite(checked[index]):
            raise ValueError(
                f"arrival times must be ascending; entry {index} ({checked[index]} s) comes before "
                f"entry {index - 1} ({checked[index - 1]} s)"
            )
    if not good.all():
        index = int(good.argmin())
        raise ValueError(
            f"arrival times must be finite and not negative; entry {index} is {checked[index]}"
        )
    checked.setflags(write=False)
    return checked
