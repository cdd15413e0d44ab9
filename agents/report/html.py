"""A results folder as one self-contained HTML page."""

from __future__ import annotations

import base64
import json
from html import escape
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any, Final

from agents.report.results import Results
from agents.report.tables import (
    LEARNING_LEGEND,
    SWEEP_LEGEND,
    learning,
    legend,
    ranking,
    sweep,
)

if TYPE_CHECKING:
    import pandas as pd

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
  .scroll { overflow-x: auto; }
  table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
  th, td { padding: .3rem .8rem; border-bottom: 1px solid var(--line); text-align: left; }
  .ranking, .learning, .sweep { white-space: nowrap; }
  :is(.learning, .sweep) :is(th, td):not(:first-child) { text-align: right; }
  .ranking :is(th, td):not(:nth-child(2)) { text-align: right; }
  .ranking tbody tr:first-child { font-weight: 700; }
  img { max-width: 100%; height: auto; background: white; border-radius: 4px; }
  pre { overflow-x: auto; padding: 1rem; border: 1px solid var(--line); border-radius: 4px; }
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


def render(results: Results, baseline: str) -> str:
    """Returns the HTML page of a results folder.

    Args:
        results: What it holds, and pictures (``*.png``) if any.
        baseline: The agent whom the tables compare with.
    """
    record = results.record
    parts = [_failures(record), *_sweeps(results, baseline), *_tables(results.summary, baseline)]
    if results.requests is not None:
        parts += _learning(results.requests, baseline)
    parts += [_picture(path) for path in sorted(results.folder.glob("*.png"))]
    parts.append(_configuration(record))
    title = f"Schedulers compared: {escape(results.folder.resolve().name)}"
    return _PAGE.substitute(title=title, body="\n".join(filter(None, parts)))


def _failures(record: dict[str, Any]) -> str:
    items = "".join(f"<li>{escape(failure)}</li>" for failure in record["failures"])
    return f'<h2>Failed runs</h2>\n<ul class="failures">{items}</ul>' if items else ""


def _tables(summary: pd.DataFrame, baseline: str) -> list[str]:
    parts = []
    for label, rows in summary.groupby("env", sort=False):
        seeds, requests = rows["seed"].nunique(), rows["arrived"].mean()
        parts.append(f"<h2>{escape(str(label))}</h2>")
        parts.append(f"<p>{seeds} seeds, {requests:,.0f} requests each</p>")
        parts.append(_table(ranking(rows, baseline, wide=True), "ranking"))
    parts.append(f'<p class="legend">{escape(legend(summary, wide=True))}</p>')
    return parts


def _sweeps(results: Results, baseline: str) -> list[str]:
    """Returns a table over the loads for each environment that has several."""
    parts = []
    for env_id, loads in results.sweeps.items():
        columns, _ = sweep(results.summary, loads, baseline)
        parts.append(f"<h2>{escape(env_id)}: mean JCT (s) by load</h2>")
        parts.append(_table(columns, "sweep"))
        parts.append(f'<p class="legend">{escape(SWEEP_LEGEND)}</p>')
    return parts


def _learning(requests: pd.DataFrame, baseline: str) -> list[str]:
    """Returns tables of regret over time."""
    parts = ["<h2>Learning</h2>", f'<p class="legend">{escape(LEARNING_LEGEND)}</p>']
    for label, rows in requests.groupby("env", sort=False):
        parts.append(f"<h3>{escape(str(label))}</h3>")
        parts.append(_table(learning(rows, baseline), "learning"))
    return parts


def _table(columns: dict[str, list[str]], style: str = "") -> str:
    head = "".join(f"<th>{escape(title)}</th>" for title in columns)
    rows = zip(*columns.values(), strict=True)
    body = "\n".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    return (
        f'<div class="scroll"><table class="{style}"><thead><tr>{head}</tr></thead>\n'
        f"<tbody>{body}</tbody></table></div>"
    )


def _picture(path: Path) -> str:
    data = base64.b64encode(path.read_bytes()).decode("ascii")
    name = path.stem.replace("_", " ")
    return (
        f"<h2>{escape(name.capitalize())}</h2>\n"
        f'<img alt="{escape(name)}" src="data:image/png;base64,{data}">'
    )


def _configuration(record: dict[str, Any]) -> str:
    """Returns what was run, for people, and the whole record, folded away."""
    named = [(item["label"], item["settings"]) for item in record["scenarios"]]
    named += [(item["label"], item["settings"]) for item in record["agents"] if item["settings"]]
    settings = {
        "": [label for label, _ in named],
        "settings (others: the defaults)": [_assignments(values) for _, values in named],
    }
    seeds = ", ".join(map(str, record["seeds"]))
    versions = ", ".join(f"{name} {number}" for name, number in record["versions"].items())
    return (
        f"<h2>Configuration</h2>\n{_table(settings)}\n"
        f"<p>Seeds {seeds}.</p>\n<p>{escape(versions)}; {escape(record['machine'])}.</p>\n"
        f"<details><summary>run.json</summary>\n"
        f"<pre>{escape(json.dumps(record, indent=2))}</pre></details>"
    )


def _assignments(values: dict[str, Any]) -> str:
    return ", ".join(f"{name} = {json.dumps(value)}" for name, value in values.items())
