"""Agents by name. Modules are imported when an agent of theirs is made: some need torch."""

from __future__ import annotations

import difflib
from importlib import import_module
from typing import Any, Final

from agents.base import Agent

_CLASSES: Final = {
    "fcfs": "agents.schedulers.heuristics:FCFS",
    "random": "agents.schedulers.heuristics:RandomScheduler",
    "round-robin": "agents.schedulers.heuristics:RoundRobin",
    "least-connections": "agents.schedulers.heuristics:LeastConnections",
    "queue-length": "agents.schedulers.heuristics:QueueLength",
    "historical-lrt": "agents.schedulers.response_time:HistoricalLRT",
    "edge-only": "agents.schedulers.heuristics:EdgeOnly",
    "cloud-only": "agents.schedulers.heuristics:CloudOnly",
    "sjf-oracle": "agents.schedulers.heuristics:OracleSJF",
    "clinucb": "agents.schedulers.bandits.linear:CLinUCB",
    "c2ucb": "agents.schedulers.bandits.linear:C2UCB",
    "cn-greedy": "agents.schedulers.bandits.neural:CNGreedy",
    "cn-ducb": "agents.schedulers.bandits.neural:CNDUCB",
    "neural-linear": "agents.schedulers.bandits.neural:NeuralLinear",
    "cn-ts": "agents.schedulers.bandits.neural:CNTS",
    "sb3": "agents.schedulers.sb3_agent:SB3Agent",
}

AGENT_NAMES: Final = tuple(_CLASSES)
BANDITS: Final = ("clinucb", "c2ucb", "cn-greedy", "cn-ducb", "neural-linear", "cn-ts")


def make_agent(name: str, **kwargs: Any) -> Agent:
    """Makes an agent.

    Args:
        name: One of `AGENT_NAMES`.
        **kwargs: The agent's own settings.

    Raises:
        TypeError: If the agent has no such setting.
        ValueError: If there is no such agent, or a setting is out of range.
        ImportError: If the agent needs a package that is not installed.

    >>> make_agent("fcfs").name
    'fcfs'
    """
    check_agent_names([name])
    module, _, attribute = _CLASSES[name].partition(":")
    agent: Agent = getattr(import_module(module), attribute)(**kwargs)
    return agent


def check_agent_names(names: list[str]) -> None:
    """Raises ``ValueError``, listing the known agents, if one is unknown."""
    for name in names:
        if name not in _CLASSES:
            close = difflib.get_close_matches(name, _CLASSES, n=1)
            hint = f" (did you mean {close[0]!r}?)" if close else ""
            raise ValueError(
                f"unknown agent {name!r}{hint}; known agents: {', '.join(AGENT_NAMES)}"
            )
