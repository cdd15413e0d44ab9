"""Trained models as files: what is in one, and how it was trained.

A bandit's is a checkpoint (`agents.checkpoint`); one of Stable-Baselines3 is what its ``save``
writes, and ours hold a record of the training besides.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from agents.checkpoint import read_header
from agents.registry import BANDITS
from edgecloud_gym.files import replacing

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm

_RECORD: Final = "edgecloud.json"  # our entry in a zip of SB3, which reads past it
_SB3_ENTRIES: Final = {"data", "policy.pth"}
_CHECKPOINT_ENTRY: Final = "header.npy"


@dataclass(frozen=True)
class ModelFile:
    """What a trained model's file says of itself, without unpickling anything.

    Attributes:
        path: The file.
        agent: ``"sb3"``, or the name of a bandit.
        settings: The bandit's settings; empty for ``"sb3"``.
        training: How it was trained, and ``done``, how far; ``None`` if the file does not say.
    """

    path: Path
    agent: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] | None = None


def read_model_file(path: Path) -> ModelFile:
    """Tells what a trained model's file holds.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it holds no trained model, or is damaged.
    """
    try:
        with path.open("rb") as stream, zipfile.ZipFile(stream) as archive:
            entries = set(archive.namelist())
            record = json.loads(archive.read(_RECORD)) if _RECORD in entries else None
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path}: no trained model, or damaged ({error})") from error
    if entries >= _SB3_ENTRIES:
        return ModelFile(path, "sb3", training=record)
    if _CHECKPOINT_ENTRY not in entries:
        raise ValueError(
            f"{path}: no trained model: neither a checkpoint of {', '.join(BANDITS)} "
            "nor saved by Stable-Baselines3"
        )
    header = read_header(path)
    return ModelFile(path, header["agent"], header["settings"], header["training"])


def write_sb3_model(path: Path, model: BaseAlgorithm, training: Mapping[str, Any]) -> None:
    """Writes a model of Stable-Baselines3 with its record; complete or not at all."""
    with replacing(path) as temporary:
        with temporary.open("wb") as stream:
            model.save(stream)
        with zipfile.ZipFile(temporary, "a") as archive:
            archive.writestr(_RECORD, json.dumps(training, sort_keys=True))
