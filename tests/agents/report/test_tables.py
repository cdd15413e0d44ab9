"""The tables: who is compared with whom, on what, and how it is written down."""

from io import StringIO
from typing import Any

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from agents.report.legends import notes, played_notes, prompt_notes, setting_notes, sweep_notes
from agents.report.markdown import render_markdown
from agents.report.regret_tables import learning, regrets
from agents.report.sections import failures, scenario_sections, tables_of
from agents.report.tables import TextTable, numbers, ranking, sweep, tails
from agents.report.terminal import print_results, print_table
from agents.statistics import ORACLE, common_seeds


def summary_of(
    seeds: int, means: dict[str, float] | None = None, missing: dict[str, list[int]] | None = None
) -> pd.DataFrame:
    """What is common to a seed (busy ones last), and a little of each agent's own."""
    rng = np.random.default_rng(0)
    found = means or {"slow": 9.0, "fcfs": 5.0, "same": 5.0, ORACLE: 3.0}
    rows = []
    for agent, mean in found.items():
        for seed in range(seeds):
            value = mean + 0.5 * seed + 0.01 * rng.normal()
            if seed not in (missing or {}).get(agent, []):
                rows.append(row(agent, seed, value))
    return pd.DataFrame(rows)


def row(agent: str, seed: int, value: float, **more: Any) -> dict[str, Any]:
    return {
        "env": "E",
        "agent": agent,
        "seed": seed,
        "arrived": 100.0,
        "completed": 100.0,
        "jct_mean_censored": value,
        "jct_p95_censored": 2 * value,
        "jct_p99_censored": 3 * value,
        "prediction_error_mean": np.nan,
        "predictions": 0.0,
        "offload_rate": 0.5,
        "unfinished": 0.0,
        "slo_attainment": np.nan,
        "goodput": np.nan,
        **more,
    }


class Results:
    """Results in memory, of a summary alone."""

    def __init__(self, summary: pd.DataFrame, **record: Any) -> None:
        self.summary = summary
        self.timeseries = self.requests = pd.DataFrame()
        agents = [
            {"label": label, "explore": True, "work_conserving": {"E": False}}
            for label in summary["agent"].unique()
        ]
        self.record = {
            "scenarios": [{"label": "E", "env": "E", "settings": {}, "configuration": {}}],
            "agents": agents,
            "seeds": sorted({int(seed) for seed in summary["seed"]}),
            "failures": [],
            **record,
        }


def shown(results: Any, baseline: str = "fcfs", width: int = 80) -> str:
    console = Console(width=width, file=StringIO())
    print_results(console, results, baseline)
    text: str = console.file.getvalue()  # type: ignore[attr-defined]
    return text


def test_ranking_marks_the_best_and_who_beats_whom() -> None:
    table = ranking(summary_of(8), "fcfs")
    assert table.columns["agent"][0] == ORACLE
    assert table.columns["agent"][-1] == "slow"
    assert table.columns["beats"][0] == "2–4"
    assert table.columns["beats"][-1] == "–"
    assert set(table.columns["n"]) == {"8"}
    # The best of those that do not know the true times; the oracle is above it.
    assert {number for number, _ in table.best} == {1}


def test_few_seeds_prove_nothing() -> None:
    table = ranking(summary_of(4), "fcfs", wide=True)
    assert set(table.columns["beats"]) == {"–"}
    assert not any("[" in cell for cells in table.columns.values() for cell in cells)
    assert table.columns["vs fcfs"][-1].startswith("+")
    for seeds in (4, 8):
        legend = legend_of(Results(summary_of(seeds)))
        assert ("need 5 seeds" in legend) == (seeds < 5)
        assert ("bootstrap" in legend) == (seeds >= 5)
        assert ("beats: " in legend) == (seeds >= 5)


def legend_of(results: Any, baseline: str = "fcfs", *, wide: bool = True) -> str:
    tables = tables_of(scenario_sections(results, baseline, wide=wide))
    return " ".join(notes(results, baseline, tables))


@pytest.mark.parametrize("wide", [True, False])
def test_legends_explain_the_columns_that_are_there(wide: bool) -> None:
    """Each column by its name, and nothing of columns that the tables have not."""
    more = {"slo_attainment": 0.9, "goodput": 3.0, "prediction_error_mean": 0.1, "predictions": 9.0}
    scenario = {"label": "E", "env": "E", "settings": {}, "configuration": {"slo": 5.0}}
    full = pd.DataFrame([row("fcfs", seed, 2.0, unfinished=1.0, **more) for seed in range(5)])
    for summary in (full, summary_of(5), full[:0], full.assign(arrived=0.0)):
        results = Results(summary, scenarios=[scenario])
        tables = tables_of(scenario_sections(results, "fcfs", wide=wide))
        legend = legend_of(results, wide=wide)
        titles = {title for table in tables for title in table.columns}
        assert ("JCT s" in titles) == (len(tables) > 0)
        for title, meaning in {
            "JCT s": "JCT:",
            "p99 s": "p95, p99:",
            "vs fcfs": "vs fcfs:",
            "in time": "in time:",
            "goodput /s": "goodput:",
            "cloud": "cloud:",
            "unfinished": "unfinished:",
            "IQM s": "IQM:",
            "error s": "error:",
        }.items():
            assert (title in titles) == (meaning in legend), title


def test_the_legend_of_a_sweep_has_what_its_cells_have() -> None:
    for seeds in (2, 6):
        both = pd.concat([summary_of(seeds).assign(env="E low"), summary_of(seeds)])
        table = sweep(both, {"E low": 0.5, "E": 1.0}, "fcfs")
        legend = " ".join(sweep_notes([table], "fcfs"))
        assert ("bootstrap" in legend) == (seeds == 6)
        assert "In parentheses" in legend
        alone = sweep(both, {"E low": 0.5, "E": 1.0}, "nobody")
        assert "In parentheses" not in " ".join(sweep_notes([alone], "nobody"))


def test_all_that_are_equal_are_best() -> None:
    means = [("slow", 9.0), ("fcfs", 0.3), ("same", 0.1 + 0.2), ("near", 0.301), (ORACLE, 0.1)]
    summary = pd.DataFrame([row(agent, seed, mean) for agent, mean in means for seed in range(5)])
    table = ranking(summary, "fcfs")
    assert {table.columns["agent"][number] for number, _ in table.best} == {"fcfs", "same"}
    for title in ("p95 s", "p99 s"):
        assert [t for _, t in tails(summary, "fcfs").best].count(title) == 2
    both = pd.concat([summary.assign(env="F"), summary])
    assert len(sweep(both, {"E": 0.5, "F": 1.0}, "fcfs").best) == 4


def test_one_is_not_in_the_plural() -> None:
    (section,) = scenario_sections(Results(summary_of(1)), "fcfs", wide=False)
    assert section.facts == "1 seed, 100 requests each"
    summary = summary_of(2, {"fcfs": 5.0, "b": 4.0}, missing={"b": [1]})
    summary["arrived"] = 1.0
    (section,) = scenario_sections(Results(summary), "fcfs", wide=False)
    assert section.facts == "1 of 2 seeds, 1 request each"
    assert section.notes == [
        "b has failed on seed 1 and is compared on the others.",
        "All figures are of the 1 seed that every agent ranked has finished.",
    ]


def test_a_setting_that_some_environments_lack_is_said() -> None:
    scenarios = [
        {"label": "a", "env": "E", "settings": {"batch": 3, "load": 1.0}},
        {"label": "b", "env": "E", "settings": {"batch": 4, "load": 2.0}},
        {"label": "c", "env": "F", "settings": {"load": 1.0}},
    ]
    assert setting_notes({"scenarios": scenarios}) == ["batch is set for E, not for F."]
    assert setting_notes({"scenarios": scenarios[:2]}) == []
    assert "batch is set for E" in legend_of(Results(summary_of(5), scenarios=scenarios))


def test_markdown_of_odd_labels() -> None:
    """Blanks at the ends undo bold, line breaks cut rows and lists, a first # makes a heading."""
    labels = {" é ": 3.0, "two\nlines": 4.0, "# x": 5.0, "1. y": 6.0, "- z": 7.0}
    summary = summary_of(5, labels, missing={"# x": [4], "1. y": [4], "- z": [4]})
    failed = ["E, agent # x, seed 4: ValueError: first\n\n- second\n# third"]
    text = render_markdown(Results(summary, failures=failed), "nobody")
    assert "| **é** |" in text
    assert "two lines |" in text
    assert "- E, agent # x, seed 4: ValueError: first - second # third\n" in text
    starts = [line.split(" ")[0] for line in text.splitlines() if line]
    assert set(starts) <= {"###", "|", "-", "4", "\\#", "JCT:"}
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert {len(line.split(" | ")) for line in rows[:7]} == {len(rows[0].split(" | "))}


def test_a_failure_is_one_line_on_the_terminal() -> None:
    results = Results(summary_of(5), failures=["E, agent a, seed 4: ValueError: one\n\n  two"])
    assert "failed: E, agent a, seed 4: ValueError: one two\n" in shown(results, width=40)


def test_who_fails_on_the_busy_seeds_is_not_ranked_first() -> None:
    """It is FCFS, and fails on the three busiest of eight seeds."""
    means = {"fcfs": 5.0, "faulty": 5.0, ORACLE: 3.0}
    summary = summary_of(8, means, missing={"faulty": [5, 6, 7]})
    assert summary[summary["agent"] == "faulty"]["jct_mean_censored"].mean() < 6.1
    table = ranking(summary, "fcfs")
    assert set(table.columns["n"]) == {"5"}
    fcfs, faulty = (table.columns["agent"].index(name) for name in ("fcfs", "faulty"))
    jct = [float(cell.split()[0]) for cell in table.columns["JCT s"]]
    assert jct[fcfs] == pytest.approx(jct[faulty], abs=0.02) == pytest.approx(6.0, abs=0.02)
    record = {"failures": [f"E, agent faulty, seed {seed}: ValueError: busy" for seed in (5, 6, 7)]}
    text = " ".join(shown(Results(summary, **record)).split())
    assert "failed: E, agent faulty, seeds 5, 6, 7: ValueError: busy" in text
    assert "5 of 8 seeds" in text
    assert "faulty has failed on seeds 5, 6, 7 and is compared on the others" in text


def test_who_shares_no_seed_is_left_out() -> None:
    summary = summary_of(
        6, {"fcfs": 5.0, "b": 4.0, "c": 3.0}, missing={"b": [5], "c": [0, 1, 2, 3, 4]}
    )
    common = common_seeds(summary, ["fcfs", "b", "c", "never"])
    assert common.seeds == (0, 1, 2, 3, 4)
    assert common.left_out == ("c", "never")
    assert common.missing == {"b": (5,), "c": (0, 1, 2, 3, 4), "never": (0, 1, 2, 3, 4, 5)}
    assert "c" not in ranking(summary, "fcfs").columns["agent"]
    text = " ".join(shown(Results(summary)).split())
    assert "E 5 of 6 seeds" in text
    assert "c has failed on seeds 0, 1, 2, 3, 4 and is not ranked" in text


def test_empty_seeds_are_counted_and_left_out() -> None:
    summary = summary_of(6)
    empty = summary["seed"].isin([1, 4])
    for name in ("arrived", "completed"):
        summary.loc[empty, name] = 0.0
    summary.loc[empty, ["jct_mean_censored", "offload_rate"]] = np.nan
    (section,) = scenario_sections(Results(summary), "fcfs", wide=False)
    assert section.facts == "4 of 6 seeds, 100 requests each; on 2 no request arrived"
    assert set(section.tables["ranking"].columns["n"]) == {"4"}
    assert section.notes == []
    summary[["arrived", "completed"]] = 0.0
    (section,) = scenario_sections(Results(summary), "fcfs", wide=False)
    assert section.facts == "no results of 6 seeds: on 6 no request arrived"
    assert section.tables == {}


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.1712, 0.1688], ["0.171", "0.169"]),
        ([0.00171, 0.5], ["0.00171", "0.50000"]),
        ([2.331, 21.36], ["2.33", "21.36"]),
        ([120.84, 1263.6], ["121", "1264"]),
        ([np.nan, 3.0], ["–", "3.00"]),
        ([np.inf, 3.0], ["inf", "3.00"]),
        ([0.0], ["0.00"]),
        ([], []),
    ],
)
def test_differences_below_a_second_show(values: list[float], expected: list[str]) -> None:
    assert numbers(values) == expected


def test_tails_have_intervals_and_differences() -> None:
    means = {"fcfs": 5.0, "bandit": 4.0}
    summary = summary_of(8, means)
    late = summary["agent"] == "bandit"
    summary.loc[late, "jct_p99_censored"] *= 2
    table = tails(summary, "fcfs")
    assert table.columns["agent"] == ["bandit", "fcfs"]
    assert table.columns["p95 vs fcfs"][0].startswith("-")
    assert table.columns["p99 vs fcfs"][0].startswith("+")
    assert all("[" in table.columns[f"p{p} s"][1] for p in (95, 99))
    # Each column has a best of its own.
    assert table.best == {(0, "p95 s"), (1, "p99 s")}


def test_a_sweep_with_gaps() -> None:
    """An agent that failed at one load, and one that has failed at all."""
    low, high = summary_of(5), summary_of(5)
    both = pd.concat([low.assign(env="E low"), high[high["agent"] != "same"].assign(env="E high")])
    loads = {"E high": 1.5, "E low": 0.5}
    table = sweep(both, loads, "fcfs")
    assert list(table.columns) == ["agent", "load 0.5", "load 1.5"]
    assert table.columns["agent"] == [ORACLE, "fcfs", "slow", "same"]
    assert table.columns["load 1.5"][-1] == "–"
    assert "%" in table.columns["load 0.5"][-1]
    assert {row for row, _ in table.best} <= {1, 3}
    alone = both[both["agent"] == ORACLE]
    assert sweep(alone, loads, "fcfs").best == frozenset()


def test_the_share_that_was_predicted() -> None:
    rows = [
        row("a", seed, 1.0, prediction_error_mean=0.5, predictions=p)
        for seed, p in ((0, 90), (1, 94))
    ]
    rows += [row("b", seed, 2.0, prediction_error_mean=np.inf, predictions=100) for seed in (0, 1)]
    rows += [row("fcfs", seed, 3.0) for seed in (0, 1)]
    table = ranking(pd.DataFrame(rows), "fcfs", wide=True)
    assert table.columns["error s"] == ["0.500 (92%)", "inf", "–"]


def test_an_objective_is_shown() -> None:
    rows = [row("a", seed, 1.0, slo_attainment=0.9, goodput=3.0) for seed in range(5)]
    scenario = {"label": "E", "env": "E", "settings": {}, "configuration": {"slo": 5.0}}
    results = Results(pd.DataFrame(rows), scenarios=[scenario])
    assert ranking(results.summary, "fcfs").columns["in time"] == ["90%"]
    assert "goodput /s" in ranking(results.summary, "fcfs", wide=True).columns
    assert "share of the requests with JCT ≤ 5 s" in " ".join(shown(results, "a").split())


def test_regret_without_a_baseline_that_has_any() -> None:
    log = pd.DataFrame({"env": "E", "seed": 0, "request_id": range(4), "jct": 1.0})
    logs = [log.assign(agent=agent) for agent in ("fcfs", "random", ORACLE)]
    assert learning(pd.concat(logs), "fcfs").columns["4th"] == ["0.00", "0.00"]


def test_regret_is_told_against_both_yardsticks() -> None:
    """Of fcfs 4 - 2 and 4 - 1; the better yardstick has a negative one against the other."""
    agents = {"fcfs": 4.0, ORACLE: 2.0, "oracle-placement": 1.0}
    rows = pd.DataFrame([row(a, seed, jct) for a, jct in agents.items() for seed in range(5)])
    table = regrets(rows)
    assert table is not None
    assert table.columns["agent"] == ["oracle-placement", ORACLE, "fcfs"]
    first = [cell.split()[0] for cell in table.columns[f"regret s ({ORACLE})"]]
    assert first == ["-1.00", "–", "2.00"]
    second = [cell.split()[0] for cell in table.columns["regret s (oracle-placement)"]]
    assert second == ["–", "1.00", "3.00"]
    text = " ".join(shown(Results(rows), "fcfs").split())
    assert "regret: mean JCT less that of the agent in parentheses" in text
    alone = regrets(rows[rows["agent"] != ORACLE])
    assert alone is not None
    assert [*alone.columns] == ["agent", "regret s (oracle-placement)"]
    assert regrets(rows[rows["agent"] == "fcfs"]) is None
    assert regrets(rows.assign(unfinished=1)) is None  # of the finished alone it would flatter


def test_no_yardstick_is_the_best() -> None:
    agents = {"fcfs": 4.0, ORACLE: 2.0, "oracle-placement": 1.0}
    rows = pd.DataFrame([row(a, seed, jct) for a, jct in agents.items() for seed in range(5)])
    assert {line for line, _ in ranking(rows, "fcfs").best} == {2}


def test_how_everyone_played_is_said() -> None:
    agents = [
        {"label": "fcfs", "explore": True, "work_conserving": {"E": False}},
        {"label": "ppo", "explore": False, "work_conserving": {"E": True}},
    ]
    assert played_notes({"agents": agents}) == [
        "work_conserving: idle places are filled for ppo.",
        "not work_conserving: fcfs; what waits, waits.",
        "Neither exploring nor learning (explore=False): ppo.",
    ]
    assert played_notes({"agents": agents[:1]}) == [
        "not work_conserving: every agent; what waits, waits."
    ]


def test_who_learns_and_which_prompts_come_again_is_said() -> None:
    def scenario(label: str, order: str) -> dict[str, Any]:
        return {"label": label, "configuration": {"prompt_order": order}}

    record = {"scenarios": [scenario("E", "once")]}
    assert prompt_notes(record) == ["No prompt comes twice in an episode (prompt_order=once)."]
    record["scenarios"].append(scenario("F", "shuffle"))
    assert [line.rpartition("Of ")[2] for line in prompt_notes(record)] == ["E.", "F."]
    agents = [
        {"label": "c2ucb", "explore": True, "learns": True},
        {"label": "fcfs", "explore": True, "learns": False},
    ]
    assert played_notes({"agents": agents}) == ["Learning as they play (learn=True): c2ucb."]


def test_failures_of_one_kind_are_one_line() -> None:
    found = [f"E, agent a, seed {seed}: ValueError: no" for seed in (0, 1, 5)]
    found += ["E, agent b, seed 0: its process ended (exit code 7)", "odd"]
    assert failures({"failures": found}) == [
        "E, agent a, seeds 0, 1, 5: ValueError: no",
        "E, agent b, seed 0: its process ended (exit code 7)",
        "odd",
    ]


def test_a_baseline_that_did_not_run_is_named() -> None:
    results = Results(summary_of(5))
    assert "The baseline nobody has not run" in " ".join(shown(results, "nobody").split())
    assert "vs nobody" not in shown(results, "nobody")


LONG = "cn-greedy:hidden=[256,256]:epsilon=0.2:learning_rate=0.001:rerank_every=128"


def test_labels_are_folded_and_numbers_whole() -> None:
    means = {LONG: 1234.5678, "[bold]m[/bold]": 2345.678, "fcfs": 9999.99}
    results = Results(summary_of(6, means))
    for baseline in ("fcfs", LONG):
        text = shown(results, baseline)
        assert max(map(len, text.splitlines())) <= 80
        assert "…" not in text
        for table in (ranking(results.summary, baseline), tails(results.summary, baseline)):
            for title, cells in table.columns.items():
                assert title == "agent" or all(cell in text for cell in cells)
        assert "[bold]m[/bold]" in text.replace("\n", "")
        assert "learning" in text
    assert f"The baseline is {LONG}" in " ".join(shown(results, LONG, 300).split())


def test_a_terminal_too_narrow_for_the_numbers_still_gets_them() -> None:
    table = TextTable({"agent": ["a"], "JCT s": ["1234567.89 [1234567.01, 1234568.99]"]})
    file = StringIO()
    print_table(Console(width=20, file=file), table)
    assert "1234567.89 [1234567.01, 1234568.99]" in file.getvalue()
