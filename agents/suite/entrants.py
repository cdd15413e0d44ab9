"""Who plays the suite, and what each brings along: what it was trained on, and its predictor."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from agents.base import constructor_arguments
from agents.experiments.design.scenario import Scenario
from agents.experiments.design.spec import AgentSpec
from agents.experiments.identity.code import digest
from agents.experiments.identity.fingerprint import identify, without_code
from agents.experiments.identity.source import source_digest
from agents.experiments.training.model_file import read_model_file
from agents.experiments.training.training import Training
from agents.registry import AGENT_NAMES
from agents.schedulers.adverse import LongestFirst, OneNode, YoungestFirst
from agents.suite.definition import Cell, Suite
from edgecloud_gym.dataset import load_dataset

_TRAINED: Final = "trained"
_PREDICTOR: Final = "predictor"  # the setting by which agents take one
BAD: Final = {agent.name: agent for agent in (LongestFirst, YoungestFirst, OneNode)}


def default_entrants(suite: Suite) -> list[AgentSpec]:
    """Returns who plays by default: of the suite's agents those that there are, and the bad."""
    known = [AgentSpec(name) for name in suite.agents if name in AGENT_NAMES]
    return [*known, *(AgentSpec(BAD[name]) for name in suite.bad)]


def with_yardsticks(suite: Suite, specs: Sequence[AgentSpec]) -> list[AgentSpec]:
    """Adds the agents at both ends of the gap, without which there are no scores."""
    labels = [spec.label for spec in specs]
    zeros = [suite.zero(cell) for cell in suite.cells]
    ends = dict.fromkeys([*zeros, next(name for name in suite.one if name in AGENT_NAMES)])
    return [*(AgentSpec(name) for name in ends if name not in labels), *specs]


@dataclass(frozen=True)
class Preparation:
    """A file that is made before the suite is played.

    Attributes:
        training: The training that makes it; ``None`` for a predictor.
        families: The families that a predictor learns.
        dataset: Of which dataset.
        amount: From how many episodes a training learns.
    """

    training: Training | None
    families: tuple[str, ...] = ()
    dataset: str = ""
    amount: int = 0

    @property
    def title(self) -> str:
        """What messages call it."""
        if self.training is None:
            return f"predictor of {len(self.families)} families"
        return f"{self.training.title}, {self.training.scenario.label}"

    def is_done(self, path: Path) -> bool:
        """Whether its file is there, and complete."""
        if self.training is None or not path.exists():
            return path.exists()
        return int((read_model_file(path).training or {}).get("done", 0)) >= self.amount

    def play(self, path: Path) -> None:
        """Makes the file."""
        path.parent.mkdir(parents=True, exist_ok=True)
        if self.training is not None:
            self.training.play(path)
            return
        from agents.prediction import Predictor

        data = load_dataset(self.dataset)
        families = np.array(data.families)
        rows = data.rows("train")
        mine = rows[np.isin(families[rows], self.families)]
        Predictor.fit(data, mine).save(path, {"families": list(self.families)})


class Stable:
    """The entrants, with the files that each needs for a cell.

    Attributes:
        suite: The suite.
        folder: Where the files are.
    """

    def __init__(self, suite: Suite, specs: Sequence[AgentSpec], output: Path) -> None:
        """Takes agents, none twice."""
        self.suite = suite
        self.specs = list(specs)
        self.folder = output / _TRAINED

    def preparations(self) -> list[tuple[Preparation, Path]]:
        """Returns what has to be made before all cells can be played, each once."""
        found: dict[Path, Preparation] = {}
        for cell in self.suite.cells:
            for spec in self.specs:
                for preparation in self._needs(spec, cell).values():
                    found.setdefault(self._path(preparation), preparation)
        return [(made, path) for path, made in found.items() if not made.is_done(path)]

    def spec(self, spec: AgentSpec, cell: Cell) -> AgentSpec:
        """Returns an agent as it plays a cell."""
        files = {n: str(self._path(made)) for n, made in self._needs(spec, cell).items()}
        checkpoint = files.pop(_TRAINED, spec.checkpoint)
        settings = {**spec.settings, **files}
        return replace(spec, settings=settings, checkpoint=checkpoint, explore=cell.learn)

    def _needs(self, spec: AgentSpec, cell: Cell) -> Mapping[str, Preparation]:
        """Returns what an agent needs for a cell, by the way in which it takes it."""
        needed = {}
        is_named = isinstance(spec.agent, str)  # a class of one's own brings what it knows
        if is_named and spec.made.from_zero and cell.trained and spec.checkpoint is None:
            needed[_TRAINED] = self._training(spec, cell)
        if cell.known_families and _PREDICTOR in constructor_arguments(spec.made):
            families, dataset = cell.known_families, self.suite.dataset
            needed[_PREDICTOR] = Preparation(None, families, dataset)
        return needed

    def _training(self, spec: AgentSpec, cell: Cell) -> Preparation:
        plan = {**self.suite.training}
        episodes, seed = int(plan.pop("episodes")), int(plan.pop("seed"))
        settings: dict[str, Any] = {**plan, "dataset": self.suite.dataset}
        if "nodes" in cell.settings:
            settings["nodes"] = cell.settings["nodes"]
        if cell.known_families:
            settings["prompt_mix"] = [(0.0, dict.fromkeys(cell.known_families, 1.0))]
        scenario = Scenario(cell.env_id, settings, cell.env_id)
        training = Training(spec.name, spec.settings, scenario, seed, {}, episodes)
        return Preparation(training, amount=episodes)

    def _path(self, made: Preparation) -> Path:
        """Returns where something is kept: a name that holds for nothing else."""
        if made.training is None:
            record: Any = [made.families, identify(load_dataset(made.dataset))]
            name = _PREDICTOR
        else:
            record = [without_code(made.training.record()), made.amount]
            name = made.training.name
        key = digest(json.dumps([record, source_digest()], sort_keys=True).encode())
        return self.folder / f"{name}-{key}.npz"
