"""A results folder as one self-contained HTML page."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from string import Template
from typing import Any, Final

from agents.report.legends import notes, played_notes, setting_notes
from agents.report.results import (
    PAPER_PLOT,
    PLOT,
    SWEEP_PLOT,
    TOKEN_PLOT,
    Results,
    ResultsFolder,
    sweeps,
)
from agents.report.sections import (
    Section,
    failures,
    learning_sections,
    scenario_sections,
    sweep_sections,
    tables_of,
)
from agents.report.tables import TextTable

_PAGE: Final = Template("""\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>
  :root { color-scheme: light dark; --line: #8885; --quiet: #777; }
  body { font: 16px/1.5 system-ui, sans-serif; max-width: 80rem; margin: 2rem auto; }
  body { padding: 0 1rem; }
  p, ul { max-width: 48rem; }
  h1, h2 { line-height: 1.2; }
  h2 { margin-top: 2.5rem; }
  .scroll { overflow-x: auto; margin-bottom: 1rem; }
  table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
  th, td { padding: .3rem .8rem; border-bottom: 1px solid var(--line); text-align: left; }
  .numbers { white-space: nowrap; }
  .numbers :is(th, td):not(.agent) { text-align: right; }
  .numbers .agent { white-space: normal; overflow-wrap: anywhere; min-width: 9rem; }
  img { max-width: 100%; height: auto; background: white; border-radius: 4px; }
  pre { overflow-x: auto; padding: 1rem; border: 1px solid var(--line); border-radius: 4px; }
  .wide { overflow-wrap: anywhere; }
  summary { cursor: pointer; margin-top: 1rem; }
  .legend { color: var(--quiet); }
  .failures { color: light-dark(#b00, #f88); }
</style>
</head>
<body>
<h1>$title</h1>
$body
</body>
</html>
""")


def render(results: ResultsFolder, baseline: str, columns: Sequence[str] = ()) -> str:
    """Returns the HTML page of a results folder.

    Args:
        results: What it holds.
        baseline: The agent whom the tables compare with.
        columns: Metrics to show besides.
    """
    parts = [_tables(results, baseline, columns)]
    parts += [_picture(results.folder / name) for name in _pictures(results)]
    parts.append(_configuration(results.record))
    title = f"Schedulers compared: {escape(results.folder.resolve().name)}"
    return _PAGE.substitute(title=title, body="\n".join(filter(None, parts)))


def render_tables(results: Results, baseline: str = "fcfs") -> str:
    """Returns the rankings alone, as part of a page: what a notebook shows of an experiment."""
    sections = scenario_sections(results, baseline, wide=False)
    parts = [_failures(results.record), *map(_section, sections)]
    if sections:
        parts.append(_legend(notes(results, baseline, tables_of(sections))))
    return "\n".join(filter(None, parts))


def _tables(results: Results, baseline: str, columns: Sequence[str]) -> str:
    sections = scenario_sections(results, baseline, wide=True, columns=columns)
    parts = [_failures(results.record)]
    parts += map(_section, [*sweep_sections(results, baseline), *sections])
    parts.append(_legend(notes(results, baseline, tables_of(sections))))
    parts += map(_section, learning_sections(results, baseline))
    return "\n".join(filter(None, parts))


def _failures(record: Mapping[str, Any]) -> str:
    items = "".join(f"<li>{escape(line)}</li>" for line in failures(record))
    return f'<h2>Failed runs</h2>\n<ul class="failures">{items}</ul>' if items else ""


def _section(section: Section) -> str:
    parts = [f"<h2>{escape(section.title)}</h2>"]
    if section.facts:
        parts.append(f"<p>{escape(section.facts)}</p>")
    parts += [_table(table) for table in section.tables.values()]
    return "\n".join([*parts, _legend(section.notes)])


def _legend(lines: Iterable[str]) -> str:
    text = " ".join(lines)
    return f'<p class="legend">{escape(text)}</p>' if text else ""


def _table(table: TextTable) -> str:
    titles = list(table.columns)
    head = "".join(f"<th{_style(title)}>{escape(title)}</th>" for title in titles)
    rows = []
    for number, row in enumerate(table.rows):
        named = zip(titles, map(escape, row), strict=True)
        # <b>, not a style: a notebook shows the table without the page's.
        marked = {t: f"<b>{cell}</b>" if (number, t) in table.best else cell for t, cell in named}
        cells = "".join(f"<td{_style(title)}>{cell}</td>" for title, cell in marked.items())
        rows.append(f"<tr>{cells}</tr>")
    body = "\n".join(rows)
    return (
        f'<div class="scroll"><table class="numbers"><thead><tr>{head}</tr></thead>\n'
        f"<tbody>{body}</tbody></table></div>"
    )


def _style(title: str) -> str:
    return ' class="agent"' if title == "agent" else ""


def _pictures(results: ResultsFolder) -> list[str]:
    """Returns the pictures of this experiment that are there."""
    wanted = [PLOT, *([SWEEP_PLOT] if sweeps(results.record) else []), TOKEN_PLOT, PAPER_PLOT]
    return [name for name in wanted if (results.folder / name).is_file()]


def _picture(path: Path) -> str:
    data = base64.b64encode(path.read_bytes()).decode("ascii")
    name = path.stem.replace("_", " ")
    return (
        f"<h2>{escape(name.capitalize())}</h2>\n"
        f'<img alt="{escape(name)}" src="data:image/png;base64,{data}">'
    )


def _configuration(record: Mapping[str, Any]) -> str:
    """Returns what was played, for people, and the whole record, folded away."""
    rows = [(item["label"], item.get("configuration")) for item in record["scenarios"]]
    rows += [(item["label"], item.get("all_settings")) for item in record["agents"]]
    cells = "\n".join(
        f'<tr><td>{escape(label)}</td><td class="wide">{escape(_assignments(values))}</td></tr>'
        for label, values in rows
    )
    facts = [
        f"Seeds {', '.join(map(str, record['seeds']))}.",
        *setting_notes(record),
        *played_notes(record),
        f"{record.get('date', '')}: {' '.join(map(str, record.get('command', [])))}",
        f"{', '.join(f'{name} {number}' for name, number in record['versions'].items())}; "
        f"{record['machine']}.",
    ]
    return (
        f"<h2>Configuration</h2>\n<table><tbody>{cells}</tbody></table>\n"
        + "\n".join(f"<p>{escape(fact)}</p>" for fact in facts)
        + "\n<details><summary>run.json</summary>\n"
        f"<pre>{escape(json.dumps(record, indent=2, ensure_ascii=False))}</pre></details>"
    )


def _assignments(values: Mapping[str, Any] | None) -> str:
    """Returns settings one after the other; those that are not known were never played."""
    if values is None:
        return "not played"
    return ", ".join(f"{n} = {json.dumps(v, ensure_ascii=False)}" for n, v in values.items()) or "–"
