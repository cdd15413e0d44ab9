"""A training on its way to a worker that shares neither disk nor memory."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from agents.experiments.executors.parcel import (
    Answer,
    answered,
    attached,
    code_here,
    detached,
    dumped,
)
from agents.experiments.training.model_file import read_model_file
from agents.experiments.training.training import Training


@dataclass(frozen=True)
class TrainingParcel:
    """What travels of a training.

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
    """Makes a training ready to travel; see `agents.experiments.executors.parcel.Packer.pack`."""
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
    for _ in training.advancing(training.learner_from(resume), path, record):
        pass
