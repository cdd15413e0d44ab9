"""Who plays: an agent with its settings, to be made afresh for every run."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from agents.base import Agent
from agents.experiments.design.scenario import checked_label
from agents.experiments.identity.fingerprint import file_digest, files_in, identify
from agents.registry import agent_class, check_agent_names, make_agent
from edgecloud_gym.wording import shown


@dataclass(frozen=True)
class AgentSpec:
    """An agent to be made afresh for every run.

    Attributes:
        agent: A name of `agents.registry`, or a subclass of `Agent`.
        settings: Its keyword arguments.
        checkpoint: A file that it loads first.
        label: What the ``agent`` column of the results says; the agent's name by default.
        explore: Whether it may try things out and learn; ``False`` to evaluate it as it is. The
            argument ``learn`` of `run_experiment` overrides it.
    """

    agent: str | type[Agent]
    settings: Mapping[str, Any] = field(default_factory=dict)
    checkpoint: str | Path | None = None
    label: str = ""
    explore: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "label", checked_label(self.label or self.name))

    @property
    def name(self) -> str:
        """The agent's name.

        Raises:
            TypeError: If it is neither a name nor a subclass of `Agent`.
            ValueError: If there is no agent of that name.
        """
        if isinstance(self.agent, str):
            check_agent_names([self.agent])
            return self.agent
        given: object = self.agent
        if not isinstance(given, type) or not issubclass(given, Agent):
            hint = "; give its class: one is made afresh for every run"
            raise TypeError(
                f"agent={shown(given)}: must be a name or a subclass of Agent"
                f"{hint if isinstance(given, Agent) else ''}"
            )
        if inspect.isabstract(given):
            missing = ", ".join(sorted(given.__abstractmethods__))
            raise TypeError(f"agent={shown(given)}: must define {missing}")
        return given.name

    @cached_property
    def identity(self) -> dict[str, Any]:
        """What the agent is, as a JSON value: its class with its code, settings, files."""
        files: list[str | Path] = [*files_in([self.checkpoint, self.settings])]
        files += self.made.own_files()
        return {
            "label": self.label,
            "agent": identify(self.agent),
            "settings": identify(self.settings),
            "files": [file_digest(path) for path in files],
            "explore": self.explore,
        }

    @property
    def made(self) -> type[Agent]:
        """The agent's class.

        Raises:
            TypeError: If it is neither a name nor a subclass of `Agent`.
            ValueError: If there is no agent of that name.
            ImportError: If it needs a package that is not installed.
        """
        return agent_class(self.name) if isinstance(self.agent, str) else self.agent

    @property
    def learns(self) -> bool:
        """Whether it goes on learning while it plays."""
        return self.explore and self.made.learns

    @property
    def knows_nothing(self) -> bool:
        """Whether it has nothing to go by: it starts from zero, has no file, and may not learn."""
        return self.made.from_zero and self.checkpoint is None and not self.explore

    def make(self) -> Agent:
        """Makes the agent."""
        if isinstance(self.agent, str):
            agent = make_agent(self.agent, **self.settings)
        else:
            agent = self.agent(**self.settings)
        if self.checkpoint is not None:
            agent.load(self.checkpoint)
        return agent
