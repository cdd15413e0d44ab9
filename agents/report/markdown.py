"""A results folder as Markdown, to paste into a paper's notes or a README."""

from __future__ import annotations

import re
from typing import Final

from agents.report.legends import notes
from agents.report.results import Results, sweeps
from agents.report.sections import (
    Section,
    failures,
    learning_sections,
    scenario_sections,
    sweep_sections,
    tables_of,
)
from agents.report.tables import TextTable
from agents.report.words import one_line

_SPECIAL: Final = re.compile(r"([\\`*_\[\]<>&|$~])")
_LINE_START: Final = re.compile(r"^(\d*)([#+=.)-])")  # of a heading, list or rule


def render_markdown(results: Results, baseline: str) -> str:
    """Returns a table per environment that was played at several loads, and per other scenario.

    Args:
        results: The experiment.
        baseline: The agent whom the tables compare with.
    """
    parts = []
    failed = failures(results.record)
    if failed:
        parts += ["### Failed runs", "\n".join(f"- {_paragraph(line)}" for line in failed)]
    swept = {label for loads in sweeps(results.record).values() for label in loads}
    for section in sweep_sections(results, baseline):
        parts += _section(section)
    alone = [s for s in scenario_sections(results, baseline, wide=True) if s.title not in swept]
    for section in alone:
        parts += _section(section)
    parts.append(_paragraph(" ".join(notes(results, baseline, tables_of(alone)))))
    for section in learning_sections(results, baseline):
        parts += _section(section)
    return "\n\n".join(filter(None, parts)) + "\n"


def _section(section: Section) -> list[str]:
    parts = [f"### {escaped(section.title)}"]
    if section.facts:
        parts.append(_paragraph(section.facts))
    parts += [_table(table) for table in section.tables.values()]
    return [*parts, _paragraph(" ".join(section.notes))] if section.notes else parts


def _table(table: TextTable) -> str:
    """Returns a table; cells of the best agent in bold."""
    rows = []
    for number, row in enumerate(table.rows):
        named = zip(table.columns, row, strict=True)
        # Only labels are a user's text; intervals in brackets read better as they are.
        cells = {title: escaped(cell) if title == "agent" else cell for title, cell in named}
        rows.append([f"**{c}**" if (number, t) in table.best else c for t, c in cells.items()])
    lines = [[escaped(title) for title in table.columns], ["---"] * len(table.columns), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def escaped(text: str) -> str:
    """Returns text as one line in which nothing is taken for Markdown."""
    return _SPECIAL.sub(r"\\\1", one_line(text))


def _paragraph(text: str) -> str:
    """Returns text that begins no heading, list or rule either."""
    return _LINE_START.sub(r"\1\\\2", escaped(text))
