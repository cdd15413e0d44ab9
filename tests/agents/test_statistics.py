"""Statistics against what is known in closed form."""

import numpy as np
import pandas as pd
import pytest

from agents.statistics import (
    bootstrap_mean,
    common_seeds,
    compare_agents,
    interquartile_mean,
    paired_difference,
    regret,
    regret_over_time,
)


@pytest.mark.parametrize("count", [5, 8, 30])
def test_interval_covers_as_often_as_it_says(count: int) -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(400):
        _, low, high = bootstrap_mean(rng.normal(3.0, 1.0, count))
        covered += low <= 3.0 <= high
    # 95 %, a little less for the fewest: three standard errors are 13 of 400.
    assert 354 <= covered <= 393


def test_interval_is_repeatable_and_close_to_the_normal_one() -> None:
    values = np.random.default_rng(1).normal(0.0, 2.0, 400)
    first = bootstrap_mean(values)
    assert first == bootstrap_mean(values)
    assert first.high - first.low == pytest.approx(2 * 1.96 * 2.0 / 20.0, rel=0.1)


def test_few_values() -> None:
    assert np.isnan(bootstrap_mean([])).all()
    mean, low, high = bootstrap_mean([1.0, 2.0, np.nan, 3.0, 4.0])
    assert mean == 2.5
    assert np.isnan([low, high]).all()


def test_pairing_cancels_what_is_common() -> None:
    common = np.random.default_rng(2).normal(0.0, 100.0, 20)
    difference = paired_difference(common + 1.0, common)
    assert difference == pytest.approx((1.0, 1.0, 1.0))
    assert difference.low > 0.0
    low, high = bootstrap_mean(common)[1:]
    assert low < 0.0 < high


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1.0, 2.0, 3.0, 100.0], 2.5),
        ([5.0], 5.0),
        ([1.0, 2.0, 30.0], 2 * (1 / 12 * 1 + 1 / 3 * 2 + 1 / 12 * 30)),
        (list(range(8)), 3.5),
    ],
)
def test_interquartile_mean(values: list[float], expected: float) -> None:
    assert interquartile_mean(values) == pytest.approx(expected)


def summary() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "env": "E",
            "agent": ["a"] * 5 + ["b"] * 5,
            "seed": [0, 1, 2, 3, 4, 4, 3, 2, 1, 0],
            "jct_mean": [1.0, 2.0, 3.0, 4.0, 5.0, 8.0, 7.0, 6.0, 5.0, 4.0],
        }
    )


def test_comparisons_are_paired_by_seed() -> None:
    table = compare_agents(summary(), "jct_mean", baseline="a").set_index("agent")
    assert table.loc["a", "mean"] == 3.0
    assert np.isnan(table.loc["a", "difference"])
    assert table.loc["b", ["difference", "difference_low", "difference_high"]].tolist() == [3, 3, 3]


def test_without_the_baseline() -> None:
    assert compare_agents(summary(), "jct_mean", baseline="fcfs")["difference"].isna().all()


def test_all_are_compared_on_the_seeds_that_all_have() -> None:
    """ "b" did not finish seeds 3 and 4, on which "a" is slow."""
    missing = summary()[~((summary()["agent"] == "b") & (summary()["seed"] >= 3))]
    table = compare_agents(missing, "jct_mean", baseline="a").set_index("agent")
    assert table["n"].tolist() == [3, 3]
    assert table.loc["a", "mean"] == 2.0
    assert table.loc["b", "difference"] == 3.0
    common = common_seeds(missing)
    assert common.seeds == (0, 1, 2)
    assert common.missing == {"b": (3, 4)}


def test_a_seed_without_a_value_is_left_out_for_all() -> None:
    undefined = summary()
    undefined.loc[4, "jct_mean"] = np.nan  # of "a" on seed 4: nothing was completed
    table = compare_agents(undefined, "jct_mean", baseline="a").set_index("agent")
    assert table["n"].tolist() == [4, 4]
    assert table["mean"].tolist() == [2.5, 5.5]
    nothing = summary().assign(error=[np.nan] * 5 + [1.0] * 5)  # "a" predicts nothing at all
    table = compare_agents(nothing, "error", baseline="a").set_index("agent")
    assert table.loc["b", "mean"] == 1.0
    assert np.isnan(table.loc["a", "mean"])


def test_the_rows_of_other_tables_that_belong() -> None:
    common = common_seeds(summary(), ["a", "b"], [0, 1, 2, 3, 4, 5])
    assert common.missing == {"a": (5,), "b": (5,)}
    table = pd.DataFrame({"agent": ["a", "a", "c"], "seed": [0, 9, 0], "x": 1.0})
    assert common.of(table).index.tolist() == [0]


def test_regret() -> None:
    requests = pd.DataFrame(
        {
            "env": "E",
            "agent": ["fcfs"] * 3 + ["sjf-oracle"] * 3,
            "seed": 0,
            "request_id": [0, 1, 2, 0, 1, 2],
            "jct": [1.0, 5.0, np.nan, 2.0, 1.0, 3.0],
        }
    )
    each = regret(requests).query("agent == 'fcfs'")["regret"]
    assert each.tolist()[:2] == [-1.0, 4.0]
    assert np.isnan(each.iloc[2])
    assert regret(requests[requests["agent"] == "fcfs"]).empty


def test_regret_over_time() -> None:
    """Regret 3 s in the first half of each run and 1 s in the second, plus the seed."""
    runs = []
    for seed, count in enumerate((10, 30, 12, 14, 16)):
        ids = np.arange(count)
        for agent in ("sjf-oracle", "c2ucb"):
            excess = 0.0 if agent == "sjf-oracle" else np.where(2 * ids < count, 3.0, 1.0) + seed
            columns = {"request_id": ids, "jct": ids % 7 + excess}
            runs.append(pd.DataFrame({"env": "E", "agent": agent, "seed": seed, **columns}))
    table = regret_over_time(pd.concat(runs), windows=2).set_index(["agent", "window"])
    assert table.loc["c2ucb", "regret"].tolist() == [5.0, 3.0]
    low, high = table.loc[("c2ucb", 1), ["low", "high"]]
    assert 1.0 <= low < 2.0
    assert 4.0 < high <= 5.0
    assert table.loc["sjf-oracle", "regret"].tolist() == [0.0, 0.0]


def test_regret_over_time_against_both_yardsticks() -> None:
    log = pd.DataFrame({"env": "E", "seed": 0, "request_id": range(4)})
    jcts = {"fcfs": 5.0, "sjf-oracle": 3.0, "oracle-placement": 2.0}
    runs = pd.concat([log.assign(agent=agent, jct=jct) for agent, jct in jcts.items()])
    found = regret_over_time(runs, windows=1).set_index(["oracle", "agent"])["regret"]
    assert found["sjf-oracle"].to_dict() == {"fcfs": 2.0, "sjf-oracle": 0.0, "oracle-placement": -1}
    assert found["oracle-placement", "fcfs"] == 3.0
    alone = regret_over_time(runs, windows=1, oracle="oracle-placement")
    assert set(alone["oracle"]) == {"oracle-placement"}
    assert regret_over_time(runs[runs["agent"] == "fcfs"]).empty
