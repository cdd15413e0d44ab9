"""The leaderboard as Markdown: tables of at most 80 columns, every number of them of the board."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Final

from agents.suite.board import Board
from agents.suite.scores import Standing, group_scores, scored_cells, standings
from agents.suite.statistics import Interval

PROFILE: Final = "leaderboard_profile.png"
SCORES: Final = "leaderboard_scores.png"
_WIDTH: Final = 80
_SHORT: Final = {
    "new-frozen": "new",
    "new-learning": "once",
    "recurring-learning": "again",
    "cold-start": "cold",
    "wrong-predictor": "wrong",
}
_SHOWN: Final = 4  # agents in the table of scenarios, besides both ends


def render(board: Board, pictures: str = "", guide: str = "") -> str:
    """Returns the page.

    Args:
        board: The results.
        pictures: Where the pictures are, as the page names it; empty for none.
        guide: The page about the suite, likewise.
    """
    table = standings(board)
    parts = [
        "# Leaderboard",
        _what(board, table) + (f" [How it is made, and joined]({guide})." if guide else ""),
        "## Standings",
        _legend(board),
        _standings(table),
        *([_pictures(pictures)] if pictures else []),
        "## Tails",
        "Each metric as a multiple of the zero's, interquartile mean over scenarios: below 1 is "
        "better, for goodput (requests per second within the objective) above 1. An agent whose "
        "mean is low and whose p99 or worst wait is high lets some requests starve.",
        _tails(table),
        "## Kinds of scenarios",
        _groups(board),
        _by_group(board, table),
        "## Scenarios",
        "Mean JCT (s) over the seeds; `*` marks a scenario without a gap to close, which does not "
        "count.",
        _by_cell(board, table),
        *_gaps(board),
        "## Reproduce",
        _made(board),
    ]
    return "\n\n".join(parts) + "\n"


def _what(board: Board, table: Sequence[Standing]) -> str:
    count = len(scored_cells(board))
    cut = ""
    if board.suite["quick"]:
        cut = " **A trial of seconds: these numbers compare with nothing.**"
    elif board.suite["partial"]:
        cut = " **A part of the suite: not all of its scenarios or seeds.**"
    return (
        f"Benchmark suite v{board.suite['version']}: {len(table)} agents, {count} scenarios, "
        f"dataset `{board.made['dataset']['dataset']}`, {_splits(board)} prompts.{cut}"
    )


def _legend(board: Board) -> str:
    zeros = list(dict.fromkeys(cell["zero"] for cell in board.cells.values()))
    named = f"`{zeros[0]}`" + "".join(f", in clusters `{zero}`" for zero in zeros[1:])
    return (
        f"**Score**: the share of the gap between the zero ({named}) and `{board.suite['one']}` "
        "(1) that an agent closes, by mean JCT: interquartile mean over scenarios, with the 95 % "
        "interval of a bootstrap over seeds. **P>0**: how probably it is better than the zero on "
        "the same requests. "
        "**Beats**: how many of the agents with all scenarios are worse by more than chance "
        "explains (sign-flip test over all runs, corrected for all pairs by Holm, level 5 %). "
        "**Of**: scenarios played. Agents with the same interval are not told apart by their rank."
    )


def _standings(table: Sequence[Standing]) -> str:
    rows = [
        [
            str(rank),
            f"`{s.agent}`",
            _number(s.score.value),
            _range(s.score),
            _number(s.over_zero.value),
            str(len(s.beats)),
            str(s.played),
        ]
        for rank, s in enumerate(table, start=1)
    ]
    return markdown_table(["", "Agent", "Score", "95 %", "P>0", "Beats", "Of"], rows)


def _tails(table: Sequence[Standing]) -> str:
    names = {"mean": "Mean", "p95": "p95", "p99": "p99", "worst_wait": "Wait", "goodput": "Goodput"}
    rows = [[f"`{s.agent}`", *(_number(s.ratios[name]) for name in names)] for s in table]
    return markdown_table(["Agent", *names.values()], rows)


def _groups(board: Board) -> str:
    shown = dict.fromkeys(board.cells[cell]["group"] for cell in scored_cells(board))
    return "\n".join(f"- **{_short(g)}** (`{g}`): {board.about[g]}" for g in shown)


def _by_group(board: Board, table: Sequence[Standing]) -> str:
    shown = list(dict.fromkeys(board.cells[cell]["group"] for cell in scored_cells(board)))
    rows = []
    for standing in table:
        scores = group_scores(board, standing.agent)
        cells = [_number(scores[g]) if g in scores else "–" for g in shown]
        rows.append([f"`{standing.agent}`", *cells])
    return "\n\n".join(
        markdown_table(
            ["Agent", *map(_short, part)], [[r[0], *r[1 + at : 1 + at + 6]] for r in rows]
        )
        for at, part in ((at, shown[at : at + 6]) for at in range(0, len(shown), 6))
    )


def _by_cell(board: Board, table: Sequence[Standing]) -> str:
    one = board.suite["one"]
    ends = {one, *(cell["zero"] for cell in board.cells.values())}
    best = [s.agent for s in table if s.agent not in ends][:_SHOWN]
    scored = scored_cells(board)
    rows = []
    for cell in board.cells:
        shown = [board.cells[cell]["zero"], *best, one]
        means = board.values("mean", cell, shown).mean(axis=1)
        mark = "" if cell in scored else " *"
        rows.append([cell + mark, *(_number(m) for m in means)])
    letters = [chr(ord("A") + k) for k in range(len(best))]
    legend = ", ".join(f"{letter} `{a}`" for letter, a in zip(letters, best, strict=True))
    head = ["Scenario", "Zero", *letters, "One"]
    return f"Zero and one are the ends of the gap; {legend}.\n\n{markdown_table(head, rows)}"


def _gaps(board: Board) -> list[str]:
    lines = [f"- `{group}` was not played: {why}." for group, why in board.skipped.items()]
    for cell, agents in board.missing.items():
        lines += [f"- `{agent}` did not play `{cell}`: {why}" for agent, why in agents.items()]
    return ["\n".join(lines)] if lines else []


def _made(board: Board) -> str:
    made = board.made
    seeds = sorted({len(cell["seeds"]) for cell in board.cells.values()})
    counts = " or ".join(map(str, seeds))
    return (
        f"edgecloud-gym {made['versions'].get('edgecloud-gym', '?')}, Python "
        f"{made['versions']['python']}, numpy {made['versions']['numpy']}, {made['machine']}, "
        f"{made['date']}. Suite files `{board.suite['digest']}`, dataset "
        f"`{made['dataset']['digest']}`, seeds 0, 1, … ({counts} per scenario).\n\n"
        "```bash\nedgecloud bench-suite                      # plays what is missing\n"
        "edgecloud bench-suite verify LEADERBOARD   # plays rows again and compares\n```"
    )


def _pictures(folder: str) -> str:
    return (
        f"![Scores with intervals, one bar per agent]({folder}{SCORES})\n\n"
        f"![Share of runs above each score, one line per agent]({folder}{PROFILE})"
    )


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Returns a table whose columns are as wide as their widest cell, text to the left."""
    lines = [list(head), *(list(row) for row in rows)]
    widths = [max(2, *(len(line[k]) for line in lines)) for k in range(len(head))]
    left = [any(c.isalpha() or c == "`" for c in line[k][:1]) for k, line in _second(lines)]
    out = []
    for number, line in enumerate(lines):
        cells = [
            cell.ljust(width) if to_left else cell.rjust(width)
            for cell, width, to_left in zip(line, widths, left, strict=True)
        ]
        out.append("| " + " | ".join(cells) + " |")
        if number == 0:
            rules = [
                "-" * w if to_left else "-" * (w - 1) + ":"
                for w, to_left in zip(widths, left, strict=True)
            ]
            out.append("| " + " | ".join(rules) + " |")
    return "\n".join(out)


def _second(lines: Sequence[Sequence[str]]) -> list[tuple[int, Sequence[str]]]:
    """Returns each column with the first row below the head, or the head where there is none."""
    row = lines[1] if len(lines) > 1 else lines[0]
    return [(k, row) for k in range(len(row))]


def _short(group: str) -> str:
    return _SHORT.get(group, group)


def _splits(board: Board) -> str:
    return " and ".join(dict.fromkeys(str(cell["split"]) for cell in board.cells.values()))


def _range(interval: Interval) -> str:
    return f"{_number(interval.low)} to {_number(interval.high)}"


def _number(value: float, digits: int = 3) -> str:
    """Returns a number with so many significant digits, at most two after the point."""
    if not math.isfinite(value):
        return "–"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    size = 0 if value == 0 else math.floor(math.log10(abs(value)))
    return f"{value:.{min(2, max(0, digits - 1 - size))}f}"
