"""Trained models as files: what is in one, and how it was trained.

What ``edgecloud train`` wrote is a checkpoint (`agents.checkpoint`) of arrays and JSON; one of
Stable-Baselines3, which holds pickled objects, is what its ``save`` or our `save_model` wrote.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from agents.checkpoint import read_header
from agents.registry import LEARNERS
from agents.schedulers.policy_file import POLICIES
from agents.schedulers.sb3_file import read_sb3_file
from edgecloud_gym.files import UnreadableFileError


@dataclass(frozen=True)
class ModelFile:
    """What a trained model's file says of itself, without unpickling anything.

    Attributes:
        path: The file.
        agent: ``"sb3"``, or the name of a bandit or of an algorithm of ``edgecloud train``.
        settings: What the agent is made with besides the file; empty for ``"sb3"``.
        training: How it was trained, and ``done``, how far; ``None`` if the file does not say.
        algorithm: Of Stable-Baselines3; empty for a bandit, or if it cannot be told.
    """

    path: Path
    agent: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] | None = None
    algorithm: str = ""


# Nothing trains it, but a gateway saves what it has seen.
_SAVED: Final = ("historical-lrt",)


def read_model_file(path: Path) -> ModelFile:
    """Tells what a trained model's file holds.

    Raises:
        FileNotFoundError: If there is no such file.
        UnreadableFileError: If it holds no trained model, or is damaged.
    """
    if path.suffix.casefold() == ".json" and path.exists():
        raise UnreadableFileError(
            f"{path}: no trained model, which would be an .npz; an index policy plays as "
            f"index:tuned={path}"
        )
    found = read_sb3_file(path)
    if found is not None:
        return ModelFile(path, "sb3", training=found.training, algorithm=found.algorithm)
    known = (*POLICIES, *LEARNERS, *_SAVED)
    try:
        header = read_header(path)
        if header["agent"] not in known:
            raise ValueError(f"it holds {header['agent']!r}")
    except ValueError as error:
        raise UnreadableFileError(
            f"{path}: no trained model: neither a checkpoint of {', '.join(known)} "
            f"nor saved by Stable-Baselines3 ({error})"
        ) from error
    settings = {} if header["agent"] in POLICIES else header["settings"]
    return ModelFile(path, header["agent"], settings, header["training"])
