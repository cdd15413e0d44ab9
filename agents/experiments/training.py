"""A training: who learns where and from how much, kept in a file that is complete at any time."""

from __future__ import annotations

import math
import pickle
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from agents.experiments.fingerprint import identify
from agents.experiments.learners import PPO, BanditLearner, Learner, PPOLearner
from agents.experiments.model_file import read_model_file
from agents.experiments.parcel import (
    Answer,
    answered,
    attached,
    code_here,
    detached,
    dumped,
)
from agents.experiments.scenario import Scenario
from agents.registry import agent_class
from edgecloud_gym.config import SystemConfig

_BESIDE: Final = ("settings", "done", "algorithm", "allow_stop")  # not what defines a training


@dataclass(frozen=True)
class Training:
    """A training.

    Attributes:
        name: Of the agent.
        options: Its settings.
        scenario: Where it learns.
        seed: Seeds everything.
        prompts: The dataset and split that the prompts are of, which a replayed trace orders anew.
        amount: How much it learns from, at least: steps or episodes.
    """

    name: str
    options: Mapping[str, Any]
    scenario: Scenario
    seed: int
    prompts: Mapping[str, Any]
    amount: int

    @property
    def title(self) -> str:
        """What messages call it."""
        return f"{self.name}, seed {self.seed}"

    def record(self) -> dict[str, Any]:
        """Returns what defines it, as JSON values, all but how long it is."""
        own = None if self.name == PPO else agent_class(self.name).work_conserving
        filled = SystemConfig.work_conserving if own is None else own
        settings = {"work_conserving": filled, **self.scenario.settings, **self.prompts}
        return {
            "agent": self.name,
            "options": identify(self.options),
            "env": self.scenario.env_id,
            "settings": identify(settings),
            "seed": self.seed,
        }

    def learner(self, path: Path) -> Learner:
        """Returns the agent in training, with what a file holds of it.

        Raises:
            ValueError: If the file is there and holds something else.
        """
        return self.learner_from(self.resumable(path))

    def learner_from(self, resume: tuple[Path, int] | None) -> Learner:
        """Returns the agent in training, as a file has it that holds so much of it."""
        if self.name == PPO:
            return PPOLearner(self.options, self.scenario, self.seed, resume)
        return BanditLearner(self.name, self.options, self.scenario, self.seed, resume)

    def resumable(self, path: Path) -> tuple[Path, int] | None:
        """Returns what a file holds of this training, if it is there, and how much that is.

        Raises:
            ValueError: If the file is there and holds something else.
        """
        if not path.exists():
            return None
        kept = read_model_file(path).training or {}
        found = _flat(kept)
        wanted = _flat(self.record())
        found.setdefault("work_conserving", wanted["work_conserving"])  # of before it was kept
        for name in sorted(wanted.keys() | found.keys()):
            if found.get(name) != wanted.get(name):
                raise ValueError(
                    f"--output {path}: is there already, and was trained with {name} "
                    f"{found.get(name)!r}, not {wanted.get(name)!r}; name another file or remove it"
                )
        return path, int(kept["done"])

    def play(self, path: Path) -> None:
        """Learns all that is to be learnt, and saves it whenever it can be saved."""
        learner = self.learner(path)
        for _ in advancing(learner, self.amount):
            learner.save(path, self.record())


def advancing(learner: Learner, amount: int) -> Iterator[float]:
    """Has a learner learn enough; yields the return per episode whenever it can be saved."""
    while learner.done < amount:
        yield learner.advance()


def whole(learner: Learner, amount: int) -> int:
    """Returns from how much a learner learns that is to learn from so much at least."""
    return learner.done + math.ceil((amount - learner.done) / learner.stride) * learner.stride


@dataclass(frozen=True)
class TrainingParcel:
    """A training on its way to a worker that shares neither disk nor memory.

    Attributes:
        content: The training, pickled.
        dataset: What the cargo calls its dataset; empty if the worker knows it by name.
        suffix: Of its file.
        file: The file so far, if there is one.
        code: The code that it must be played with.
    """

    content: bytes
    dataset: str
    suffix: str
    file: bytes | None
    code: Mapping[str, str]


def pack_training(training: Training, path: Path) -> tuple[TrainingParcel, dict[str, bytes]]:
    """Makes a training ready to travel; see `agents.experiments.parcel.Packer.pack`."""
    record = training.record()
    scenario, dataset, cargo = detached(training.scenario)
    light = replace(training, scenario=scenario, prompts={})
    content = dumped((light, record), *training.options.values(), *scenario.settings.values())
    file = path.read_bytes() if path.exists() else None
    return TrainingParcel(content, dataset, path.suffix, file, code_here()), cargo


def train_parcel(parcel: TrainingParcel, cargo: Mapping[str, bytes]) -> Answer:
    """Trains on a worker; the answer has one file, called ``model``.

    Args:
        parcel: The training.
        cargo: What it needs, by name.
    """
    file = f"model{parcel.suffix}"
    return answered(parcel.code, lambda place: _train(parcel, cargo, place / file), {"model": file})


def _train(parcel: TrainingParcel, cargo: Mapping[str, bytes], path: Path) -> None:
    light, record = pickle.loads(parcel.content)
    training = replace(light, scenario=attached(light.scenario, parcel.dataset, cargo))
    resume = None
    if parcel.file is not None:
        path.write_bytes(parcel.file)
        resume = path, int((read_model_file(path).training or {})["done"])
    learner = training.learner_from(resume)
    for _ in advancing(learner, training.amount):
        learner.save(path, record)


def _flat(training: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a training with the environment's settings beside the rest."""
    flat = {**training, **training.get("settings", {})}
    return {name: value for name, value in flat.items() if name not in _BESIDE}
