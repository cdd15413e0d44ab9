"""``edgecloud report``: a results folder as one self-contained page."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from html import escape
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from agents.markdown import render_markdown
from agents.statistics import ORACLE
from agents.tables import (
    LEARNING_LEGEND,
    SWEEP_LEGEND,
    learning,
    legend,
    ranking,
    sweep,
)
from edgecloud_gym.files import replacing

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


def report(
    folder: Annotated[Path, typer.Argument(help="Results of `edgecloud compare`.")],
    output: Annotated[
        Path | None,
        typer.Option(help="The page, .html or .md; report.html in the folder by default."),
    ] = None,
    baseline: Annotated[str, typer.Option(help="Whom the tables compare with.")] = "fcfs",
) -> None:
    """Make one self-contained page of a results folder.

    In HTML it holds the tables, the pictures and the configuration, and needs no other file; in
    Markdown, the tables alone.
    """
    path = output or folder / "report.html"
    if path.suffix not in (".html", ".md"):
        typer.secho(f"error: --output {path}: must end in .html or .md", err=True)
        raise typer.Exit(2)
    try:
        results = read_results(folder)
        page = (
            render(results, baseline)
            if path.suffix == ".html"
            else render_markdown(results.summary, results.sweeps, results.requests, baseline)
        )
    except (OSError, ValueError, KeyError) as error:
        typer.secho(f"error: {folder} is not a finished results folder: {error}", err=True)
        raise typer.Exit(2) from error
    with replacing(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    typer.echo(f"Wrote {path}")


@dataclass(frozen=True)
class Results:
    """What a results folder holds.

    Attributes:
        folder: The folder.
        summary: One row per run.
        requests: What regret takes of the request log; ``None`` where the oracle did not run, or
            requests were left unfinished: the regret of the others would flatter.
        record: ``run.json``.
    """

    folder: Path
    summary: pd.DataFrame
    requests: pd.DataFrame | None
    record: dict[str, Any]

    @property
    def sweeps(self) -> dict[str, dict[str, float]]:
        """Per environment id that was played at several loads, the load of each scenario's label.

        Scenarios that differ in something else than their load are no sweep.
        """
        loads: dict[str, dict[str, float | None]] = {}
        for item in self.record["scenarios"]:
            loads.setdefault(item["env"], {})[item["label"]] = item["settings"].get("load")
        return {
            env_id: {label: load for label, load in found.items() if load is not None}
            for env_id, found in loads.items()
            if None not in found.values() and len(set(found.values())) == len(found) > 1
        }


def read_results(folder: Path) -> Results:
    """Reads a results folder.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If a file is damaged.
    """
    import pandas as pd

    summary = pd.read_csv(folder / "summary.csv")
    record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    requests = None
    compared = ORACLE in set(summary["agent"]) and summary["agent"].nunique() > 1
    if compared and not summary["unfinished"].any():
        columns = ["env", "agent", "seed", "request_id", "jct"]
        requests = pd.read_csv(folder / "requests.csv", usecols=columns, engine="pyarrow")
    return Results(folder, summary, requests, record)


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
