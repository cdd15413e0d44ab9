"""What a setting is, in a form that can be compared and kept: values, files, code."""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import pickle
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import BuiltinFunctionType, CellType, FunctionType, MethodType
from typing import Any

import numpy as np

from agents.experiments.identity.code import code_behind, digest, functions_of
from edgecloud_gym.dataset import RequestDataset, bundled_datasets
from edgecloud_gym.wording import shown


def identify(value: Any) -> Any:
    """Returns a JSON value that says what a setting is; equal if and only if the setting is.

    Of a class, a function, or an object with a class of its own, the code counts as well; see
    `agents.experiments.identity.code`.

    Raises:
        TypeError: If it is of a kind that cannot be compared.
    """
    plain = _plain(value)
    if plain is not _OTHER:
        return plain
    if isinstance(value, RequestDataset):
        return _identified_dataset(value)
    if isinstance(value, type):
        return {"class": value.__qualname__, "closure": _class_closure(value), **_code(value)}
    if isinstance(value, (FunctionType, BuiltinFunctionType, MethodType, functools.partial)):
        return _identified_callable(value)
    return _identified_object(value)


def without_code(value: Any) -> Any:
    """Leaves the code of functions and classes out of an identity: what a setting is called."""
    if isinstance(value, dict):
        return {name: without_code(item) for name, item in value.items() if name != "code"}
    return [without_code(item) for item in value] if isinstance(value, list) else value


_OTHER = object()


def _plain(value: Any) -> Any:
    """Returns the JSON value of what has one; `_OTHER` for anything else."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, (float, np.generic)):
        number = value.item() if isinstance(value, np.generic) else value
        return number if not isinstance(number, float) or math.isfinite(number) else repr(number)
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {str(name): identify(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [identify(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return sorted((identify(item) for item in value), key=json.dumps)
    if isinstance(value, np.ndarray) and value.dtype != object:
        content = digest(np.ascontiguousarray(value).tobytes())
        return {"array": str(value.dtype), "shape": list(value.shape), "digest": content}
    return _OTHER


def _identified_callable(value: Any) -> dict[str, Any]:
    if isinstance(value, functools.partial):
        arguments = {"arguments": identify(value.args), "keywords": identify(value.keywords)}
        return {"partial": identify(value.func), **arguments}
    name = {"function": f"{value.__module__}.{value.__qualname__}"}
    if isinstance(value, MethodType):
        return {**name, "of": identify(value.__self__), **_code(value)}
    if isinstance(value, BuiltinFunctionType):
        return name
    cells = [content for cell in value.__closure__ or () for content in _content(cell)]
    defaults = identify([value.__defaults__, value.__kwdefaults__])
    return {**name, "defaults": defaults, "closure": identify(cells), **_code(value)}


def _class_closure(value: type) -> Any:
    """Returns what the methods of a class made within a function hold of that function."""
    own = [base for base in value.__mro__ if code_behind(base).identity()["loaded"]]
    cells = [cell for base in own for f in functions_of(base) for cell in f.__closure__ or ()]
    contents = [content for cell in cells for content in _content(cell)]
    # Of `super()` the class itself; what is made along with it may hold it as well.
    return identify([c for c in contents if not any(c is base for base in value.__mro__)])


def _content(cell: CellType) -> list[Any]:
    try:
        return [cell.cell_contents]
    except ValueError:  # not assigned yet
        return []


def _identified_object(value: Any) -> dict[str, Any]:
    """Returns an object's class, the class's code, and its fields."""
    kind = type(value)
    if dataclasses.is_dataclass(value):
        state = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    elif hasattr(value, "__dict__"):
        state = vars(value)
    else:
        state = _pickled(value)
    try:
        fields = {name: identify(item) for name, item in state.items()}
    except RecursionError as error:
        raise TypeError(f"{shown(value)}: it contains itself, and cannot be compared") from error
    return {kind.__qualname__: fields, **_code(kind)}


def _pickled(value: Any) -> dict[str, Any]:
    """Returns the digest of an object that shows nothing of itself.

    Raises:
        TypeError: If it cannot be pickled.
    """
    try:
        return {"pickled": digest(pickle.dumps(value, protocol=4))}
    except (pickle.PicklingError, TypeError, AttributeError) as error:
        kind = type(value).__name__
        raise TypeError(
            f"{shown(value)}: a {kind} cannot be a setting of an experiment ({error})"
        ) from error


def _code(thing: object) -> dict[str, Any]:
    """Returns the identity of the code behind something; nothing for code of this package."""
    identity = code_behind(thing).identity()
    return {"code": digest(json.dumps(identity).encode())} if any(identity.values()) else {}


def _has(dataset: RequestDataset, name: str) -> bool:
    return getattr(dataset, name) is not None


@cache
def _identified_dataset(dataset: RequestDataset) -> dict[str, Any]:
    arrays = ["base_latency", "embeddings", "prompt_tokens", "response_tokens", "slowdown"]
    arrays += [n for n in ("time_to_first_token", "cached_tokens") if _has(dataset, n)]
    content = {name: identify(getattr(dataset, name)) for name in arrays}
    prompts = "" if dataset.prompts is None else "\0".join(dataset.prompts)
    text = json.dumps([content, digest(prompts.encode("utf-8", "surrogatepass"))])
    namesake = not dataset.is_bundled and dataset.name in bundled_datasets()
    told = {"bundled": False} if namesake else {}  # agents know less of it
    return {"dataset": dataset.name, "rows": len(dataset), "digest": digest(text.encode()), **told}


def files_in(value: Any, depth: int = 4) -> list[str]:
    """Returns the files that are named in a setting, however deep."""
    if isinstance(value, (str, Path)):
        return [str(value)] if _is_file(Path(value)) else []
    if isinstance(value, Mapping):
        parts: Any = value.values()
    elif isinstance(value, (list, tuple, set, frozenset)):
        parts = value
    elif isinstance(value, (type, RequestDataset)) or not hasattr(value, "__dict__"):
        return []
    else:
        parts = vars(value).values()
    return [name for part in parts for name in files_in(part, depth - 1)] if depth else []


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # too long for a path, or a null character in it
        return False


def file_digest(path: str | Path) -> str:
    """Identifies what a file holds."""
    return digest(Path(path).read_bytes())
