"""One run of an experiment, and what defines it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from platform import python_version
from typing import Final

from agents.experiments.code import digest, source_digest
from agents.experiments.playing import play_seeds
from agents.experiments.scenario import Scenario
from agents.experiments.spec import AgentSpec
from agents.experiments.store import RUNS

_PACKAGES: Final = (
    "edgecloud-gym",
    "gymnasium",
    "numba",
    "numpy",
    "pandas",
    "pyarrow",
    "sb3-contrib",
    "stable-baselines3",
    "torch",
)
_NOT_COMPUTING: Final = ("edgecloud-gym", "pandas", "pyarrow")  # the first by its source instead
_ROWS: Final = 65_536  # per group of rows of a request log


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


@cache
def versions() -> Mapping[str, str]:
    """Returns the versions of Python and of the packages that matter, where they are installed."""
    found = {"python": python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
