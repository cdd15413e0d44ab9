"""Results in a terminal: nothing is taken for markup, and no number is ever cut."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich import box
from rich.table import Table
from rich.text import Text

from agents.report.legends import notes
from agents.report.sections import failures, scenario_sections, tables_of
from agents.report.tables import TextTable

if TYPE_CHECKING:
    from rich.console import Console

    from agents.report.results import Results

_NARROWEST: Final = 8  # columns that a label is folded to, at least
_ASCII_HEAD: Final = box.Box("    \n    \n -- \n    \n    \n    \n    \n    \n", ascii=True)


def print_results(console: Console, results: Results, baseline: str) -> None:
    """Prints the failures, a ranking and the tails of each scenario, and what to know of them."""
    for line in failures(results.record):
        console.print(_text(console, f"failed: {line}", "red"), soft_wrap=True)
    sections = scenario_sections(results, baseline, wide=False)
    for section in sections:
        console.print()
        console.print(_text(console, section.title, "bold"), _text(console, f" {section.facts}"))
        for table in section.tables.values():
            print_table(console, table)
        for note in section.notes:
            console.print(_text(console, note))
    lines = notes(results, baseline, tables_of(sections)) if sections else []
    console.print(_text(console, " ".join(lines), "dim"))


def print_table(console: Console, table: TextTable) -> None:
    """Prints a table as wide as the terminal: long labels are folded, numbers never cut.

    One that is too wide for the terminal is printed in parts, each with the agents.
    """
    for part in _parts(table, console.width):
        style = box.SIMPLE_HEAD if _knows_dashes(console) else _ASCII_HEAD
        shown = Table(box=style, padding=0, pad_edge=False)
        for title in part.columns:
            if title == "agent":
                shown.add_column(_text(console, title), overflow="fold", min_width=_NARROWEST)
            else:
                shown.add_column(_text(console, title), justify="right", no_wrap=True)
        for number, row in enumerate(part.rows):
            marked = [
                _text(console, cell, "bold" if (number, title) in part.best else "")
                for title, cell in zip(part.columns, row, strict=True)
            ]
            shown.add_row(*marked)
        terminal = console.width
        console.width = max(terminal, _least_width(part))
        console.print(shown, crop=False)
        console.width = terminal


def _text(console: Console, text: str, style: str = "") -> Text:
    """Returns text as it is, but for a dash that the terminal cannot show."""
    return Text(text if _knows_dashes(console) else text.replace("–", "-"), style)


def _knows_dashes(console: Console) -> bool:
    try:
        "–─".encode(console.encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def _parts(table: TextTable, width: int) -> list[TextTable]:
    """Returns a table in parts that fit the terminal; numbers and agents stand in each."""
    named = [title for title in table.columns if title in ("#", "agent")]
    groups: list[list[str]] = []
    for title in table.columns:
        if title in named:
            continue
        if "vs " in title and groups:  # a difference stays with what it is a difference of
            groups[-1].append(title)
        else:
            groups.append([title])
    parts: list[list[str]] = [named]
    for group in groups:
        wider = [*parts[-1], *group]
        if _least_width(table.only(wider)) > width and len(parts[-1]) > len(named):
            wider = [*named, *group]
            parts.append(wider)
        parts[-1] = wider
    return [table.only(titles) for titles in parts]


def _least_width(table: TextTable) -> int:
    widths = (
        _NARROWEST if title == "agent" else max(map(len, (title, *cells)))
        for title, cells in table.columns.items()
    )
    return sum(widths) + len(table.columns)
