"""Verification: a row of a leaderboard is played again and compared."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from agents.experiments.design.spec import AgentSpec
from agents.experiments.identity.fingerprint import identify
from agents.suite.board import METRICS, Board, measured
from agents.suite.definition import Suite, load_suite
from agents.suite.entrants import Stable
from agents.suite.playing import Tell, entries, prepare
from edgecloud_gym.checks import did_you_mean
from edgecloud_gym.dataset import load_dataset
from edgecloud_gym.wording import shown

TOLERANCE: Final = 1e-6  # of a value: another processor or library may round otherwise


@dataclass(frozen=True)
class Row:
    """One run of a leaderboard."""

    cell: str
    agent: str
    seed: int

    def __str__(self) -> str:
        return f"{self.cell}, {self.agent}, seed {self.seed}"


@dataclass(frozen=True)
class Verdict:
    """What playing a row again has shown.

    Attributes:
        row: Which one.
        worst: The largest relative difference of a metric.
        metric: Of which one; empty if there is none.
    """

    row: Row
    worst: float
    metric: str

    @property
    def holds(self) -> bool:
        """Whether the row is what the leaderboard says, within `TOLERANCE`."""
        return self.worst <= TOLERANCE

    def __str__(self) -> str:
        if self.worst == 0.0:
            return f"{self.row}: the same, bit for bit"
        how = "the same but for rounding" if self.holds else "DIFFERS"
        return f"{self.row}: {how}, {self.metric} by {self.worst:.2g} of its value"


def suite_of(board: Board) -> Suite:
    """Returns the suite that a board is of.

    Raises:
        ValueError: If the files of the suite or the dataset here are others.
    """
    suite = load_suite(int(board.suite["version"]), quick=bool(board.suite["quick"]))
    if suite.digest != board.suite["digest"]:
        raise ValueError(
            f"the leaderboard is of suite files {board.suite['digest']}, and these here are "
            f"{suite.digest}: another version of the package"
        )
    here = identify(load_dataset(suite.dataset))
    if here != board.made["dataset"]:
        raise ValueError(f"the leaderboard is of dataset {board.made['dataset']}, not of {here}")
    return suite


def choose(
    board: Board, cells: Sequence[str], agents: Sequence[str], seed: int | None, count: int
) -> list[Row]:
    """Returns rows of a board: all that are named, or some drawn of them.

    Args:
        board: The board.
        cells: Cells or groups; all if empty.
        agents: Agents; all if empty.
        seed: The seed; any if None.
        count: How many at most.

    Raises:
        ValueError: If there is no such row.
    """
    rows = [
        Row(cell, agent, number)
        for cell, played in board.results.items()
        for agent in played
        for number in board.cells[cell]["seeds"]
        if (not cells or cell in cells or board.cells[cell]["group"] in cells)
        and (not agents or agent in agents)
        and seed in (None, number)
    ]
    if not rows:
        raise ValueError(_no_such_row(board, cells, agents, seed))
    return rows if len(rows) <= count else random.Random(0).sample(rows, count)


def _no_such_row(
    board: Board, cells: Sequence[str], agents: Sequence[str], seed: int | None
) -> str:
    """Returns what to say of rows that are asked for and not there."""
    groups = list(dict.fromkeys(facts["group"] for facts in board.cells.values()))
    for what, given, known in (
        ("scenario", cells, [*groups, *board.results]),
        ("agent", agents, [*board.agents]),
    ):
        for name in given:
            if name not in known:
                there = ", ".join(groups if what == "scenario" else known)
                return (
                    f"{what} {shown(name)}: the leaderboard has {there}{did_you_mean(name, known)}"
                )
    return f"seed {seed}: no row of the leaderboard that was asked for has it"


def verify(
    board: Board,
    rows: Sequence[Row],
    specs: Sequence[AgentSpec],
    traces: Mapping[str, Path],
    output: Path,
    tell: Tell,
) -> list[Verdict]:
    """Plays rows again.

    Args:
        board: The board.
        rows: Which of its rows.
        specs: The agents, by label.
        traces: Files of workload traces.
        output: Folder in which what agents are trained on is kept, and looked for.
        tell: Told each verdict.

    Raises:
        ValueError: If an agent is not known.
    """
    suite = suite_of(board)
    known = {spec.label: spec for spec in specs}
    verdicts = []
    for row in rows:
        if row.agent not in known:
            raise ValueError(f"agent {shown(row.agent)}: is not known here; --agent-file gives it")
        cell = suite.cell(row.cell)
        part = replace(suite, cells=(replace(cell, seeds=(row.seed,)),))
        stable = Stable(part, [known[row.agent]], output)
        prepare(stable, 1, tell)
        (run,) = entries(stable, traces).all
        with TemporaryDirectory() as folder:
            run.play(Path(folder) / "run")
            verdicts.append(_compare(board, row, measured(Path(folder) / "run")))
        tell(str(verdicts[-1]))
    return verdicts


def _compare(board: Board, row: Row, again: Mapping[str, float]) -> Verdict:
    place = board.cells[row.cell]["seeds"].index(row.seed)
    kept = board.results[row.cell][row.agent]
    worst, which = 0.0, ""
    for metric in METRICS:
        before, now = float(kept[metric][place]), again[metric]
        if before == now or (before != before and now != now):
            continue
        difference = abs(now - before) / max(abs(before), abs(now))
        if not difference <= worst:
            worst, which = difference, metric
    return Verdict(row, worst, which)
