"""Arrival processes against their closed forms."""

import copy
import math
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray
from scipy import stats

from edgecloud_gym.arrivals import (
    ARRIVALS,
    MMPP,
    ArrivalProcess,
    Diurnal,
    Gamma,
    Poisson,
    Trace,
    make_arrivals,
)

PROCESSES: list[ArrivalProcess] = [
    Poisson(),
    Gamma(0.2),
    Gamma(5.0),
    MMPP(),
    MMPP(rates=(0.0, 1.0, 4.0), dwell=(2.0, 5.0, 1.0)),
    Diurnal(amplitude=1.0, period=50.0, phase=10.0),
    Trace(np.linspace(0.0, 100.0, 301), jitter=0.5),
]


def draws(
    process: ArrivalProcess, rate: float, duration: float, episodes: int
) -> list[NDArray[np.float64]]:
    rng = np.random.default_rng(20)
    return [process.sample(rng, rate, duration) for _ in range(episodes)]


def counts(
    process: ArrivalProcess, rate: float, duration: float, episodes: int
) -> NDArray[np.int64]:
    return np.array([len(times) for times in draws(process, rate, duration, episodes)])


@pytest.mark.parametrize("process", PROCESSES, ids=repr)
@given(
    seed=st.integers(0, 2**32),
    rate=st.floats(0.01, 20.0),
    duration=st.floats(0.1, 300.0),
)
def test_times_are_sorted_in_range_and_repeatable(
    process: ArrivalProcess, seed: int, rate: float, duration: float
) -> None:
    times = process.sample(np.random.default_rng(seed), rate, duration)
    assert times.dtype == np.float64
    assert times.ndim == 1
    assert (np.diff(times) >= 0).all()
    assert ((times >= 0) & (times < duration)).all()
    assert_array_equal(times, process.sample(np.random.default_rng(seed), rate, duration))


@pytest.mark.parametrize(
    "process",
    [Poisson(), Gamma(0.1), Gamma(4.0), MMPP(), Diurnal(amplitude=0.8, period=25.0)],
    ids=repr,
)
@pytest.mark.parametrize("duration", [25.0, 200.0])
def test_mean_rate_holds_without_warm_up(process: ArrivalProcess, duration: float) -> None:
    n = counts(process, rate=2.0, duration=duration, episodes=3000)
    assert abs(n.mean() - 2.0 * duration) < 4.0 * n.std() / math.sqrt(len(n))


def test_poisson_counts_and_gaps() -> None:
    episodes = draws(Poisson(), rate=2.0, duration=50.0, episodes=2000)
    n = np.array([len(times) for times in episodes])
    assert n.var() / n.mean() == pytest.approx(1.0, abs=0.13)  # 4 standard errors
    # Given their number, arrivals are uniform.
    assert stats.kstest(np.concatenate(episodes[:500]) / 50.0, "uniform").pvalue > 1e-3


@pytest.mark.parametrize("burstiness", [0.1, 0.5, 1.0, 4.0])
def test_gamma_coefficient_of_variation(burstiness: float) -> None:
    (times,) = draws(Gamma(burstiness), rate=2.0, duration=50_000.0, episodes=1)
    gaps = np.diff(times)
    variation = gaps.std() / gaps.mean()
    assert variation == pytest.approx(1.0 / math.sqrt(burstiness), rel=0.05)


@pytest.mark.parametrize("burstiness", [0.5, 1.0, 4.0])
def test_gamma_distribution_of_gaps(burstiness: float) -> None:
    (times,) = draws(Gamma(burstiness), rate=2.0, duration=50_000.0, episodes=1)
    gaps = np.diff(times)
    assert stats.kstest(gaps, stats.gamma(burstiness, scale=0.5 / burstiness).cdf).pvalue > 1e-3


def test_mmpp_variance_of_counts() -> None:
    # Two states, in equilibrium (Fischer and Meier-Hellstern, 1993): with a, b the rates, p, q the
    # shares of time, c the sum of the switching rates and m the mean rate,
    # Var N(t) = m t + 2 p q (a - b)^2 / c^2 · (c t - 1 + exp(-c t)).
    process = MMPP(rates=(0.5, 2.5), dwell=(9.0, 3.0))
    t, a, b, p, q, c = 20.0, 1.0, 5.0, 0.75, 0.25, 1 / 9 + 1 / 3
    variance = 2.0 * t + 2 * p * q * (a - b) ** 2 / c**2 * (c * t - 1 + math.exp(-c * t))
    n = counts(process, rate=2.0, duration=t, episodes=8000)
    assert n.var() == pytest.approx(variance, rel=0.08)
    assert n.var() > 3.0 * n.mean()  # far from Poisson


def test_mmpp_with_equal_rates_is_poisson() -> None:
    n = counts(MMPP(rates=(3.0, 3.0), dwell=(1.0, 2.0)), rate=2.0, duration=20.0, episodes=3000)
    assert n.var() / n.mean() == pytest.approx(1.0, abs=0.11)


def test_mmpp_silent_state_is_silent() -> None:
    process = MMPP(rates=(0.0, 1.0), dwell=(50.0, 50.0))
    n = counts(process, rate=2.0, duration=1.0, episodes=4000)
    # Silence while in the first state (half the time, hardly a switch within 1 s).
    assert np.mean(n == 0) == pytest.approx(0.5 + 0.5 * math.exp(-4.0), abs=0.04)


def test_diurnal_profile() -> None:
    process = Diurnal(amplitude=0.9, period=100.0, phase=30.0)
    times = np.concatenate(draws(process, rate=5.0, duration=300.0, episodes=60))
    edges = np.linspace(0.0, 300.0, 31)
    observed = np.histogram(times, edges)[0]
    angle = 2 * np.pi / 100.0 * (edges + 30.0)
    expected = 60 * 5.0 * np.diff(edges - 0.9 * 100.0 / (2 * np.pi) * np.cos(angle))
    statistic = ((observed - expected) ** 2 / expected).sum()
    assert stats.chi2(len(observed)).sf(statistic) > 1e-3


def test_trace_keeps_its_own_times() -> None:
    trace = Trace([0.5, 1.0, 1.0, 4.0])
    rng = np.random.default_rng(0)
    assert_array_equal(trace.sample(rng, None, 600.0), [0.5, 1.0, 1.0, 4.0])
    assert_array_equal(trace.sample(rng, None, 4.0), [0.5, 1.0, 1.0])
    assert_array_equal(Trace([0.5, 1.0, 1.0, 4.0], start=1.0).sample(rng, None, 9.0), [0, 0, 3])


def test_trace_is_stretched_to_the_rate() -> None:
    trace = Trace([0.0, 1.0, 2.0, 6.0])
    assert trace.rate == 0.5
    times = trace.sample(np.random.default_rng(0), 5.0, 600.0)
    assert_allclose(times, [0.0, 0.1, 0.2, 0.6])


def test_trace_jitter_spreads_the_ticks_of_a_coarse_clock() -> None:
    ticks = np.repeat(np.arange(100.0), 5)
    times = Trace(ticks, jitter=1.0).sample(np.random.default_rng(0), None, 200.0)
    assert len(np.unique(times)) == len(ticks)
    assert_array_equal(np.floor(times), ticks)
    assert stats.kstest(times % 1.0, "uniform").pvalue > 1e-3


def test_trace_does_not_share_its_times() -> None:
    trace = Trace([0.0, 1.0])
    trace.sample(np.random.default_rng(0), None, 9.0)[0] = 7.0
    assert_array_equal(trace.times, [0.0, 1.0])
    assert_array_equal(copy.deepcopy(trace).times, trace.times)


def test_trace_of_a_file(shared_dir: Path) -> None:
    trace = Trace(shared_dir / "data" / "AzureLLMInferenceTrace_conv.csv.gz")
    assert trace.rate == pytest.approx(19365 / 3501.721937)
    times = trace.sample(np.random.default_rng(0), 2.0, 600.0)
    # The same requests as in the first 600 s · 2.0 / rate of the recording.
    assert len(times) == np.searchsorted(trace.times, 600.0 * 2.0 / trace.rate)


START = datetime(2024, 5, 10, 23, 59, 59, 500_000)


@pytest.mark.parametrize(
    "source",
    [
        pd.Series([0.5, 1.0, 4.0]),
        pd.Series(pd.to_timedelta([0.5, 1.0, 4.0], unit="s")),
        pd.to_timedelta([500, 1000, 4000], unit="ms"),
        list(pd.to_timedelta([0.5, 1.0, 4.0], unit="s")),
        [timedelta(seconds=second) for second in (0.5, 1.0, 4.0)],
        np.array([500, 1000, 4000], dtype="timedelta64[ms]"),
        np.array([500_000, 1_000_000, 4_000_000], dtype="timedelta64[us]"),
        np.array([np.timedelta64(ms, "ms") for ms in (500, 1000, 4000)], dtype=object),
    ],
    ids=lambda source: type(source).__name__,
)
def test_durations_count_by_their_unit(source: object) -> None:
    assert_allclose(Trace(source).times, [0.5, 1.0, 4.0])  # type: ignore[arg-type]


def test_days_are_dates() -> None:
    days = [START.date(), START.date() + timedelta(days=2)]
    assert_array_equal(Trace(days).times, [0.0, 172800.0])  # type: ignore[arg-type]
    months = np.array(["2024-01", "2024-02"], dtype="datetime64[M]")
    assert_array_equal(Trace(months).times, [0.0, 31 * 86400.0])


@pytest.mark.parametrize("zone", [None, "UTC", "Europe/Berlin"])
@pytest.mark.parametrize("kind", [list, pd.Series, np.array])
def test_dates_count_from_the_first(zone: str | None, kind: type) -> None:
    dates = pd.DatetimeIndex([START + timedelta(seconds=s) for s in (0, 0.5, 3.5)], tz=zone)
    assert_allclose(Trace(kind(dates)).times, [0.0, 0.5, 3.5])


def test_plain_numbers_may_have_a_unit() -> None:
    assert_allclose(Trace([500, 1000], unit="ms").times, [0.5, 1.0])
    assert_allclose(Trace(np.array([0, 5 * 10**8]), unit="ns").times, [0.0, 0.5])
    assert_allclose(Trace([Decimal(500), Decimal(1000)], unit="ms").times, [0.5, 1.0])
    assert_allclose(Trace([timedelta(seconds=2)], unit="ms").times, [2.0])  # has its own
    for source in ([0.0], [timedelta(seconds=2)]):
        with pytest.raises(ValueError, match="unit='min': must be one of 's', 'ms', 'us', 'ns'"):
            Trace(source, unit="min")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"source": [pd.Timestamp(START), pd.NaT]}, "entry 1 is nan"),
        ({"source": [START, START - timedelta(seconds=4)]}, "comes before"),
        ({"source": [START, timedelta(seconds=4)]}, "numbers"),
        ({"source": [pd.NaT, timedelta(seconds=4)]}, "entry 0 is nan"),
        ({"source": [None, pd.Timestamp(START)]}, "entry 0 is nan"),
        (
            {"source": np.array([1.0, np.timedelta64(2500, "ms")], dtype=object)},
            "entry 0 is float 1.0, no time",
        ),
        ({"source": np.array([np.timedelta64(2)], dtype=object)}, "entry 0 is a duration without"),
        ({"source": [0.0, 2.0, 1.0]}, "entry 2"),
        ({"source": []}, "non-empty"),
        ({"source": np.array([1, 2], dtype="timedelta64[M]")}, "months and years are of no fixed"),
        ({"source": [0.0, 1.0], "jitter": -1.0}, "jitter"),
        ({"source": [0.0, 1.0], "jitter": math.nan}, "jitter"),
        (
            {"source": [0.0, 1.0], "start": 1.5},
            r"start=1\.5: must not lie beyond the last arrival, 1\.0 s",
        ),
        ({"source": [0.0, 1.0], "start": math.inf}, "start"),
    ],
)
def test_bad_trace(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Trace(**arguments)  # type: ignore[arg-type]


def test_a_trace_of_one_moment_has_no_rate() -> None:
    trace = Trace([1.0, 1.0])
    with pytest.raises(ValueError, match="two different times"):
        trace.sample(np.random.default_rng(0), 2.0, 10.0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Gamma(0.0), "burstiness=0.0: must be a finite number >= 0.001"),
        (lambda: Gamma(math.nan), "burstiness"),
        (lambda: Gamma(math.inf), "burstiness"),
        (lambda: MMPP(rates=(1.0,), dwell=(1.0,)), "two states"),
        (lambda: MMPP(rates=(1.0, 2.0), dwell=(1.0,)), "one entry per state each"),
        (lambda: MMPP(rates=5, dwell=5), "one entry per state each"),  # type: ignore[arg-type]
        (lambda: MMPP(rates=(1.0, -2.0)), "rates=-2.0: must be a finite number >= 0"),
        (lambda: MMPP(rates=(0.0, 0.0)), "not all be 0"),
        (lambda: MMPP(dwell=(1.0, 0.0)), "dwell=0.0: must be a finite number > 0"),
        (lambda: Diurnal(amplitude=1.1), "amplitude=1.1: must be a finite number from 0 to 1"),
        (lambda: Diurnal(period=0.0), "period"),
        (lambda: Diurnal(phase=math.inf), "phase"),
    ],
)
def test_bad_parameters(make: type[ArrivalProcess], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    "make",
    [
        lambda: MMPP(rates=np.ma.array([1.0, 2.0], mask=[False, True])),
        lambda: MMPP(dwell=np.ma.array([1.0, 2.0], mask=[True, False])),
        lambda: MMPP(rates=(1.0, 2j)),  # type: ignore[arg-type]
        lambda: MMPP(rates=(1.0, True)),
        lambda: Gamma(np.ma.masked),
        lambda: Diurnal(period="5"),  # type: ignore[arg-type]
        lambda: Poisson().sample(np.random.default_rng(0), np.ma.masked, 5.0),
    ],
)
def test_parameters_are_real_numbers(make: type[ArrivalProcess]) -> None:
    with pytest.raises(TypeError, match=r"=.*: must be a finite number"):
        make()


@pytest.mark.parametrize("process", PROCESSES[:-1], ids=repr)
def test_more_arrivals_than_fit_are_refused(process: ArrivalProcess) -> None:
    with pytest.raises(ValueError, match=r"rate=1e\+300, .*: must make 1e\+08 arrivals at most"):
        process.sample(np.random.default_rng(0), 1e300, 10.0)


@pytest.mark.parametrize("process", PROCESSES, ids=repr)
@pytest.mark.parametrize(
    ("rate", "duration", "message"),
    [
        (0.0, 10.0, "rate=0.0: must be a finite number > 0"),
        (math.nan, 10.0, "rate"),
        (math.inf, 10.0, "rate"),
        (1.0, 0.0, "duration=0.0: must be a finite number > 0"),
        (1.0, math.nan, "duration"),
    ],
)
def test_bad_rate_or_duration(
    process: ArrivalProcess, rate: float, duration: float, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        process.sample(np.random.default_rng(0), rate, duration)


@pytest.mark.parametrize("name", ARRIVALS)
def test_names(name: str) -> None:
    process = make_arrivals(name)
    assert isinstance(process, ArrivalProcess)
    assert make_arrivals(process) is process
    with pytest.raises(ValueError, match=f"{type(process).__name__} needs an arrival rate"):
        process.sample(np.random.default_rng(0), None, 10.0)


def test_unknown_names_and_things_that_are_no_process() -> None:
    with pytest.raises(
        ValueError, match=r"arrivals='trace': must be one of poisson, gamma, mmpp, diurnal.*Trace"
    ):
        make_arrivals("trace")
    with pytest.raises(TypeError, match=r"arrivals=3\.0: must be a name or an arrival process"):
        make_arrivals(3.0)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="Poisson"):
        make_arrivals(Poisson)  # type: ignore[arg-type]
