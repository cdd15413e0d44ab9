"""Counting how often a method of an agent is called."""

from typing import Any

from agents import Agent


def spy_on(agent: Agent, method: str) -> list[tuple[Any, ...]]:
    """Sets a function in the method's place that calls it; returns the arguments of all calls."""
    before = getattr(agent, method)
    calls: list[tuple[Any, ...]] = []

    def spy(*args: Any) -> Any:
        calls.append(args)
        return before(*args)

    setattr(agent, method, spy)
    return calls
