"""Legends: what readers must know of the columns and figures that tables show, and of no others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from agents.report.regret_tables import regret_title
from agents.report.tables import NOTHING, TextTable, versus
from agents.statistics import FEWEST, ORACLES, yardsticks

if TYPE_CHECKING:
    from agents.report.results import Results

_DEALT: Final[Mapping[str, str]] = {
    "shuffle": "Prompts come again when all have come (prompt_order=shuffle).",
    "sequential": "Prompts come in order of rows, round and round (prompt_order=sequential).",
    "once": "No prompt comes twice in an episode (prompt_order=once).",
}
_INTERVAL: Final = "95 % bootstrap interval"
# What columns hold, in the order in which they are explained.
_COLUMNS: Final[Mapping[str, str]] = {
    "cloud": "cloud: share of the requests that it served.",
    "unfinished": "unfinished: per seed. Unfinished requests count with their age: JCT, p95, p99 "
    "are lower bounds.",
    "goodput /s": "goodput: requests in time per second.",
    "TTFT p50 s": "TTFT: time to first token, from arrival. TPOT: time per output token after the "
    "first. Both means of each seed's percentiles.",
    "tokens/s": "tokens/s: output tokens per second.",
    "preempted": "preempted: times that a sequence lost its place in a full cache, per seed.",
    "IQM s": "IQM: interquartile mean of the seeds' mean JCTs.",
    "error s": "error: mean |predicted - true| time of the requests that were predicted; their "
    "share in parentheses where it is not all.",
}


def notes(results: Results, baseline: str, tables: Sequence[TextTable]) -> list[str]:
    """Returns what readers of rankings and tails need to know.

    Args:
        results: The experiment.
        baseline: The agent whom the tables compare with.
        tables: The rankings and tails; where there is none, nothing of theirs is explained.
    """
    titles = {title for table in tables for title in table.columns}
    lines = []
    if "JCT s" in titles:
        lines += _first(tables)
        lines += _differences(results, baseline, titles)
    if "in time" in titles:
        named = " or ".join(sorted({*filter(None, map(objectives, results.record["scenarios"]))}))
        lines.append(f"in time: share of the requests with {named}.")
    if not titles.isdisjoint(map(regret_title, ORACLES)):
        lines.append(
            "regret: mean JCT less that of the agent in parentheses on the same requests, which "
            "knows the true times; below 0 it is better than that."
        )
    lines += [meaning for title, meaning in _COLUMNS.items() if title in titles]
    counts = [int(count) for table in tables for count in table.columns.get("n", ())]
    if counts and min(counts) < FEWEST:
        lines.append(f"Intervals, and who beats whom, need {FEWEST} seeds.")
    if tables and any(_is_replay(item) for item in results.record["scenarios"]):
        lines.append(
            "A trace replayed: the same requests on every seed, so that intervals tell how much "
            "comes of the agents' own draws, and nothing of other traffic."
        )
    return [*lines, *setting_notes(results.record), *played_notes(results.record)]


def _first(tables: Sequence[TextTable]) -> list[str]:
    """Returns what is to be known of the columns that are always there."""
    interval = f", with its {_INTERVAL}" if _have_intervals(tables) else ""
    lines = [
        f"JCT: mean job completion time over the n seeds{interval}.",
        "p95, p99: the means of each seed's percentiles.",
    ]
    if any(cell != NOTHING for table in tables for cell in table.columns.get("beats", ())):
        lines.append(
            "beats: the agents whom this one is faster than by a paired interval that excludes 0."
        )
    return [*lines, *_bold(tables, "Bold: the lowest mean JCT, p95, p99")]


def _bold(tables: Sequence[TextTable], what: str) -> list[str]:
    if not any(table.best for table in tables):
        return []
    informed = yardsticks(agent for table in tables for agent in table.columns["agent"])
    do = "do" if len(informed) > 1 else "does"
    named = f", as {' and '.join(informed)} {do}"
    whose = f" of the agents that do not know the true times{named}" if informed else ""
    return [f"{what}{whose}."]


def _differences(results: Results, baseline: str, titles: set[str]) -> list[str]:
    named = versus(baseline)
    if named in titles:
        whose = "" if named.endswith(baseline) else f" The baseline is {baseline}."
        return [f"{named}: difference paired seed by seed, as a share.{whose}"]
    if baseline in {str(agent) for agent in results.summary["agent"]}:
        return []  # left out: said with the failures
    return [f"The baseline {baseline} has not run: there are no differences from it."]


def sweep_notes(tables: Sequence[TextTable], baseline: str) -> list[str]:
    """Returns what readers of tables by load need to know."""
    lines = ["Means over the seeds.", *_bold(tables, "Bold: the lowest at each load")]
    if any("(" in cell for table in tables for cell in _cells(table)):
        interval = f", with its {_INTERVAL}" if _have_intervals(tables) else ""
        lines.append(
            f"In parentheses the difference from {baseline}, paired seed by seed{interval}."
        )
    return lines


def learning_notes(tables: Sequence[TextTable], baseline: str) -> list[str]:
    """Returns what readers of regret by quarters need to know."""
    interval = f", with its {_INTERVAL} over the seeds" if _have_intervals(tables) else ""
    shared = any("%" in cell for table in tables for cell in _cells(table))
    share = f", and its share of that of {baseline}" if shared else ""
    lines = [
        "Regret per request (s): JCT less the JCT of the same request under the agent that it is "
        f"told against, in each quarter of the requests in order of arrival{interval}{share}."
    ]
    if shared:
        lines.append(
            "An episode begins with an empty queue, where nobody has regrets: what is learnt shows "
            "in the share before it shows in the seconds."
        )
    return lines


def _cells(table: TextTable) -> Iterable[str]:
    """Returns the cells that hold figures."""
    return (cell for title, cells in table.columns.items() if title != "agent" for cell in cells)


def _have_intervals(tables: Iterable[TextTable]) -> bool:
    return any("[" in cell for table in tables for cell in _cells(table))


def setting_notes(record: Mapping[str, Any]) -> list[str]:
    """Returns how prompts were dealt, and which settings not all environments were given."""
    having: dict[str, dict[str, None]] = {}
    for item in record["scenarios"]:
        for name in item["settings"]:
            having.setdefault(name, {})[item["env"]] = None
    every = dict.fromkeys(item["env"] for item in record["scenarios"])
    lines = prompt_notes(record)
    for name, envs in having.items():
        lacking = [env for env in every if env not in envs]
        if lacking:
            lines.append(f"{name} is set for {', '.join(envs)}, not for {', '.join(lacking)}.")
    return lines


def prompt_notes(record: Mapping[str, Any]) -> list[str]:
    """Returns whether prompts came again: an agent that learns knows the times of those."""
    orders: dict[str, dict[str, None]] = {}
    for item in record["scenarios"]:
        order = (item.get("configuration") or {}).get("prompt_order")
        if order is not None:
            orders.setdefault(order, {})[item["label"]] = None
    return [
        _DEALT[order] + (f" Of {', '.join(labels)}." if len(orders) > 1 else "")
        for order, labels in orders.items()
        if order in _DEALT
    ]


def played_notes(record: Mapping[str, Any]) -> list[str]:
    """Returns how the agents played: who had idle places filled, who learnt and who did not."""
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
    learning = [item["label"] for item in record["agents"] if item.get("learns")]
    if learning:
        lines.append(f"Learning as they play (learn=True): {', '.join(learning)}.")
    fixed = [item["label"] for item in record["agents"] if not item["explore"]]
    if fixed:
        lines.append(f"Neither exploring nor learning (explore=False): {', '.join(fixed)}.")
    return lines


def _is_replay(scenario: Mapping[str, Any]) -> bool:
    """Tells whether every seed of a scenario has the same requests."""
    settings = scenario.get("configuration") or {}
    arrivals = settings.get("arrivals")
    recorded = arrivals.get("Trace") if isinstance(arrivals, Mapping) else None
    ordered = settings.get("prompt_order") == "sequential"
    return isinstance(recorded, Mapping) and not recorded.get("jitter") and ordered


def objectives(scenario: Mapping[str, Any]) -> str:
    """Returns all objectives of a scenario in words; empty if it has none."""
    slo = (scenario.get("configuration") or {}).get("slo")
    limits = slo if isinstance(slo, Mapping) else {} if slo is None else {"jct": slo}
    return " and ".join(f"{name.upper()} ≤ {limit:g} s" for name, limit in limits.items())


def objective(scenario: Mapping[str, Any]) -> float | None:
    """Returns a scenario's objective on the JCT (s)."""
    slo = (scenario.get("configuration") or {}).get("slo")
    if isinstance(slo, Mapping):
        slo = slo.get("jct")
    return None if slo is None else float(slo)
