"""Statistics of comparisons: intervals, paired differences, regret. Pure functions."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]

CONFIDENCE: Final = 0.95
RESAMPLES: Final = 10_000
FEWEST: Final = 5  # values for an interval: of fewer, not even their whole range covers 90 %
ORACLE: Final = "sjf-oracle"
ORACLES: Final = (ORACLE, "oracle-placement")  # who know the true times: the yardsticks of regret


class Estimate(NamedTuple):
    """A mean with its confidence interval."""

    mean: float
    low: float
    high: float


def bootstrap_mean(values: ArrayLike, seed: int = 0) -> Estimate:
    """Returns the mean with its expanded percentile bootstrap interval of 95 %.

    Resamples the values, one per seed of an experiment, with replacement. The plain percentiles of
    the resamples' means hold the true mean too seldom when values are few (85 % of the time for 5
    normal ones): levels are widened by what tells Student's interval from one with the population
    formula for the variance (T. C. Hesterberg, What Teachers Should Know About the Bootstrap, The
    American Statistician 69(4), 2015, "expanded percentile interval").

    Args:
        values: Independent values (n,); NaN are left out.
        seed: Seeds the resampling, so that a table does not change when it is made again.

    Returns:
        NaN throughout for no values; an interval of NaN for fewer than 5, whose range alone says
        too little about their spread.
    """
    sample = np.asarray(values, np.float64)
    sample = sample[np.isfinite(sample)]
    n = len(sample)
    if n == 0:
        return Estimate(np.nan, np.nan, np.nan)
    mean = float(sample.mean())
    if n < FEWEST:
        return Estimate(mean, np.nan, np.nan)
    rng = np.random.default_rng(seed)
    means = sample[rng.integers(n, size=(RESAMPLES, n))].mean(axis=1)
    low, high = np.quantile(means, _expanded_levels(n))
    return Estimate(mean, float(low), float(high))


def _expanded_levels(n: int) -> tuple[float, float]:
    """Returns the quantiles at which the interval of n values ends."""
    from scipy.special import ndtr, stdtrit

    student = stdtrit(n - 1, 0.5 + 0.5 * CONFIDENCE)
    tail = float(ndtr(-student * np.sqrt(n / (n - 1))))
    return tail, 1.0 - tail


def paired_difference(values: ArrayLike, baseline: ArrayLike, seed: int = 0) -> Estimate:
    """Returns the mean of ``values - baseline``, paired entry by entry, with its interval.

    Under common random numbers most of the variation between seeds is common to both and cancels.
    """
    return bootstrap_mean(np.asarray(values, float) - np.asarray(baseline, float), seed)


def interquartile_mean(values: ArrayLike) -> float:
    """Returns the mean of the middle half: of the values without the lowest and highest quarter.

    A quarter that is no whole number takes the value at its border in part, so that no value
    matters more or less for being one of an awkward number (Agarwal et al., Deep Reinforcement
    Learning at the Edge of the Statistical Precipice, NeurIPS 2021, use whole numbers).
    """
    ordered = np.sort(np.asarray(values, np.float64))
    n = len(ordered)
    if n == 0 or np.isnan(ordered[-1]):
        return float("nan")
    # Value i stands for the interval [i, i + 1] / n; its weight is what lies in [1/4, 3/4].
    edges = np.clip(np.arange(n + 1) / n, 0.25, 0.75)
    return float(2.0 * ordered @ np.diff(edges))


@dataclass(frozen=True)
class CommonSeeds:
    """The part of one scenario's runs in which agents can be compared.

    An agent that failed on the busiest seeds would look quick on the rest: all are compared on the
    seeds that every one of them finished, those on which no request arrived aside.

    Attributes:
        rows: One row per run of an agent that is compared, on a seed that all of these finished.
        seeds: These seeds.
        empty: Seeds on which no request arrived.
        missing: Per agent that did not finish every seed, the seeds it lacks.
        left_out: Agents that share no seed with the others, and are not compared.
    """

    rows: pd.DataFrame
    seeds: tuple[int, ...]
    empty: tuple[int, ...]
    missing: dict[str, tuple[int, ...]]
    left_out: tuple[str, ...]

    def of(self, table: pd.DataFrame) -> pd.DataFrame:
        """Returns the rows of another table of the scenario that belong to these runs."""
        kept = table["agent"].isin(set(self.rows["agent"])) & table["seed"].isin(self.seeds)
        return table[kept]


def common_seeds(
    summary: pd.DataFrame, agents: Iterable[str] = (), seeds: Iterable[int] = ()
) -> CommonSeeds:
    """Finds the seeds on which the agents of one scenario can be compared.

    Args:
        summary: One row per finished run of the scenario: ``agent``, ``seed`` and metrics.
        agents: Who was to play, besides those of whom there are rows.
        seeds: The seeds that were to be played, besides those of which there are rows.
    """
    empty: set[int] = set()
    if "arrived" in summary:
        empty = {int(seed) for seed in summary.loc[summary["arrived"] == 0, "seed"]}
    planned = {*map(int, summary["seed"]), *seeds}
    finished = {str(agent): {*map(int, part)} for agent, part in summary.groupby("agent")["seed"]}
    everyone = dict.fromkeys([*map(str, summary["agent"]), *agents])
    missing = {a: tuple(sorted(planned - finished.get(a, set()))) for a in everyone}
    compared = {agent: finished[agent] - empty for agent in everyone if agent in finished}
    common = set.intersection(*compared.values()) if compared else set()
    while not common and any(compared.values()):
        del compared[min(compared, key=lambda agent: len(compared[agent]))]
        common = set.intersection(*compared.values())
    rows = summary[summary["agent"].isin(compared) & summary["seed"].isin(common)]
    return CommonSeeds(
        rows=rows,
        seeds=tuple(sorted(common)),
        empty=tuple(sorted(empty)),
        missing={agent: lacking for agent, lacking in missing.items() if lacking},
        left_out=tuple(agent for agent in everyone if agent not in compared),
    )


def compare_agents(summary: pd.DataFrame, metric: str, baseline: str) -> pd.DataFrame:
    """Compares the agents of a summary by one metric, on the seeds that all have finished.

    Args:
        summary: One row per run: ``env``, ``agent``, ``seed`` and metrics.
        metric: The column compared.
        baseline: The agent that the others are paired with, seed by seed.

    Returns:
        One row per ``env`` and ``agent``, in the summary's order: ``n``, the number of seeds,
        ``mean``, ``low``, ``high``, ``iqm`` (interquartile mean over seeds), and ``difference``,
        ``difference_low``, ``difference_high`` from the baseline; NaN for these where the baseline
        did not run.
    """
    import pandas as pd

    rows = []
    for env, table in summary.groupby("env", sort=False):
        kept = common_seeds(table).rows
        by_seed = values_by_seed(kept, metric)
        # A seed on which the metric is undefined for one agent is left out for all.
        defined = by_seed.dropna(axis="columns", how="all").dropna().index
        by_seed = by_seed.loc[defined]
        for agent in kept["agent"].unique():
            values = by_seed[agent]
            mean = bootstrap_mean(values)
            difference = Estimate(np.nan, np.nan, np.nan)
            if baseline in by_seed and agent != baseline:
                difference = paired_difference(values, by_seed[baseline])
            rows.append((env, agent, len(by_seed), *mean, interquartile_mean(values), *difference))
    columns = ["env", "agent", "n", "mean", "low", "high", "iqm"]
    names = ["difference", "difference_low", "difference_high"]
    return pd.DataFrame(rows, columns=columns + names)


def values_by_seed(rows: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Returns a metric with one row per seed and one column per agent, of one scenario."""
    return rows.pivot_table(index="seed", columns="agent", values=metric, dropna=False)


def yardsticks(agents: Iterable[str]) -> list[str]:
    """Returns those of some agents that regret is told against."""
    present = set(agents)
    return [oracle for oracle in ORACLES if oracle in present]


def regret(requests: pd.DataFrame, oracle: str = ORACLE) -> pd.DataFrame:
    """Returns each request's regret: its JCT less its JCT under the oracle, on the same trace.

    Its sum over a run is the run's regret, its running sum the learning curve.
    The oracle is informed, not optimal: single regrets, and even sums, may be negative.

    Args:
        requests: The request log with ``env``, ``agent``, ``seed``, ``request_id``, ``jct``.
        oracle: The agent to compare with.

    Returns:
        ``env``, ``agent``, ``seed``, ``request_id``, ``regret`` (s): NaN where either run did not
        finish the request. Empty if the oracle did not run.
    """
    keys = ["env", "seed", "request_id"]
    informed = requests.loc[requests["agent"] == oracle, [*keys, "jct"]]
    merged = requests.merge(informed, on=keys, suffixes=("", "_oracle"), how="inner")
    merged["regret"] = merged["jct"] - merged["jct_oracle"]
    return merged[["env", "agent", "seed", "request_id", "regret"]]


def regret_over_time(
    requests: pd.DataFrame, windows: int = 4, oracle: str | None = None
) -> pd.DataFrame:
    """Returns how regret per request develops over an episode.

    Args:
        requests: See `regret`.
        windows: Into how many windows a run's requests, in order of arrival, are cut.
        oracle: The agent to compare with; by default each of `ORACLES` that played.

    Returns:
        One row per ``oracle``, ``env``, ``agent`` and ``window`` (0, 1, ...): ``regret``, the mean
        over seeds of the mean regret per request (s), with its interval ``low`` and ``high``.
    """
    import pandas as pd

    compared = yardsticks(requests["agent"].unique()) if oracle is None else [oracle]
    tables = [_over_time(regret(requests, name), windows, name) for name in compared or [ORACLE]]
    return pd.concat(tables, ignore_index=True)


def _over_time(each: pd.DataFrame, windows: int, oracle: str) -> pd.DataFrame:
    """Returns regrets against one oracle by windows; see `regret_over_time`."""
    import pandas as pd

    runs = each.groupby(["env", "agent", "seed"], sort=False, observed=True)["request_id"]
    each["window"] = each["request_id"] * windows // (runs.transform("max") + 1)
    keys = ["env", "agent", "window"]
    by_run = each.groupby([*keys, "seed"], sort=False, observed=True)["regret"].mean()
    rows = [
        (oracle, *key, *bootstrap_mean(means))
        for key, means in by_run.groupby(keys, sort=False, observed=True)
    ]
    return pd.DataFrame(rows, columns=["oracle", *keys, "regret", "low", "high"])
