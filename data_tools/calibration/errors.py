"""How far a simulated log is from the measured one."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from data_tools.calibration.logs import Log
from edgecloud_gym.engines import EngineModel
from edgecloud_gym.simulator.engine_log import simulate_engine

Floats = NDArray[np.float64]
ERRORS: Final = (
    "e2e_mean",
    "e2e_mape",
    "e2e_p50",
    "e2e_p99",
    "ttft_mean",
    "ttft_p50",
    "tpot_mean",
)


class Times(NamedTuple):
    """Times of each request (n,), s.

    Attributes:
        e2e: From sending to the last token.
        ttft: From sending to the first token.
        reading: From the first step that it is in, as this is composed, to the first token; NaN
            where a log does not know.
        decoding: From the first token to the last.
    """

    e2e: Floats
    ttft: Floats
    reading: Floats
    decoding: Floats


def measured(log: Log) -> Times:
    """Returns the times of a log."""
    return Times(
        log.finish - log.sent,
        log.first - log.sent,
        log.first - log.scheduled,
        log.finish - log.first,
    )


def simulated(model: EngineModel, log: Log) -> Times:
    """Returns what a model makes of the requests of a log.

    Raises:
        ValueError: If a request is larger than the model's cache.
    """
    run = simulate_engine(model, log.arrival, log.prompt, log.output, log.cached)
    return Times(
        run.finish - log.sent,
        run.first_token - log.sent,
        run.first_token - run.admitted,
        run.finish - run.first_token,
    )


def chosen(times: Times, which: NDArray[np.bool_]) -> Times:
    """Returns the times of some requests."""
    return Times(*(values[which] for values in times))


def relative_errors(real: Times, model: Times, output: NDArray[np.int64]) -> dict[str, float]:
    """Returns the errors of a simulated log, relative, signed but for the MAPE.

    Args:
        real: As measured.
        model: As simulated.
        output: Output tokens (n,); the time per further token is that of answers of two or more.
    """
    several = output > 1
    further = np.maximum(output - 1, 1)
    pairs = {
        "e2e": (real.e2e, model.e2e),
        "ttft": (real.ttft, model.ttft),
        "tpot": ((real.decoding / further)[several], (model.decoding / further)[several]),
    }

    def error(of: str, statistic: str) -> float:
        there, here = pairs[of]
        if len(there) == 0:
            return float("nan")
        if statistic == "mape":
            return float(np.mean(np.abs(here / there - 1)))
        if statistic == "mean":
            a, b = there.mean(), here.mean()
        else:
            a, b = (np.percentile(values, float(statistic[1:])) for values in (there, here))
        return float(b / a - 1)

    return {name: error(*name.split("_")) for name in ERRORS}
