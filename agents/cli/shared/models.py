"""Trained models as a command names them: by file, or by a name of the package."""

from __future__ import annotations

from pathlib import Path

from agents.registry import AGENT_NAMES
from agents.schedulers.policy_file import MODELS
from edgecloud_gym.checks import did_you_mean
from edgecloud_gym.files import is_bundled_name, warn_of_namesake


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
    if not path.exists():
        hint = did_you_mean(name, bundled)
        if name in AGENT_NAMES:
            hint = "; that is an agent: which of its models is meant, the name of a file says"
        raise FileNotFoundError(
            f"MODEL {name}: no such file, and none of the models that come with the package "
            f"({', '.join(bundled)}){hint}"
        )
    return path
