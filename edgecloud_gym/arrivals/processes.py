"""When requests arrive: arrival processes, each drawn in full from the generator it is given.

Every process but `Trace` has the mean rate that it is asked for from the first moment on
(`Diurnal`: over each of its periods), so no episode needs a warm-up.

>>> rng = np.random.default_rng(0)
>>> times = Poisson().sample(rng, rate=5.0, duration=600.0)
>>> round(len(times) / 600.0)
5
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import InitVar, asdict, dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgecloud_gym.arrivals.traces import check_times, read_trace
from edgecloud_gym.checks import check_choice, check_number
from edgecloud_gym.times import UNITS, carry_unit
from edgecloud_gym.wording import shown

_ROW = (Sequence, np.ndarray)
MOST_ARRIVALS = 1e8  # of an episode; more do not fit the memory


@runtime_checkable
class ArrivalProcess(Protocol):
    """Anything that can draw arrival times; a process of your own needs only this method."""

    def sample(
        self, rng: np.random.Generator, rate: float | None, duration: float
    ) -> NDArray[np.float64]:
        """Draws the arrivals of one episode.

        Args:
            rng: The only source of randomness.
            rate: Wanted mean, requests/s. None is for a `Trace`, which then keeps its own times.
            duration: Arrivals at or after this time, s, are cut.

        Returns:
            (n,) float64, s: ascending, in [0, duration).

        Raises:
            ValueError: If `rate` or `duration` is not finite and above 0.
        """
        ...


@dataclass(frozen=True)
class Poisson:
    """Arrivals independent of each other, at a constant rate."""

    def sample(
        self, rng: np.random.Generator, rate: float | None, duration: float
    ) -> NDArray[np.float64]:
        """Draws arrivals; see `ArrivalProcess.sample`."""
        rate = _checked_rate(self, rate, duration)
        return _cut(duration, _unit_poisson(rng, rate * duration) / rate)


@dataclass(frozen=True)
class Gamma:
    """Independent gaps with a Gamma distribution.

    The first gap is the residual one of the stationary process, a uniform share of a length-biased
    gap: so the expected number of arrivals is rate x duration exactly, at every duration.

    Attributes:
        burstiness: Shape of the distribution, as in vLLM's `--burstiness`: 1 is Poisson, lower is
            burstier, higher more regular. The gaps' coefficient of variation is 1/√burstiness.
    """

    burstiness: float = 0.5

    def __post_init__(self) -> None:
        check_number("burstiness", self.burstiness, least=1e-3)

    def sample(
        self, rng: np.random.Generator, rate: float | None, duration: float
    ) -> NDArray[np.float64]:
        """Draws arrivals; see `ArrivalProcess.sample`."""
        rate = _checked_rate(self, rate, duration)
        shape = self.burstiness
        scale = 1.0 / (rate * shape)  # s, makes the mean gap 1 / rate
        times = [np.array([rng.random() * rng.standard_gamma(shape + 1.0) * scale])]
        while (now := times[-1][-1]) < duration:
            gaps = rng.standard_gamma(shape, _enough((duration - now) * rate))
            times.append(now + np.cumsum(gaps * scale))
        return _cut(duration, np.concatenate(times))


@dataclass(frozen=True)
class MMPP:
    """Markov-modulated Poisson process: calm and busy spells.

    The rate holds for an exponentially distributed spell, then another one, drawn uniformly, takes
    over. Spells start in equilibrium.

    Attributes:
        rates: Rate of each state, relative to each other; scaled so that their long-run mean is the
            wanted rate.
        dwell: Mean length of a spell in each state, s.
    """

    rates: tuple[float, ...] = (0.5, 2.5)
    dwell: tuple[float, ...] = (45.0, 15.0)

    def __post_init__(self) -> None:
        rows = isinstance(self.rates, _ROW) and isinstance(self.dwell, _ROW)
        if not rows or len(self.rates) < 2 or len(self.rates) != len(self.dwell):
            raise ValueError(
                f"rates={shown(self.rates)}, dwell={shown(self.dwell)}: must have one entry per "
                "state each, for two states or more"
            )
        for rate in self.rates:
            check_number("rates", rate, least=0)
        for dwell in self.dwell:
            check_number("dwell", dwell, above=0)
        if not any(self.rates):
            raise ValueError(f"rates={shown(self.rates)}: must not all be 0")

    def sample(
        self, rng: np.random.Generator, rate: float | None, duration: float
    ) -> NDArray[np.float64]:
        """Draws arrivals; see `ArrivalProcess.sample`."""
        rate = _checked_rate(self, rate, duration)
        ends, states = self._spells(rng, duration)
        mean = np.average(self.rates, weights=self.dwell)
        intensity = np.asarray(self.rates)[states] * (rate / mean)
        # A unit-rate process on the scale of expected arrivals, mapped back to time.
        expected = np.concatenate(([0.0], np.cumsum(np.diff(ends) * intensity)))
        points = _unit_poisson(rng, float(np.interp(duration, ends, expected)))
        return _cut(duration, np.interp(points, expected, ends))

    def _spells(
        self, rng: np.random.Generator, duration: float
    ) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
        """Returns bounds of the spells (k + 1,), from 0 past `duration`, and their states (k,)."""
        dwell = np.asarray(self.dwell)
        state = int(rng.choice(len(dwell), p=dwell / dwell.sum()))
        bounds, states = [np.zeros(1)], []
        while (now := bounds[-1][-1]) < duration:
            moves = rng.integers(1, len(dwell), size=_enough((duration - now) / dwell.mean()))
            visited = (state + np.concatenate(([0], np.cumsum(moves)))) % len(dwell)
            states.append(visited[:-1])
            state = int(visited[-1])
            lengths = rng.standard_exponential(len(moves)) * dwell[visited[:-1]]
            bounds.append(now + np.cumsum(lengths))
        return np.concatenate(bounds), np.concatenate(states)


@dataclass(frozen=True)
class Diurnal:
    """Poisson arrivals whose rate follows a sine.

    λ(t) = rate · (1 + amplitude · sin(2π (t + phase) / period)), so that its mean over a whole
    period is the wanted rate. Drawn by thinning (Lewis and Shedler, 1979).

    Attributes:
        amplitude: 0 (constant) to 1 (falls to nothing once a period).
        period: Length of a cycle, s.
        phase: How far into its cycle the process is at time 0, s.
    """

    amplitude: float = 0.5
    period: float = 300.0
    phase: float = 0.0

    def __post_init__(self) -> None:
        check_number("amplitude", self.amplitude, least=0, most=1)
        check_number("period", self.period, above=0)
        check_number("phase", self.phase)

    def sample(
        self, rng: np.random.Generator, rate: float | None, duration: float
    ) -> NDArray[np.float64]:
        """Draws arrivals; see `ArrivalProcess.sample`."""
        rate = _checked_rate(self, rate, duration)
        peak = rate * (1.0 + self.amplitude)
        times = _unit_poisson(rng, peak * duration) / peak
        angle = (2.0 * np.pi / self.period) * (times + self.phase)
        kept = rng.random(len(times)) * peak < rate * (1.0 + self.amplitude * np.sin(angle))
        return _cut(duration, times[kept])


@dataclass(frozen=True, eq=False)
class Trace:
    """Recorded arrivals, played back.

    With a rate asked for, time is stretched so that the mean gap is 1 / rate; without, the recorded
    times are kept. A trace shorter than the episode is not repeated: after its last request nothing
    arrives.

    Attributes:
        source: Arrival times, or a file for `edgecloud_gym.arrivals.traces.read_trace`. Numbers are
            s, durations count by their unit, dates from the first of them.
        jitter: Resolution of the recording's clock, s: each arrival is moved by a uniform draw from
            [0, jitter), before any stretching, so that those of one tick do not coincide. 1.0 suits
            BurstGPT.
        start: Where in the recording, s, an episode begins; what comes before is left out.
        unit: What the clock of a file or of plain numbers counts: "s", "ms", "us" or "ns"; None for
            what the file's format says, and s.
        times: (n,) float64, s since `start`: the recorded arrivals.

    Raises:
        ValueError: If the times are not finite, non-negative and ascending (the first entry at
            fault is named), or none is left after `start`.
    """

    source: InitVar[ArrayLike | str | os.PathLike[str]]
    jitter: float = 0.0
    start: float = 0.0
    unit: InitVar[str | None] = None
    times: NDArray[np.float64] = field(init=False)

    def __post_init__(self, source: ArrayLike | str | os.PathLike[str], unit: str | None) -> None:
        check_number("jitter", self.jitter, least=0)
        check_number("start", self.start, least=0)
        if unit is not None:
            check_choice("unit", unit, tuple(UNITS))
        if isinstance(source, str | os.PathLike):
            recorded = read_trace(source, unit=unit).times
        else:
            recorded = check_times(source)
            if unit is not None and not carry_unit(source):
                recorded = recorded * UNITS[unit]
        times = recorded[np.searchsorted(recorded, self.start) :] - self.start
        if len(times) == 0:
            raise ValueError(
                f"start={shown(self.start)}: must not lie beyond the last arrival, {recorded[-1]} s"
            )
        times.setflags(write=False)
        object.__setattr__(self, "times", times)

    @property
    def rate(self) -> float:
        """Mean rate of the recording, requests/s: one over its mean gap.

        Raises:
            ValueError: If all arrivals fall on one moment.
        """
        span = float(self.times[-1] - self.times[0])
        if span == 0.0:
            raise ValueError("Trace: a rate needs arrivals at two different times or more")
        return (len(self.times) - 1) / span

    def __repr__(self) -> str:
        return (
            f"Trace({len(self.times)} arrivals until {self.times[-1]:.1f} s, "
            f"jitter={self.jitter}, start={self.start})"
        )

    def sample(
        self, rng: np.random.Generator, rate: float | None, duration: float
    ) -> NDArray[np.float64]:
        """Draws arrivals; see `ArrivalProcess.sample`. Random only if there is jitter."""
        stretch = 1.0
        if rate is not None:
            check_number("duration", duration, above=0)
            stretch = self.rate / check_number("rate", rate, above=0)
        times = self.times
        if self.jitter > 0.0:
            times = np.sort(times + self.jitter * rng.random(len(times)))
        return _cut(duration, times * stretch)


ARRIVALS: dict[str, Callable[[], ArrivalProcess]] = {
    "poisson": Poisson,
    "gamma": Gamma,
    "mmpp": MMPP,
    "diurnal": Diurnal,
}


def make_arrivals(arrivals: str | ArrivalProcess | Mapping[str, Any]) -> ArrivalProcess:
    """Returns the arrival process of that name with its defaults, or the process as it is.

    >>> make_arrivals("gamma"), make_arrivals({"kind": "gamma", "burstiness": 2.0})
    (Gamma(burstiness=0.5), Gamma(burstiness=2.0))

    Raises:
        ValueError: If the name is unknown.
        TypeError: If it is neither a name nor has a `sample` method; or a mapping has other keys
            than ``kind`` and the fields of that process.
    """
    if isinstance(arrivals, Mapping):
        return _of_mapping(arrivals)
    if isinstance(arrivals, str):
        if arrivals in ARRIVALS:
            return ARRIVALS[arrivals]()
        raise ValueError(
            f"arrivals={shown(arrivals)}: must be one of {', '.join(ARRIVALS)}, or an arrival "
            "process, for instance edgecloud_gym.arrivals.Trace(file) for recorded ones"
        )
    if isinstance(arrivals, type) or not isinstance(arrivals, ArrivalProcess):
        raise TypeError(f"arrivals={shown(arrivals)}: must be a name or an arrival process")
    return arrivals


def _of_mapping(arrivals: Mapping[str, Any]) -> ArrivalProcess:
    settings = dict(arrivals)
    kind = settings.pop("kind", None)
    kinds: dict[str, Callable[..., ArrivalProcess]] = {**ARRIVALS, "trace": Trace}
    if kind not in kinds:
        raise ValueError(f"arrivals={shown(arrivals)}: kind must be one of {', '.join(kinds)}")
    given = {n: tuple(v) if isinstance(v, list) else v for n, v in settings.items()}
    try:
        return kinds[kind](**given)
    except TypeError as error:
        raise TypeError(f"arrivals={shown(arrivals)}: {error}") from error


def mapping_of(process: ArrivalProcess) -> dict[str, Any]:
    """Returns one of the processes here as a mapping of JSON values, for `make_arrivals`.

    Raises:
        TypeError: If it is another.
    """
    if isinstance(process, Trace):
        return {"kind": "trace", "source": process.times.tolist(), "jitter": process.jitter}
    kinds = {made: name for name, made in ARRIVALS.items()}
    if type(process) not in kinds:
        raise TypeError(f"arrivals={shown(process)}: is none of {', '.join(ARRIVALS)} or a trace")
    own: Any = process
    return {"kind": kinds[type(process)], **asdict(own)}


def _unit_poisson(rng: np.random.Generator, length: float) -> NDArray[np.float64]:
    """Returns the points of a Poisson process of rate 1 in [0, length].

    Given their number n they are the order statistics of n uniform draws, and so the partial sums
    of n + 1 exponential ones over their total (Devroye, 1986, chapter V.2): sorted without a sort.
    """
    sums = np.cumsum(rng.standard_exponential(rng.poisson(length) + 1))
    return sums[:-1] * (length / float(sums[-1]))


def _cut(duration: float, times: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the times before `duration`."""
    return times[: int(np.searchsorted(times, duration))]


def _enough(expected: float) -> int:
    """Returns how many draws to take where `expected` are needed on average; mostly enough."""
    return int(1.1 * expected) + 32


def _checked_rate(process: object, rate: float | None, duration: float) -> float:
    if rate is None:
        raise ValueError(f"rate=None: {type(process).__name__} needs an arrival rate")
    check_number("duration", duration, above=0)
    rate = check_number("rate", rate, above=0)
    if rate * duration > MOST_ARRIVALS:
        raise ValueError(
            f"rate={rate!r}, duration={shown(duration)}: must make {MOST_ARRIVALS:g} arrivals at "
            "most"
        )
    return rate
