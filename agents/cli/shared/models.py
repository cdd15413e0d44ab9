"""Trained models as a command names them: by file, or by a name of the package."""

from __future__ import annotations

from pathlib import Path

from agents.experiments.training.model_file import ModelFile, read_model_file
from agents.registry import AGENT_NAMES
from agents.schedulers.policy_file import MODELS
from edgecloud_gym.checks import did_you_mean
from edgecloud_gym.files import UnreadableFileError, is_bundled_name, warn_of_namesake


def bundled_models() -> dict[str, Path]:
    """Returns the files of the trained models that come with the package, by name."""
    return {path.stem: path for path in sorted(MODELS.glob("*.npz"))}


def find_model(name: str) -> Path:
    """Returns the file of a trained model, which may be one that comes with the package.

    Args:
        name: A bundled name, or a path. The name goes before a file of that name here, with a
            warning: ``./name`` is the file.

    Raises:
        FileNotFoundError: If there is none.
        IsADirectoryError: If it is a folder.
        ValueError: If the name is empty.
    """
    if not name.strip():
        raise ValueError("MODEL: the path is empty")
    bundled = bundled_models()
    path = Path(name)
    if is_bundled_name(name, bundled):
        if path.is_file():
            warn_of_namesake("model", name)
        return bundled[name]
    if path.is_dir():
        raise IsADirectoryError(f"MODEL {name}: is a folder; a trained model is a file")
    if not path.exists():
        hint = did_you_mean(name, bundled)
        if name in AGENT_NAMES:
            hint = "; that is an agent: which of its models is meant, the name of a file says"
        raise FileNotFoundError(
            f"MODEL {name}: no such file, and none of the models that come with the package "
            f"({', '.join(bundled)}){hint}"
        )
    return path


def read_model(name: str) -> ModelFile:
    """Tells what a trained model's file holds; see `find_model` and `read_model_file`.

    Raises:
        OSError: If there is no such file.
        ValueError: If the name is empty, or the file holds no trained model; it is called as it was
            given, for ``./name`` is not ``name``.
    """
    path = find_model(name)
    try:
        return read_model_file(path)
    except UnreadableFileError as error:
        reason = str(error).removeprefix(f"{path}: ")
        raise UnreadableFileError(f"MODEL {name}: {reason}") from error
