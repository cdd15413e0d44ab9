"""Boards: scores of made-up numbers, tables, and a small suite that is played."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agents.experiments.design.spec import AgentSpec
from agents.suite import Suite, load_suite
from agents.suite.board import METRICS, Board, make_board
from agents.suite.entrants import BAD, Stable
from agents.suite.markdown import markdown_table, render
from agents.suite.playing import play_suite
from agents.suite.plots import draw
from agents.suite.scores import gap_shares, group_scores, scored_cells, standings
from agents.suite.verify import Row, choose, verify

AGENTS = ("zero", "half", "one", "worse")
MEANS = {"zero": 10.0, "half": 6.0, "one": 2.0, "worse": 14.0}


def made_up(cells: int = 8, seeds: int = 6) -> Board:
    """A board on which half closes half the gap in every scenario, but for some noise."""
    rng = np.random.default_rng(0)
    names = [f"group-{c % 2}/{c}" for c in range(cells)]
    results: Any = {}
    for name in names:
        common = rng.normal(0.0, 0.5, seeds)  # of the same requests
        results[name] = {}
        for agent in AGENTS:
            mean = (MEANS[agent] + common + rng.normal(0.0, 0.05, seeds)).tolist()
            results[name][agent] = dict.fromkeys(METRICS, mean)
    cell = {"env": "e", "zero": "zero", "learn": False, "trained": True, "split": "test",
            "prompt_order": "once", "seeds": list(range(seeds))}  # fmt: skip
    return Board(
        suite={
            "version": 1,
            "quick": False,
            "partial": False,
            "digest": "d",
            "one": "one",
            "bad": [],
        },
        made={
            "dataset": {"dataset": "toy", "digest": "x"},
            "versions": {"python": "3", "numpy": "2"},
            "machine": "m",
            "date": "2026-01-01",
        },
        cells={name: {**cell, "group": name.split("/")[0]} for name in names},
        about={"group-0": "Even.", "group-1": "Odd."},
        agents={agent: {"agent": agent} for agent in AGENTS},
        results=results,
        missing={},
        skipped={"azure": "no trace"},
    )


def test_scores_are_shares_of_the_gap() -> None:
    table = {s.agent: s for s in standings(made_up())}
    for agent, share in (("zero", 0.0), ("half", 0.5), ("one", 1.0), ("worse", -0.5)):
        assert table[agent].score.value == pytest.approx(share, abs=0.01)
        assert table[agent].ratios["mean"] == pytest.approx(MEANS[agent] / 10.0, abs=0.02)
    assert table["half"].score.low < table["half"].score.value < table["half"].score.high
    assert table["half"].over_zero.value == 1.0
    assert table["worse"].over_zero.value == 0.0
    assert table["zero"].over_zero.value == 0.5


def test_the_order_is_that_of_the_scores_and_beats_are_those_below() -> None:
    table = standings(made_up())
    assert [s.agent for s in table] == ["one", "half", "zero", "worse"]
    assert [set(s.beats) for s in table] == [
        {"half", "zero", "worse"}, {"zero", "worse"}, {"worse"}, set(),
    ]  # fmt: skip


def test_agents_that_are_equal_do_not_beat_each_other() -> None:
    board = made_up()
    rng = np.random.default_rng(1)
    for played in board.results.values():
        played["half"] = {
            m: (10.0 + rng.normal(0, 0.3, 6)).tolist() for m in METRICS
        }  # as good as zero, on average
    table = {s.agent: s for s in standings(board)}
    assert "zero" not in table["half"].beats
    assert "half" not in table["zero"].beats


def test_scenarios_without_a_gap_do_not_count() -> None:
    board = made_up()
    first = next(iter(board.cells))
    board.results[first]["one"] = board.results[first]["zero"]  # type: ignore[index]
    assert scored_cells(board) == [cell for cell in board.cells if cell != first]
    assert f"| {first} *" in render(board)


def test_who_lacks_a_scenario_stands_below_those_who_have_all() -> None:
    board = made_up()
    del board.results["group-0/0"]["one"]["mean"]  # type: ignore[attr-defined]
    board = made_up()
    lacking = dict(board.results["group-0/0"])
    del lacking["half"]
    board.results["group-0/0"] = lacking  # type: ignore[index]
    table = standings(board)
    assert [s.agent for s in table] == ["one", "zero", "worse", "half"]
    assert table[-1].played == 7
    assert set(group_scores(board, "half")) == {"group-1"}


def test_shares_of_single_runs_average_to_the_scores() -> None:
    board = made_up()
    shares = gap_shares(board, AGENTS, scored_cells(board))
    for table in shares.values:
        assert table[0].mean() == pytest.approx(0.0, abs=1e-12)
        assert table[2].mean() == pytest.approx(1.0, abs=1e-12)


def test_a_board_is_read_as_it_was_written(tmp_path: Path) -> None:
    board = made_up()
    board.write(tmp_path / "board.json")
    assert Board.read(tmp_path / "board.json") == board
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(ValueError, match="no leaderboard"):
        Board.read(tmp_path / "other.json")


def assert_narrow(page: str) -> None:
    tables = [line for line in page.splitlines() if line.startswith("|")]
    assert tables
    assert max(map(len, tables)) <= 80


def test_tables_say_all_in_80_columns() -> None:
    page = render(made_up(), "assets/")
    assert_narrow(page)
    assert "`azure` was not played: no trace." in page
    assert "assets/leaderboard_scores.png" in page
    assert markdown_table(["A", "B"], [["x", "1.0"]]).splitlines() == [
        "| A  |   B |",
        "| -- | --: |",
        "| x  | 1.0 |",
    ]


@pytest.fixture(scope="module")
def small() -> Suite:
    """Two brief scenarios of two seeds."""
    suite = load_suite(quick=True).select(["new-frozen/static-0.95", "cluster/unequal-0.95"])
    training = {**suite.training, "duration": 20.0, "episodes": 1}
    return replace(suite, training=training)


@pytest.fixture(scope="module")
def played(small: Suite, tmp_path_factory: pytest.TempPathFactory) -> tuple[Board, Path, Any]:
    output = tmp_path_factory.mktemp("suite")
    names = ("fcfs", "join-shortest-queue", "sjf-oracle", "c2ucb")
    specs = [*(AgentSpec(name) for name in names), *(AgentSpec(made) for made in BAD.values())]
    stable = Stable(small, specs, output)
    entries, result = play_suite(
        stable, {}, output, 1, tell=lambda _: None, progress=lambda _: None
    )
    return make_board(stable, entries, output, result.failures), output, stable


def test_the_suite_tells_bad_agents_from_others(played: tuple[Board, Path, Any]) -> None:
    """Longest first and one node by the mean. Youngest first has about the mean of first come
    first served, as any order has that is blind to length, and is told by its tails.
    """
    board, _, _ = played
    table = {s.agent: s for s in standings(board)}
    for agent in ("longest-first", "one-node"):
        assert table[agent].score.high < table["c2ucb"].score.low
        assert table[agent].over_zero.value < 0.5
    young, fifo = table["youngest-first"].ratios, table["fcfs"].ratios
    assert young["worst_wait"] > 1.3 * fifo["worst_wait"]
    assert young["p99"] > 1.1 * fifo["p99"]
    assert [s.agent for s in standings(board)][-1] == "one-node"


def test_what_is_finished_is_not_played_again(played: tuple[Board, Path, Any]) -> None:
    board, output, stable = played
    told: list[Any] = []
    entries, _ = play_suite(stable, {}, output, 1, tell=told.append, progress=told.append)
    assert [(p.done, p.total, p.run) for p in told] == [(28, 28, None)]
    again = make_board(stable, entries, output)
    assert again.results == board.results


def test_rows_are_the_same_when_they_are_played_again(played: tuple[Board, Path, Any]) -> None:
    board, output, stable = played
    quick = replace(board, suite={**board.suite})
    rows = [Row("new-frozen/static-0.95", "fcfs", 1), Row("cluster/unequal-0.95", "one-node", 0)]
    verdicts = verify(quick, rows, stable.specs, {}, output, lambda _: None)
    assert [v.worst for v in verdicts] == [0.0, 0.0]
    assert "bit for bit" in str(verdicts[0])


def test_a_row_that_was_made_up_is_found(played: tuple[Board, Path, Any]) -> None:
    board, output, stable = played
    row = Row("new-frozen/static-0.95", "fcfs", 1)
    kept = board.results[row.cell]["fcfs"]["p95"]
    true = kept[1]
    kept[1] = true * (1.0 + 1e-4)
    (verdict,) = verify(board, [row], stable.specs, {}, output, lambda _: None)
    kept[1] = true
    assert not verdict.holds
    assert verdict.metric == "p95"
    assert "DIFFERS" in str(verdict)


def test_boards_of_other_files_are_refused(played: tuple[Board, Path, Any]) -> None:
    board, output, stable = played
    other = replace(board, suite={**board.suite, "digest": "other"})
    with pytest.raises(ValueError, match="another version of the package"):
        verify(other, [], stable.specs, {}, output, lambda _: None)


def test_rows_are_chosen_by_name_or_drawn() -> None:
    board = made_up()
    assert len(choose(board, [], [], None, 5)) == 5
    assert choose(board, [], [], None, 5) == choose(board, [], [], None, 5)
    named = choose(board, ["group-0"], ["half"], 3, 99)
    assert {(r.cell, r.agent, r.seed) for r in named} == {
        (f"group-0/{c}", "half", 3) for c in (0, 2, 4, 6)
    }
    for cells, agents, seed, message in (
        ([], ["nobody"], None, "agent 'nobody': the leaderboard has .*half"),
        (["group-9"], [], None, "scenario 'group-9': the leaderboard has group-0"),
        ([], [], 99, "seed 99: no row"),
    ):
        with pytest.raises(ValueError, match=message):
            choose(board, cells, agents, seed, 5)


def test_page_and_pictures_of_a_played_board(
    played: tuple[Board, Path, Any], tmp_path: Path
) -> None:
    board, _, _ = played
    assert_narrow(render(board))
    assert [path.stat().st_size > 10_000 for path in draw(board, tmp_path)] == [True, True]


def test_the_page_of_the_leaderboard_is_of_its_data(repository: Path) -> None:
    """Every number is read from the committed file: `edgecloud bench-suite --publish docs`."""
    board = Board.read(repository / "docs" / "data" / "leaderboard.json")
    page = (repository / "docs" / "leaderboard.md").read_text(encoding="utf-8")
    assert page == render(board, "assets/", "suite.md")
    assert_narrow(page)
