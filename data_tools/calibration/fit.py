"""The five numbers of an engine from logs: Nelder-Mead on the logarithms, from several starts.

What is made small is, over the logs, the mean of

    log E2E error + 0.3 log TTFT error + 3 log reading error + log decoding error

where the first error is the mean over requests of |simulated / measured - 1|, the others are the
mean |simulated - measured| over the mean measured. A logarithm weighs each kind by how well it can
be matched at all. E2E and TTFT alone hold how many steps were waited for as well as how long a step
takes: fitted so on a saturated server, the same server at under half the load was missed by 15 %.
The time from being scheduled to the first token (reading, where a log knows it) and that from
there to the last (decoding) hold no waiting in the queue. The weights are a choice, made on the
logs of the page "Engines" and on no others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from data_tools.calibration.errors import Times, measured, simulated
from data_tools.calibration.logs import Log
from edgecloud_gym.engines import TIMES, EngineModel

Floats = NDArray[np.float64]
WEIGHTS: Final = {"ttft": 0.3, "reading": 3.0, "decoding": 1.0}  # beside the E2E time
RESOLUTION: Final = 5e-4  # relative; nobody measures better
LEAST: Final = 1e-9  # s; a number smaller than that is nothing
LARGEST: Final = 600.0  # s
GUESSES: Final = 300
SEARCHES: Final = 8  # from the best guesses
REFINED: Final = 3  # of these, how many go on
SETTLED: Final = 1e-4  # of the loss
STEP: Final = 0.4  # first step, in logarithms; of later searches smaller, to the other side
ROUNDS: Final = 6  # searches from where the last one ended
EVALUATIONS: Final = 400  # per search


@dataclass(frozen=True)
class Part:
    """Some requests of a log: what is fitted, or judged.

    Attributes:
        log: All requests are simulated, whichever count.
        weight: float64 (n,), how often each counts.
    """

    log: Log
    weight: Floats

    @classmethod
    def whole(cls, log: Log) -> Part:
        """All requests of a log."""
        return cls(log, np.ones(len(log)))

    @classmethod
    def half(cls, log: Log, odd: bool) -> Part:
        """The first, third, ... request in order of sending, or the others."""
        return cls(log, np.arange(len(log)) % 2 == (0 if odd else 1))

    @property
    def counted(self) -> NDArray[np.bool_]:
        """Which requests count at all."""
        return self.weight > 0


def loss(model: EngineModel, parts: Sequence[Part], real: Sequence[Times] | None = None) -> float:
    """Returns how far a model is from logs; infinite where it cannot serve them."""
    there = [measured(part.log) for part in parts] if real is None else real
    try:
        here = [simulated(model, part.log) for part in parts]
    except ValueError:
        return np.inf
    losses = [_loss(*three) for three in zip(there, here, parts, strict=True)]
    return float(np.mean(losses))


def _loss(real: Times, model: Times, part: Part) -> float:
    weight = part.weight / part.weight.sum()
    total = np.log(float(weight @ np.abs(model.e2e / real.e2e - 1)) + RESOLUTION)
    for name, share in WEIGHTS.items():
        there = getattr(real, name)
        scale = float(weight @ there)
        if np.isfinite(scale) and scale > 0:
            miss = float(weight @ np.abs(getattr(model, name) - there)) / scale
            total += share * np.log(miss + RESOLUTION)
    return float(total)


def minimise(
    function: Callable[[Floats], float],
    start: Floats,
    evaluations: int = EVALUATIONS,
    step: float = STEP,
) -> tuple[Floats, float]:
    """Finds a minimum by the simplex method of Nelder and Mead (1965)."""
    n = len(start)
    points = np.vstack([start, start + step * np.eye(n)])
    values = np.array([function(point) for point in points])
    used = n + 1
    while used < evaluations:
        order = np.argsort(values, kind="stable")
        points, values = points[order], values[order]
        if values[-1] - values[0] < 1e-6 and np.ptp(points, axis=0).max() < 1e-3:
            break
        centre = points[:-1].mean(axis=0)
        away = centre - points[-1]
        tried, value = centre + away, function(centre + away)
        used += 1
        if value < values[0]:
            farther = centre + 2 * away
            further = function(farther)
            used += 1
            if further < value:
                tried, value = farther, further
        elif value >= values[-2]:
            side = 0.5 if value < values[-1] else -0.5
            nearer = centre + side * away
            closer = function(nearer)
            used += 1
            if closer < min(value, values[-1]):
                tried, value = nearer, closer
            else:
                points[1:] = points[0] + 0.5 * (points[1:] - points[0])
                values[1:] = [function(point) for point in points[1:]]
                used += n
                continue
        points[-1], values[-1] = tried, value
    best = int(np.argmin(values))
    return points[best], float(values[best])


def fit(
    parts: Sequence[Part],
    settings: Mapping[str, Any],
    *,
    fixed: Mapping[str, float] | None = None,
    start: EngineModel | None = None,
    rounds: int = ROUNDS,
    evaluations: int = EVALUATIONS,
) -> tuple[EngineModel, float]:
    """Fits the numbers of an engine to parts of logs.

    Args:
        parts: What is to be matched.
        settings: The server's settings, by the names of `EngineModel`.
        fixed: Numbers that are not fitted, s.
        start: Where to search from; None for several places that the log suggests.
        rounds: How many searches at most, each from where the last one ended.
        evaluations: How many simulations of the logs per search, about.

    Returns:
        The model, and its loss.
    """
    kept = dict(fixed or {})
    free = [name for name in TIMES if name not in kept]
    real = [measured(part.log) for part in parts]

    def value_of(numbers: Mapping[str, float]) -> float:
        return loss(EngineModel(**(dict(numbers) | kept | dict(settings))), parts, real)

    def search(numbers: Mapping[str, float], turn: int) -> tuple[float, dict[str, float]]:
        # Every other search moves along the ridge of the two that logs tell apart worst.
        shared = turn % 2 == 1
        point, value = minimise(
            lambda point: value_of(_numbers(free, point, shared)),
            _point(free, numbers, shared),
            evaluations,
            STEP * (-0.6) ** turn,
        )
        return value, _numbers(free, point, shared)

    if start is None:
        guesses = sorted(_starts(parts), key=value_of)[:SEARCHES]
        found = sorted((search(guess, 0) for guess in guesses), key=lambda pair: pair[0])
        found = found[:REFINED] if free else found[:1]
    else:
        found = [(value_of(given), given) for given in [{n: getattr(start, n) for n in TIMES}]]
    best = found[0]
    for value, numbers in found if free else ():
        for turn in range(1, rounds + 1):
            before = value
            value, numbers = min((value, numbers), search(numbers, turn), key=lambda pair: pair[0])
            if turn > 2 and before - value < SETTLED:
                break
        best = min(best, (value, numbers), key=lambda pair: pair[0])
    return EngineModel(**(best[1] | kept | dict(settings))), best[0]


# Of these two logs know the sum much better than the shares.
_SHARED: Final = ("step_overhead", "step_floor")


def _point(free: Sequence[str], numbers: Mapping[str, float], shared: bool) -> Floats:
    """Returns where numbers lie in the space that is searched."""
    values = np.array([max(LEAST, numbers[name]) for name in free])
    if shared and tuple(free[:2]) == _SHARED:
        values[:2] = values[:2].sum(), values[0] / values[1]
    point: Floats = np.log(values)
    return point


def _numbers(free: Sequence[str], point: Floats, shared: bool) -> dict[str, float]:
    """Returns the numbers at a point."""
    values = np.exp(np.clip(point, -30, 20))
    if shared and tuple(free[:2]) == _SHARED:
        total, ratio = values[:2]
        values[:2] = total * ratio / (1 + ratio), total / (1 + ratio)
    return dict(zip(free, np.minimum(values, LARGEST).tolist(), strict=True))


def _starts(parts: Sequence[Part]) -> list[dict[str, float]]:
    """Guesses around what the logs suggest: a step by the quickest decoding, a token by reading."""
    steps: list[float] = []
    tokens: list[float] = []
    reads: list[float] = []
    for part in parts:
        times = measured(part.log)
        several = part.log.output > 1
        steps += (times.decoding / np.maximum(part.log.output - 1, 1))[several].tolist()
        reads += times.ttft.tolist()
        tokens += (times.ttft / part.log.computed).tolist()
    read = float(np.percentile(reads, 10))
    step = max(1e-6, float(np.percentile(steps, 10)) if steps else read)
    token = max(1e-9, float(np.percentile(tokens, 5)))
    context = float(np.mean([part.log.prompt.mean() for part in parts]))
    scales = dict(zip(TIMES, (step, step, token, step / context, read), strict=True))
    rng = np.random.default_rng(0)
    shares = rng.uniform((0.05, 0.2, 0.1, 0.0, 0.0), (0.8, 0.9, 1.0, 0.15, 1.0), (GUESSES, 5))
    return [
        {name: share * scales[name] for name, share in zip(TIMES, row, strict=True)}
        for row in shares
    ]
