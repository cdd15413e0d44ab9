"""What logs can tell of an engine's numbers, and how sure one may be of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np

from data_tools.calibration.errors import measured
from data_tools.calibration.fit import Part, fit, loss
from data_tools.calibration.logs import Log
from edgecloud_gym.engines import TIMES, EngineModel
from edgecloud_gym.wording import listed

RESAMPLES: Final = 30
JITTER: Final = 0.3  # of the starts of its fits, in logarithms
SATURATED: Final = 0.95  # share of the requests that found the server full
# In this order: what is dropped first leaves the rest to the numbers behind it.
ORDER: Final = ("prefill_overhead", "step_overhead", "context_time", "token_time")

Progress = Callable[[int], None]


def matters(parts: Sequence[Part]) -> float:
    """Returns how much the loss has to fall for a number to be told from none.

    The logarithm of a mean absolute error over n requests is a likelihood over n, where errors are
    spread as Laplace's; two of that is the usual 95 %, and the largest weight is 3.
    """
    return 6 / sum(int(part.counted.sum()) for part in parts)


def check_concurrency(logs: Sequence[Log]) -> None:
    """Refuses logs in which requests never met.

    Raises:
        ValueError: If there was never more than one at a time.
    """
    if max(log.most_at_once for log in logs) <= 1:
        raise ValueError(
            f"{listed(log.name for log in logs)}: never more than one request at a time, so "
            "nothing says how long a step with several takes: add a log at a higher load, or a "
            "sweep over fixed concurrencies (--sweep)"
        )


def remarks(logs: Sequence[Log], settings: Mapping[str, Any]) -> list[str]:
    """Says which of the server's settings and states the logs cannot tell about."""
    found = []
    sequences = int(settings["sequences"])
    full = [float(np.mean(log.outstanding_at(log.sent) > sequences)) for log in logs]
    if min(full) > SATURATED:
        found.append(
            f"saturated throughout ({min(full):.0%} of the requests found all {sequences} "
            "sequences taken): the numbers hold at this load; how it works at a lower one is "
            "not known"
        )
    if max(log.most_at_once for log in logs) < sequences:
        found.append(
            f"never more than {max(log.most_at_once for log in logs)} of {sequences} sequences in "
            "use: larger steps are extrapolated"
        )
    longest = max(int(log.prompt.max()) for log in logs)
    budget = int(settings.get("batched_tokens", 2048))
    if longest <= budget:
        found.append(
            f"no prompt longer than batched_tokens={budget} (longest: {longest}): the budget is "
            "taken as given"
        )
    if settings.get("kv_tokens") is None:
        found.append("kv_tokens not given: the cache is taken to have no limit")
    return found


def drop_unidentified(
    parts: Sequence[Part], settings: Mapping[str, Any], model: EngineModel, value: float
) -> tuple[EngineModel, dict[str, float], float]:
    """Finds numbers without which the logs are matched as well, and sets them to 0.

    But for the time per token: servers compute none for nothing, so it stays as fitted.

    Returns:
        The model, the numbers that the logs do not tell, and the loss.
    """
    fixed: dict[str, float] = {}
    for name in ORDER:
        without, new = fit(parts, settings, fixed=fixed | {name: 0.0}, start=model, rounds=4)
        if new >= value + matters(parts):
            continue
        if name == "token_time":
            fixed[name] = model.token_time
        else:
            fixed[name] = 0.0
            model, value = without, min(value, new)
    return model, fixed, loss(model, parts)


def intervals(
    parts: Sequence[Part],
    settings: Mapping[str, Any],
    model: EngineModel,
    fixed: Mapping[str, float],
    resamples: int = RESAMPLES,
    progress: Progress | None = None,
) -> dict[str, tuple[float, float] | None]:
    """Returns a 95 % interval for each number: a bootstrap over requests.

    Every resample simulates all requests and counts those drawn. None for numbers that are fixed.
    """
    rng = np.random.default_rng(1)
    found = []
    for _ in range(resamples):
        drawn = []
        for part in parts:
            n = len(part.log)
            share = part.weight / part.weight.sum()
            counts = rng.multinomial(int(part.counted.sum()), share)
            drawn.append(Part(part.log, counts.astype(np.float64).reshape(n)))
        # From elsewhere, so that a hollow of the loss is not taken for knowledge.
        jitter = np.exp(JITTER * rng.standard_normal(len(TIMES)))
        moved = {k: getattr(model, k) * j for k, j in zip(TIMES, jitter.tolist(), strict=True)}
        start = replace(model, **moved)
        again, _ = fit(drawn, settings, fixed=fixed, start=start, rounds=2, evaluations=250)
        found.append([getattr(again, name) for name in TIMES])
        if progress is not None:
            progress(1)
    low, high = np.percentile(np.array(found), (2.5, 97.5), axis=0)
    return {
        name: None if name in fixed else (float(a), float(b))
        for name, a, b in zip(TIMES, low, high, strict=True)
    }


def mean_times(log: Log) -> dict[str, float]:
    """Returns the means of a log's times (s), for a table."""
    times = measured(log)
    return {"e2e": float(times.e2e.mean()), "ttft": float(times.ttft.mean())}
