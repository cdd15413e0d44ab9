"""What is shown of an experiment, in which order, and what readers must know beside the tables."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from agents.report.legends import learning_notes, sweep_notes
from agents.report.metric_tables import chosen, tokens
from agents.report.regret_tables import learning, regrets
from agents.report.results import Results, knows_requests, sweeps
from agents.report.tables import (
    JCT,
    TAILS,
    TextTable,
    ranking,
    sweep,
    tails,
)
from agents.report.words import counted, one_line
from agents.statistics import CommonSeeds, common_seeds, yardsticks

if TYPE_CHECKING:
    import pandas as pd

_FAILURE: Final = re.compile(r"(?P<who>.*?), seed (?P<seed>\d+): (?P<error>.*)")


@dataclass(frozen=True)
class Section:
    """A part of a report.

    Attributes:
        title: Its heading.
        facts: What was played: seeds and requests; may be empty.
        tables: The tables, by what kind they are: ``ranking``, ``tails``, ``regret``,
            ``tokens``, ``columns``, ``sweep``, ``learning``.
        notes: What readers must know of these tables.
    """

    title: str
    facts: str
    tables: Mapping[str, TextTable]
    notes: Sequence[str] = ()


def scenario_sections(
    results: Results, baseline: str, *, wide: bool, columns: Sequence[str] = ()
) -> list[Section]:
    """Returns a section per scenario: ranking and tails, and what else is known and asked for."""
    sections = []
    for label, rows in results.summary.groupby("env", sort=False):
        common = comparable(rows, results.record)
        tables = {}
        if common.seeds:
            tables["ranking"] = ranking(common.rows, baseline, wide=wide)
            tables["tails"] = tails(common.rows, baseline)
            more = {
                "regret": regrets(common.rows),
                "tokens": tokens(common.rows),
                "columns": chosen(common.rows, columns),
            }
            tables |= {name: table for name, table in more.items() if table is not None}
        sections.append(Section(str(label), facts(common), tables, _who_is_missing(common)))
    return sections


def sweep_sections(results: Results, baseline: str) -> list[Section]:
    """Returns a section for each statistic of each environment that was played at several loads."""
    sections = []
    for env_id, loads in sweeps(results.record).items():
        facts = _sweep_facts(results.summary, loads)
        for name, metric in {"mean": JCT, **TAILS}.items():
            table = sweep(results.summary, loads, baseline, metric)
            title = f"{env_id}: {name} JCT (s) by load"
            sections.append(Section(title, facts, {"sweep": table}))
    return _with_notes_below(sections, sweep_notes, baseline)


def _sweep_facts(summary: pd.DataFrame, loads: Mapping[str, float]) -> str:
    """Returns on how many seeds the figures at each load are."""
    counts = {
        load: len(common_seeds(summary[summary["env"] == label]).seeds)
        for label, load in sorted(loads.items(), key=lambda item: item[1])
    }
    if len(set(counts.values())) == 1:
        return f"{counted(next(iter(counts.values())), 'seed')} at each load"
    return ", ".join(f"{counted(n, 'seed')} at load {load:g}" for load, n in counts.items())


def learning_sections(results: Results, baseline: str) -> list[Section]:
    """Returns a section per scenario and yardstick that regret can be told against."""
    sections = [
        Section(
            f"{label}: learning, as regret against {oracle}",
            "",
            {"learning": learning(rows, baseline, oracle)},
        )
        for label, rows in regret_rows(results).items()
        for oracle in yardsticks(rows["agent"].unique())
    ]
    return _with_notes_below(sections, learning_notes, baseline)


def _with_notes_below(
    sections: Sequence[Section], legend: Callable[[list[TextTable], str], list[str]], baseline: str
) -> list[Section]:
    """Returns sections of which the last has a legend of the tables of all of them."""
    lines = legend(tables_of(sections), baseline)
    return [*sections[:-1], *(replace(section, notes=lines) for section in sections[-1:])]


def tables_of(sections: Iterable[Section]) -> list[TextTable]:
    """Returns the tables of sections."""
    return [table for section in sections for table in section.tables.values()]


def regret_rows(results: Results) -> dict[str, pd.DataFrame]:
    """Returns, per scenario, the requests of the runs whose regret can be told.

    There is none where no yardstick ran, single requests were not written, or some were left
    unfinished: the regret of the finished alone would flatter.
    """
    if not knows_requests(results.record):
        return {}
    found = {}
    for label, rows in results.summary.groupby("env", sort=False):
        common = common_seeds(rows)
        compared = set(common.rows["agent"])
        if yardsticks(compared) and len(compared) > 1 and not common.rows["unfinished"].any():
            found[str(label)] = common.of(results.jcts(str(label)))
    return found


def failures(record: Mapping[str, Any]) -> list[str]:
    """Returns the failed runs, those of one agent with one message together, each in a line."""
    grouped: dict[tuple[str, str], list[str]] = {}
    for text in record["failures"]:
        line = one_line(str(text))
        match = _FAILURE.fullmatch(line)
        key = (match["who"], match["error"]) if match else (line, "")
        grouped.setdefault(key, []).extend([match["seed"]] if match else [])
    lines = []
    for (who, error), seeds in grouped.items():
        plural = "s" if len(seeds) > 1 else ""
        lines.append(f"{who}, seed{plural} {', '.join(seeds)}: {error}" if seeds else who)
    return lines


def comparable(rows: pd.DataFrame, record: Mapping[str, Any]) -> CommonSeeds:
    """Returns the runs of a scenario that can be compared, and whose are missing.

    Args:
        rows: The scenario's rows of the summary.
        record: What was to be played.
    """
    agents = [str(item["label"]) for item in record["agents"]]
    return common_seeds(rows, agents, record["seeds"])


def facts(common: CommonSeeds) -> str:
    """Returns how many seeds and requests figures are of."""
    lacking = {seed for seeds in common.missing.values() for seed in seeds}
    number = len(lacking.union(common.seeds, common.empty))
    planned = counted(number, "seed")
    empty = f"on {len(common.empty):,} no request arrived" if common.empty else ""
    if not common.seeds:
        return f"no results of {planned}{f': {empty}' if empty else ''}"
    used = len(common.seeds)
    seeds = planned if used == number else f"{used:,} of {planned}"
    text = f"{seeds}, {_requests(common.rows['arrived'].mean())}"
    return f"{text}; {empty}" if empty else text


def _requests(mean: float) -> str:
    return "1 request each" if mean == 1.0 else f"{mean:,.0f} requests each"


def _who_is_missing(common: CommonSeeds) -> list[str]:
    """Returns what to say of agents that have not finished every seed."""
    lines = []
    for agent, lacking in common.missing.items():
        shown = ", ".join(map(str, lacking[:8])) + (", ..." if len(lacking) > 8 else "")
        plural = "s" if len(lacking) > 1 else ""
        what = "is not ranked" if agent in common.left_out else "is compared on the others"
        lines.append(f"{agent} has failed on seed{plural} {shown} and {what}.")
    if lines and common.seeds:
        lines.append(
            f"All figures are of the {counted(len(common.seeds), 'seed')} that every agent ranked "
            "has finished."
        )
    return lines
