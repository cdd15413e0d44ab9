"""The batch slowdown curve of a server, from the rounds of a sweep."""

from __future__ import annotations

import numpy as np

from data_tools.calibration.sweep_file import SweepFile
from data_tools.profiling.curve import SlowdownCurve, fit_step_time
from edgecloud_gym.dataset.slowdown import SlowdownFile


def slowdown_of(file: SweepFile) -> SlowdownFile | None:
    """Returns the curve through the decoding steps; None with fewer than two concurrencies.

    Concurrencies beyond what the server runs at a time have no step and are left out.
    """
    found: dict[int, list[float]] = {}
    for m in file.rounds:
        if m.step is not None:
            found.setdefault(m.concurrency, []).append(m.step)
    if len(found) < 2:
        return None
    sizes = tuple(sorted(found))
    times = np.full((max(map(len, found.values())), len(sizes)), np.nan)
    for i, size in enumerate(sizes):
        times[: len(found[size]), i] = found[size]
    curve = SlowdownCurve(
        batch_sizes=sizes,
        step_times=times,
        context_length=min(file.prompt_lengths),
        steps=int(np.median([m.tokens for m in file.rounds if m.step is not None])),
        fit=fit_step_time(sizes, np.nanmedian(times, axis=0)),
    )
    conditions = file.conditions[-1] if file.conditions else {}
    return curve.to_file({"configuration": file.configuration, "conditions": conditions})
