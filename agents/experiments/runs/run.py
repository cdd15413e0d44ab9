"""One run of an experiment, and what defines it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

from agents.experiments.design.scenario import Scenario
from agents.experiments.design.spec import AgentSpec
from agents.experiments.identity.code import digest
from agents.experiments.identity.source import source_digest
from agents.experiments.identity.versions import versions
from agents.experiments.runs.playing import play_seeds
from agents.experiments.runs.store import RUNS

_NOT_COMPUTING: Final = ("edgecloud-gym", "pandas", "pyarrow")  # the first by its source instead


@dataclass(frozen=True)
class Run:
    """A scenario, an agent and a seed."""

    scenario: Scenario
    spec: AgentSpec
    seed: int

    @property
    def title(self) -> str:
        """What messages call the run."""
        return f"{self.scenario.label}, agent {self.spec.label}, seed {self.seed}"

    @cached_property
    def digest(self) -> str:
        """Identifies the run by everything that its results depend on, the code included."""
        definition = {
            "scenario": self.scenario.identity,
            "agent": self.spec.identity,
            "seed": self.seed,
            "code": source_digest(),
            "versions": {n: v for n, v in versions().items() if n not in _NOT_COMPUTING},
        }
        return digest(json.dumps(definition, sort_keys=True).encode())

    def folder(self, output: Path) -> Path:
        """Returns where the results of the run are kept."""
        return output / RUNS / self.digest

    def play(self, folder: Path) -> None:
        """Plays the run and keeps its results: a folder that is complete or absent.

        Args:
            folder: Where; see `folder`.
        """
        play_seeds(self.scenario, self.spec, [self.seed], [folder])
