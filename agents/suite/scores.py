"""Scores: how much of the gap between first come first served and an oracle an agent closes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from agents.suite.board import LOWER_IS_BETTER, Board
from agents.suite.statistics import (
    Interval,
    aggregate,
    holm,
    interquartile_means,
    probability_of_improvement,
    sign_flip_tests,
)

Floats = NDArray[np.float64]

LEAST_GAP: Final = 0.02  # of the zero's mean: a smaller gap would make scores of noise
LEVEL: Final = 0.05
RATIOS: Final = (*LOWER_IS_BETTER, "goodput")


@dataclass(frozen=True)
class Shares:
    """The share of the gap that each agent closes, run by run.

    A run's share is (zero's mean JCT - the agent's) / (zero's - one's), the agent's and the zero's
    of the same requests, the gap in the denominator of the scenario's mean over seeds.

    Attributes:
        agents: Who played all of these scenarios.
        cells: Names of the scenarios.
        values: (agents, seeds) for each scenario.
    """

    agents: tuple[str, ...]
    cells: tuple[str, ...]
    values: tuple[Floats, ...]

    def of(self, agent: str) -> list[Floats]:
        """Returns an agent's shares, (seeds,) for each scenario."""
        number = self.agents.index(agent)
        return [table[number] for table in self.values]


@dataclass(frozen=True)
class Standing:
    """What an agent achieved.

    Attributes:
        agent: Its label.
        score: Interquartile mean over scenarios of the share of the gap closed.
        played: Over how many scenarios.
        ratios: Interquartile mean over these of each metric's mean as a multiple of the zero's.
        over_zero: How probably it is better than the zero on the same requests.
        beats: Who is worse by more than chance explains, of those who played all scenarios, all
            comparisons corrected together.
    """

    agent: str
    score: Interval
    played: int
    ratios: dict[str, float]
    over_zero: Interval
    beats: tuple[str, ...]


def scored_cells(board: Board) -> list[str]:
    """Returns the scenarios in which there is a gap to be closed."""
    found = []
    for cell in board.cells:
        ends = board.ends(cell)
        if all(end in board.results[cell] for end in ends):
            zero, one = board.values("mean", cell, ends).mean(axis=1)
            if zero - one > LEAST_GAP * zero:
                found.append(cell)
    return found


def gap_shares(board: Board, agents: Sequence[str], cells: Sequence[str]) -> Shares:
    """Returns shares for agents that have all played these scenarios, of `scored_cells`."""
    tables = []
    for cell in cells:
        ends = board.values("mean", cell, board.ends(cell))
        gap = ends[0].mean() - ends[1].mean()
        tables.append((ends[0] - board.values("mean", cell, agents)) / gap)
    return Shares(tuple(agents), tuple(cells), tuple(tables))


def standings(board: Board) -> list[Standing]:
    """Returns how the agents stand, the best first; who lacks scenarios comes after the others."""
    cells = scored_cells(board)
    everyone = [agent for agent in board.agents if any(agent in board.results[c] for c in cells)]
    complete = [a for a in everyone if all(a in board.results[c] for c in cells)]
    beaten = _beaten(gap_shares(board, complete, cells)) if cells else {}
    made = []
    for agent in everyone:
        mine = [cell for cell in cells if agent in board.results[cell]]
        shares = gap_shares(board, [agent], mine)
        made.append(
            Standing(
                agent=agent,
                score=aggregate(shares.values)[0],
                played=len(mine),
                ratios={metric: _ratio(board, metric, mine, agent) for metric in RATIOS},
                over_zero=_over_zero(board, agent, mine),
                beats=beaten.get(agent, ()),
            )
        )
    return sorted(made, key=lambda standing: (-standing.played, -standing.score.value))


def group_scores(board: Board, agent: str) -> dict[str, float]:
    """Returns an agent's interquartile mean in each group of scenarios that it played in full."""
    cells = scored_cells(board)
    scores = {}
    for group in board.about:
        mine = [cell for cell in cells if board.cells[cell]["group"] == group]
        if mine and all(agent in board.results[cell] for cell in mine):
            scores[group] = aggregate(gap_shares(board, [agent], mine).values)[0].value
    return scores


def _over_zero(board: Board, agent: str, cells: Sequence[str]) -> Interval:
    pairs = [-board.values("mean", cell, [agent, board.ends(cell)[0]]) for cell in cells]
    return probability_of_improvement([p[0] for p in pairs], [p[1] for p in pairs])


def _ratio(board: Board, metric: str, cells: Sequence[str], agent: str) -> float:
    ratios = []
    for cell in cells:
        mine, zero = board.values(metric, cell, [agent, board.ends(cell)[0]]).mean(axis=1)
        if zero > 0:
            ratios.append(mine / zero)
    return float(interquartile_means(np.array(ratios))) if ratios else float("nan")


def _beaten(shares: Shares) -> dict[str, tuple[str, ...]]:
    """Returns for each agent those that are worse beyond chance, all pairs corrected together."""
    count = len(shares.agents)
    pairs = [(a, b) for a in range(count) for b in range(a + 1, count)]
    if not pairs:
        return {}
    first, second = (list(side) for side in zip(*pairs, strict=True))
    differences = [table[first] - table[second] for table in shares.values]
    adjusted = holm(sign_flip_tests(differences))
    means = np.mean([d.mean(axis=1) for d in differences], axis=0)
    beaten: dict[str, tuple[str, ...]] = dict.fromkeys(shares.agents, ())
    for (a, b), p, mean in zip(pairs, adjusted, means, strict=True):
        if p < LEVEL:
            winner, loser = (a, b) if mean > 0 else (b, a)
            beaten[shares.agents[winner]] += (shares.agents[loser],)
    return beaten
