"""What is shown of an experiment, in which order, and what readers must know beside the tables."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from agents.report.results import Results, sweeps
from agents.report.tables import (
    JCT,
    TAILS,
    TextTable,
    learning,
    ranking,
    sweep,
    tails,
    versus,
)
from agents.statistics import FEWEST, ORACLE, CommonSeeds, common_seeds

if TYPE_CHECKING:
    import pandas as pd

LEARNING_LEGEND: Final = """\
Regret per request (s): JCT less the JCT of the same request under sjf-oracle, in each quarter of
the requests in order of arrival, with its 95 % bootstrap interval over the seeds and its share of
the baseline's. An episode begins with an empty queue, where nobody has regrets: what is learnt
shows in the share before it shows in the seconds."""
_FAILURE: Final = re.compile(r"(?P<who>.*?), seed (?P<seed>\d+): (?P<error>.*)", re.DOTALL)


@dataclass(frozen=True)
class Section:
    """A part of a report.

    Attributes:
        title: Its heading.
        facts: What was played: seeds and requests; may be empty.
        tables: The tables, by what kind they are: ``ranking``, ``tails``, ``sweep``, ``learning``.
        notes: What readers must know of these tables.
    """

    title: str
    facts: str
    tables: Mapping[str, TextTable]
    notes: Sequence[str] = ()


def scenario_sections(results: Results, baseline: str, *, wide: bool) -> list[Section]:
    """Returns a section per scenario: ranking and tails."""
    sections = []
    for label, rows in results.summary.groupby("env", sort=False):
        common = _common(rows, results.record)
        tables = {}
        if common.seeds:
            tables["ranking"] = ranking(common.rows, baseline, wide=wide)
            tables["tails"] = tails(common.rows, baseline)
        sections.append(Section(str(label), _facts(common), tables, _who_is_missing(common)))
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
    legend = [
        "Means over the seeds. Bold: the best at each load of those that do not know the true "
        "times."
    ]
    if baseline in set(results.summary["agent"]):
        legend.append(
            f"In parentheses the difference from {baseline}, paired seed by seed, with its 95 % "
            "bootstrap interval."
        )
    return _with_notes_below(sections, legend)


def _sweep_facts(summary: pd.DataFrame, loads: Mapping[str, float]) -> str:
    """Returns on how many seeds the figures at each load are."""
    counts = {
        load: len(common_seeds(summary[summary["env"] == label]).seeds)
        for label, load in sorted(loads.items(), key=lambda item: item[1])
    }
    if len(set(counts.values())) == 1:
        return f"{next(iter(counts.values()))} seeds at each load"
    return ", ".join(f"{count} seeds at load {load:g}" for load, count in counts.items())


def learning_sections(results: Results, baseline: str) -> list[Section]:
    """Returns a section per scenario in which regret against the oracle can be told."""
    sections = [
        Section(f"{label}: learning", "", {"learning": learning(rows, baseline)})
        for label, rows in regret_rows(results).items()
    ]
    return _with_notes_below(sections, [LEARNING_LEGEND])


def _with_notes_below(sections: Sequence[Section], notes: Sequence[str]) -> list[Section]:
    """Returns sections of which the last has notes on all of them."""
    return [*sections[:-1], *(replace(section, notes=notes) for section in sections[-1:])]


def regret_rows(results: Results) -> dict[str, pd.DataFrame]:
    """Returns, per scenario, the requests of the runs whose regret can be told.

    There is none where the oracle did not run, or requests were left unfinished: the regret of the
    finished alone would flatter.
    """
    found = {}
    for label, rows in results.summary.groupby("env", sort=False):
        common = common_seeds(rows)
        compared = set(common.rows["agent"])
        if ORACLE in compared and len(compared) > 1 and not common.rows["unfinished"].any():
            requests = results.requests
            found[str(label)] = common.of(requests[requests["env"] == label])
    return found


def notes(results: Results, baseline: str, *, wide: bool) -> list[str]:
    """Returns what readers of rankings and tails need to know."""
    summary = results.summary
    agents = {str(agent) for agent in summary["agent"]}
    lines = [
        "JCT: mean job completion time over the n seeds, with its 95 % bootstrap interval. p95, "
        "p99: the means of each seed's percentiles. beats: the agents whom this one is faster than "
        "by a paired interval that excludes 0. Bold: the lowest mean JCT"
        + (
            f" of the agents that do not know the true times, as {ORACLE} does."
            if ORACLE in agents
            else "."
        ),
    ]
    if baseline in agents:
        named = versus(baseline)
        whose = "" if named.endswith(baseline) else f" The baseline is {baseline}."
        lines.append(f"{named}: difference paired seed by seed, as a share.{whose}")
    else:
        lines.append(f"The baseline {baseline} has not run: there are no differences from it.")
    if wide:
        lines.append("IQM: interquartile mean of the seeds' mean JCTs.")
        if summary["prediction_error_mean"].notna().any():
            lines.append(
                "error: mean |predicted - true| time of the requests that were predicted; their "
                "share in parentheses where it is not all."
            )
    objectives = {objective(item) for item in results.record["scenarios"]} - {None}
    if objectives:
        named = " or ".join(sorted(f"{value:g} s" for value in objectives if value is not None))
        lines.append(
            f"in time: share of the requests whose JCT is within the objective of {named}."
        )
    if summary["seed"].nunique() < FEWEST:
        lines.append(f"Intervals, and who beats whom, need {FEWEST} seeds.")
    if summary["unfinished"].any():
        lines.append("Unfinished requests count with their age: JCT, p95, p99 are lower bounds.")
    if any(_is_replay(item) for item in results.record["scenarios"]):
        lines.append(
            "A trace replayed: the same requests on every seed, so that intervals tell how much "
            "comes of the agents' own draws, and nothing of other traffic."
        )
    return [*lines, *played_notes(results.record)]


def played_notes(record: Mapping[str, Any]) -> list[str]:
    """Returns how the agents played: who had idle places filled, and who did not learn."""
    filled, unfilled = [], []
    for item in record["agents"]:
        values = set((item.get("work_conserving") or {}).values())
        filled += [item["label"]] * (True in values)
        unfilled += [item["label"]] * (False in values)
    lines = []
    if filled:
        whose = ", ".join(filled) if unfilled else "every agent"
        lines.append(f"work_conserving: idle places are filled for {whose}.")
    if unfilled:
        whose = ", ".join(unfilled) if filled else "every agent"
        lines.append(f"not work_conserving: {whose}; what waits, waits.")
    fixed = [item["label"] for item in record["agents"] if not item["explore"]]
    if fixed:
        lines.append(f"Neither exploring nor learning (explore=False): {', '.join(fixed)}.")
    return lines


def failures(record: Mapping[str, Any]) -> list[str]:
    """Returns the failed runs, those of one agent with one message in one line."""
    grouped: dict[tuple[str, str], list[str]] = {}
    for text in record["failures"]:
        match = _FAILURE.fullmatch(str(text))
        key = (match["who"], match["error"]) if match else (str(text), "")
        grouped.setdefault(key, []).extend([match["seed"]] if match else [])
    lines = []
    for (who, error), seeds in grouped.items():
        plural = "s" if len(seeds) > 1 else ""
        lines.append(f"{who}, seed{plural} {', '.join(seeds)}: {error}" if seeds else who)
    return lines


def _common(rows: pd.DataFrame, record: Mapping[str, Any]) -> CommonSeeds:
    agents = [str(item["label"]) for item in record["agents"]]
    return common_seeds(rows, agents, record["seeds"])


def _facts(common: CommonSeeds) -> str:
    empty = f"on {len(common.empty)} more no request arrived" if common.empty else ""
    if not common.seeds:
        return f"no results{f': {empty}' if empty else ''}"
    planned = len(common.seeds) + len(common.empty)
    lacking = {seed for seeds in common.missing.values() for seed in seeds}
    planned += len(lacking - set(common.seeds) - set(common.empty))
    of = f" of {planned}" if planned > len(common.seeds) + len(common.empty) else ""
    plural = "" if len(common.seeds) == 1 else "s"
    requests = common.rows["arrived"].mean()
    facts = f"{len(common.seeds)}{of} seed{plural}, {requests:,.0f} requests each"
    return f"{facts}; {empty}" if empty else facts


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
            f"All figures are of the {len(common.seeds)} seeds that every agent ranked has "
            "finished."
        )
    return lines


def _is_replay(scenario: Mapping[str, Any]) -> bool:
    """Tells whether every seed of a scenario has the same requests."""
    settings = scenario.get("configuration") or {}
    arrivals = settings.get("arrivals")
    recorded = arrivals.get("Trace") if isinstance(arrivals, Mapping) else None
    ordered = settings.get("prompt_order") == "sequential"
    return isinstance(recorded, Mapping) and not recorded.get("jitter") and ordered


def objective(scenario: Mapping[str, Any]) -> float | None:
    """Returns a scenario's objective on the JCT (s)."""
    slo = (scenario.get("configuration") or {}).get("slo")
    if isinstance(slo, Mapping):
        slo = slo.get("jct")
    return None if slo is None else float(slo)
