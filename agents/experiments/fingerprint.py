"""What a run's results depend on, in a form that can be compared: settings, files, code."""

from __future__ import annotations

import dataclasses
import hashlib
import inspect
import json
import math
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np

import agents
import edgecloud_gym
from edgecloud_gym.dataset import RequestDataset

# Sources that only show results: a change in them keeps finished runs.
_PRESENTATION: Final = (
    "agents/cli",
    "agents/report",
    "agents/statistics.py",
    "edgecloud_gym/render",
)


def describe(value: Any) -> Any:
    """Returns a JSON value that says what a setting is; equal if and only if the setting is.

    Raises:
        TypeError: If it is of a kind that cannot be described.
    """
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, (float, np.generic)):
        number = value.item() if isinstance(value, np.generic) else value
        return repr(number) if isinstance(number, float) and math.isinf(number) else number
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {str(name): describe(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [describe(item) for item in value]
    if isinstance(value, np.ndarray):
        content = content_digest(np.ascontiguousarray(value).tobytes())
        return {"array": str(value.dtype), "shape": list(value.shape), "digest": content}
    if isinstance(value, RequestDataset):
        return _described_dataset(value)
    if isinstance(value, type):
        return {"class": value.__qualname__, "digest": file_digest(inspect.getfile(value))}
    if dataclasses.is_dataclass(value):
        fields = {f.name: describe(getattr(value, f.name)) for f in dataclasses.fields(value)}
        return {type(value).__name__: fields}
    raise TypeError(f"{value!r}: a {type(value).__name__} cannot be a setting of an experiment")


@cache
def _described_dataset(dataset: RequestDataset) -> dict[str, Any]:
    arrays = ("base_latency", "embeddings", "prompt_tokens", "response_tokens", "slowdown")
    content = {name: describe(getattr(dataset, name)) for name in arrays}
    prompts = "" if dataset.prompts is None else "\0".join(dataset.prompts)
    text = json.dumps([content, content_digest(prompts.encode())])
    return {"dataset": dataset.name, "rows": len(dataset), "digest": content_digest(text.encode())}


def content_digest(content: bytes) -> str:
    """Identifies bytes."""
    return hashlib.blake2b(content, digest_size=10).hexdigest()


def file_digest(path: str | Path) -> str:
    """Identifies what a file holds."""
    return content_digest(Path(path).read_bytes())


@cache
def source_digest() -> str:
    """Identifies the code of environment and agents, so that no result outlives it."""
    parents = [Path(package.__file__ or "").parent for package in (edgecloud_gym, agents)]
    digest = hashlib.blake2b(digest_size=10)
    for parent in parents:
        for path in sorted(parent.rglob("*.py")):
            name = path.relative_to(parent.parent).as_posix()
            if not name.startswith(_PRESENTATION):
                digest.update(name.encode())
                digest.update(path.read_bytes())
    return digest.hexdigest()
