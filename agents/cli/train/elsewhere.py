"""Scenarios of the benchmark suite that a network learns in besides its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from agents.experiments.design.replay import whole
from agents.experiments.design.scenario import Scenario
from agents.schedulers.policy_file import POLICIES
from agents.suite.definition import load_suite
from edgecloud_gym.wording import shown


def check_learns_elsewhere(agent: str, names: Sequence[str]) -> None:
    """Raises ``ValueError`` if scenarios are given to an agent that learns in one place."""
    if names and agent not in POLICIES:
        raise ValueError(f"--scenario: {agent} learns in one place; networks learn in several")


def read_elsewhere(
    names: Sequence[str],
    agent: str,
    place: Scenario,
    split: str,
    traces: Mapping[str, Path] = MappingProxyType({}),
) -> tuple[Scenario, ...]:
    """Returns scenarios of the suite, with other prompts than the suite tests with.

    Args:
        names: Scenarios, or groups, of which those count that are of the same environment.
        agent: Who learns.
        place: Where it learns anyway.
        split: Whose prompts arrive.
        traces: Files of workload traces, which some scenarios replay.

    Raises:
        OSError: If a trace cannot be read.
        ValueError: If there is no such scenario, it is none to learn in besides, or the agent
            learns in one place only.
    """
    if not names:
        return ()
    replayed = False
    check_learns_elsewhere(agent, names)
    nodes = len(place.make().unwrapped.simulator.config.nodes)  # type: ignore[attr-defined]
    suite = load_suite().with_traces(traces)
    found = []
    for name in names:
        mine = [cell for cell in suite.select([name]).cells if cell.env_id == place.env_id]
        if not mine:
            why = suite.skipped.get(name) or f"must have a scenario of {place.env_id}"
            raise ValueError(f"--scenario {shown(name)}: {why}")
        replayed |= any(cell.trace for cell in mine)
        for cell in mine:
            settings = {key: value for key, value in cell.settings.items() if key != "slo"}
            other = replace(cell, settings={**settings, "split": split})
            scenario = other.scenario(whole(place.dataset), traces)
            there = len(scenario.make().unwrapped.simulator.config.nodes)  # type: ignore[attr-defined]
            if there != nodes:
                raise ValueError(
                    f"--scenario {shown(name)}: {cell.name} has {there} nodes, not {nodes} as "
                    f"{place.label}; a network learns with one number of nodes, and plays any"
                )
            found.append(scenario)
    if traces and not replayed:
        raise ValueError("--azure has no effect: none of the scenarios replays it")
    return tuple(found)
