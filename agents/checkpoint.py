"""Checkpoints without pickle: arrays and a JSON header in one npz file."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from edgecloud_gym.files import replacing
from edgecloud_gym.wording import shown

FORMAT: Final = "edgecloud-agent/1"
_HEADER: Final = "header"


def write_checkpoint(
    path: Path,
    agent: str,
    settings: Mapping[str, Any],
    state: Mapping[str, NDArray[Any]],
    training: Mapping[str, Any] | None = None,
) -> None:
    """Writes a checkpoint, complete or not at all.

    Args:
        path: The file, by convention ``*.npz``.
        agent: The agent's name.
        settings: JSON values.
        state: Arrays by name.
        training: How the agent was trained, JSON values, if that is to be kept.
    """
    facts = {"format": FORMAT, "agent": agent, "settings": settings, "training": training}
    header = json.dumps(facts, sort_keys=True, default=_plain)
    arrays: dict[str, Any] = {_HEADER: np.array(header), **state}
    with replacing(path) as temporary, temporary.open("wb") as stream:
        np.savez(stream, **arrays)


def read_header(path: Path) -> dict[str, Any]:
    """Returns what a checkpoint says of itself: ``format``, ``agent``, ``settings``, ``training``.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no checkpoint, or damaged.
    """
    return _read(path)[0]


def read_state(path: Path) -> dict[str, NDArray[Any]]:
    """Returns the arrays of a checkpoint, whatever it is of.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no checkpoint, or damaged.
    """
    return _read(path)[1]


def read_checkpoint(path: Path, agent: str, settings: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    """Returns the arrays of a checkpoint.

    Args:
        path: The file.
        agent: The name that it must carry.
        settings: The settings that it must have been written with.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no checkpoint, damaged, or of another agent or other settings.
    """
    found, arrays = _read(path)
    wanted = {
        "format": FORMAT,
        "agent": agent,
        "settings": json.loads(json.dumps(settings, default=_plain)),
    }
    for name, value in wanted.items():
        if found[name] != value:
            raise ValueError(
                f"{path}: checkpoint has {name} {shown(found[name])}, not {shown(value)}"
            )
    return arrays


def trained_work_conserving(training: Any) -> bool | None:
    """Returns whether idle places were filled in a training; ``None`` if its record is silent.

    Args:
        training: What a model's file says of its training, or ``None``.
    """
    settings = training.get("settings") if isinstance(training, Mapping) else None
    value = settings.get("work_conserving") if isinstance(settings, Mapping) else None
    return value if isinstance(value, bool) else None


def _plain(value: Any) -> Any:
    """Returns NumPy's numbers and arrays as those of JSON."""
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    raise TypeError(f"{shown(value)} cannot be kept in a checkpoint")


def _read(path: Path) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Returns header and arrays."""
    try:
        with path.open("rb") as stream:
            if not zipfile.is_zipfile(stream):  # of such a file, np.load suggests to unpickle it
                raise ValueError("no .npz file")
            stream.seek(0)
            with np.load(stream, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
        header = json.loads(str(arrays.pop(_HEADER)))
        found = {name: header[name] for name in ("format", "agent", "settings")}
    except (KeyError, TypeError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path}: not an agent's checkpoint, or damaged ({error})") from error
    return {**found, "training": header.get("training")}, arrays
