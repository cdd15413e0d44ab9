"""Sweeps over fixed concurrencies: how long a step takes by the tokens in it, as measured."""

from __future__ import annotations

from pathlib import Path

from data_tools.calibration.formats import stated
from edgecloud_gym.dataset.tables import read_table, table_suffix
from edgecloud_gym.files import UnreadableFileError, read_json


def read_sweep(path: str | Path) -> tuple[tuple[float, float], ...]:
    """Reads a sweep over fixed concurrencies: a CSV of tokens and seconds, or `slowdown.json`.

    Raises:
        UnreadableFileError: If the file is neither.
    """
    path = Path(path)
    try:
        if table_suffix(path) == ".json":
            value = read_json(path)
            pairs = zip(value["batch_sizes"], value["step_time"], strict=True)
            return tuple(_step(*pair) for pair in pairs)
        steps = []
        for place, record in read_table(path):
            try:
                if isinstance(record, ValueError):
                    raise record
                steps.append(_step(record["tokens"], record["seconds"]))
            except ValueError as error:
                raise UnreadableFileError(f"{path}, {place}: {error}") from error
        return tuple(steps)
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, UnreadableFileError):
            raise
        raise UnreadableFileError(
            f"{path}: a sweep is a CSV with columns tokens and seconds, or a JSON object with "
            f"batch_sizes and step_time: {error}"
        ) from error


def _step(tokens: object, seconds: object) -> tuple[float, float]:
    step = stated("tokens", tokens), stated("seconds", seconds)
    for name, value in zip(("tokens", "seconds"), step, strict=True):
        if value <= 0:
            raise ValueError(f"{name} {value:g}: must be above 0")
    return step
