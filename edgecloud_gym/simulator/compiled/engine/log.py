"""One engine over a whole log: requests arrive at their times, whatever happens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numba
import numpy as np

from edgecloud_gym.simulator.compiled.cache import CompiledFunction
from edgecloud_gym.simulator.compiled.engine.advance import (
    engine_advance,
    engine_arrive,
    engine_settle,
)


def _build(sources: str, cache: bool) -> Callable[..., Any]:
    @numba.njit(cache=cache, nogil=True, error_model="numpy", _nrt=False)
    def run_log(settings, states, sequences, phases, curves, requests, arrival):
        sources  # noqa: B018 - captured, so that it is part of the cache key
        m = settings[0]
        e = states[0]
        for request in range(len(arrival)):
            now = arrival[request]
            while engine_advance(m, e, sequences, phases, curves, requests, now):
                pass
            engine_arrive(m, e, requests, request, now)
        while engine_advance(m, e, sequences, phases, curves, requests, np.inf):
            pass
        engine_settle(m, e, sequences, phases, curves, requests)

    compiled: Callable[..., Any] = run_log
    return compiled


run_log: Final = CompiledFunction(_build)
