"""An environment's specification in JSON, so that whoever reads a recording can make it again."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from gymnasium.envs.registration import EnvSpec, WrapperSpec

from edgecloud_gym.arrivals.processes import mapping_of as arrivals_mapping
from edgecloud_gym.dataset import RequestDataset, bundled_datasets, load_dataset
from edgecloud_gym.dataset.files import is_on_hub
from edgecloud_gym.dataset.writing import write_dataset
from edgecloud_gym.engines import EngineModel
from edgecloud_gym.node_files import mapping_of as node_mapping
from edgecloud_gym.nodes import Node

REQUESTS: Final = "requests"  # the folder of a recording that holds a dataset without a file
_ORDER: Final = "edgecloud_gym.wrappers.recorded:RecordedOrder"


class UnspecifiableError(ValueError):
    """A setting cannot be written down: the environment cannot be made from the recording."""


def in_json(settings: Mapping[str, Any], folder: Path, place: Path) -> dict[str, Any]:
    """Returns an environment's settings as JSON values.

    A dataset is named, or, where it came from no file, written to the recording. The order of the
    queue is left out: the recording has its own.

    Args:
        settings: Keyword arguments of `gymnasium.make`.
        folder: Of the recording while it is made.
        place: Where that folder will lie.

    Raises:
        UnspecifiableError: If a setting has no such value; it is named.
    """
    found = {name: value for name, value in settings.items() if name != "priority"}
    dataset = found.get("dataset")
    if isinstance(dataset, RequestDataset):
        found["dataset"] = _dataset(dataset, folder, place)
    elif dataset is not None and dataset not in bundled_datasets() and not is_on_hub(dataset):
        found["dataset"] = str(Path(dataset).resolve())
    return {name: _value(name, value) for name, value in found.items()}


def _mapped(name: str, value: Any) -> Any:
    """Returns nodes, engines and arrivals as mappings, which the settings of their names take."""
    if name == "nodes":
        return [node_mapping(node) if isinstance(node, Node) else node for node in value]
    if isinstance(value, EngineModel):
        return value.to_dict()
    if name == "arrivals" and not isinstance(value, (str, Mapping)):
        return arrivals_mapping(value)
    return value


def _dataset(dataset: RequestDataset, folder: Path, place: Path) -> str:
    for name in bundled_datasets():
        if dataset.name == name and load_dataset(name) is dataset:
            return name
    write_dataset(dataset, folder / REQUESTS)
    return str(place.resolve() / REQUESTS)


def _value(name: str, value: Any) -> Any:
    try:
        value = _mapped(name, value)
        if isinstance(value, (np.ndarray, np.generic)):
            value = value.tolist()
        elif isinstance(value, Path):
            value = str(value.resolve())
        elif isinstance(value, Mapping):
            value = dict(value)
        return json.loads(json.dumps(value))
    except TypeError as error:
        raise UnspecifiableError(
            f"{name}={value!r} has no form in JSON ({error}): the recording cannot say how to make "
            "its environment. Name a file or a built-in instead, if there is one"
        ) from error


def with_settings(spec: EnvSpec, settings: Mapping[str, Any]) -> EnvSpec:
    """Returns a specification with other settings."""
    return replace(copy.deepcopy(spec), kwargs=dict(settings))


def with_order(spec: EnvSpec, order: Path) -> EnvSpec:
    """Returns a specification with a `RecordedOrder` around it."""
    wrapper = WrapperSpec("RecordedOrder", _ORDER, {"path": str(order.resolve())})
    return replace(spec, additional_wrappers=(*spec.additional_wrappers, wrapper))
