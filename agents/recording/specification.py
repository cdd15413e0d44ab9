"""An environment's specification in JSON, so that whoever reads a recording can make it again.

What the environment was made from comes along: a dataset of the user's own is copied into the
recording, engines, nodes and traces are written into the specification. Bundled datasets and those
on the hub stay names. What lies in the recording is named by the dataset's id where it lies where
Minari keeps its own, and so wherever that is; elsewhere by its path, which `agents.load_recording`
sets right in a folder that was moved.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from gymnasium.envs.registration import EnvSpec, WrapperSpec

from edgecloud_gym.arrivals.processes import make_arrivals
from edgecloud_gym.arrivals.processes import mapping_of as arrivals_mapping
from edgecloud_gym.dataset import RequestDataset, bundled_datasets, load_dataset
from edgecloud_gym.dataset.files import is_on_hub, split_machine
from edgecloud_gym.dataset.recorded import recorded_address
from edgecloud_gym.engines import EngineModel, bundled_engines, load_engine
from edgecloud_gym.node_files import mapping_of as node_mapping
from edgecloud_gym.node_files import nodes_of
from edgecloud_gym.wording import shown

REQUESTS: Final = "requests"  # the folder of a recording with a dataset that has no name
QUEUE: Final = "queue.npz"
_ORDER: Final = "edgecloud_gym.wrappers.recorded:RecordedOrder"


class UnspecifiableError(ValueError):
    """A setting cannot be written down: the environment cannot be made from the recording."""


@dataclass(frozen=True)
class Portable:
    """An environment's settings as a recording keeps them.

    Attributes:
        settings: JSON values.
        dataset: What has to be copied into the recording, if anything has.
        dataset_folder: Where to, relative to the recording.
    """

    settings: Mapping[str, Any]
    dataset: RequestDataset | None = None
    dataset_folder: str = ""


def portable(settings: Mapping[str, Any], address: Callable[[str], str]) -> Portable:
    """Returns an environment's settings as JSON values that hold on other machines.

    The order of the queue is left out: the recording has its own.

    Args:
        settings: Keyword arguments of `gymnasium.make`.
        address: How the specification names a file or folder of the recording.

    Raises:
        UnspecifiableError: If a setting has no such value; it is named.
    """
    found = {name: value for name, value in settings.items() if name != "priority"}
    copied = _to_copy(found.get("dataset"))
    folder = ""
    if copied is not None:
        folder = f"{REQUESTS}/{_folder_name(copied)}"
        found["dataset"] = address(folder)
    elif isinstance(found.get("dataset"), RequestDataset):
        found["dataset"] = found["dataset"].name
    return Portable({name: _value(name, value) for name, value in found.items()}, copied, folder)


def _to_copy(dataset: Any) -> RequestDataset | None:
    """Returns a dataset that nobody else can find by its name."""
    if dataset is None or is_on_hub(dataset):
        return None
    bundled = bundled_datasets()
    if isinstance(dataset, RequestDataset):
        own = dataset.name in bundled and load_dataset(dataset.name) is dataset
        return None if own else dataset
    name, _ = split_machine(dataset)
    return None if isinstance(dataset, str) and name in bundled else load_dataset(dataset)


def _folder_name(dataset: RequestDataset) -> str:
    """Returns a dataset's name if a folder can have it: read back, it is called the same.

    What is read back under the name of a bundled dataset counts as rows of that one.
    """
    name = str(dataset.name)
    plain = all(c.isalnum() or c in "-_.@" for c in name) and name.strip(".")
    own = dataset.is_bundled or name not in bundled_datasets()
    return name if plain and own else "dataset"


def _mapped(name: str, value: Any) -> Any:
    """Returns nodes, engines and arrivals as mappings, which the settings of their names take."""
    if name == "nodes":
        return [node_mapping(node) for node in nodes_of(value)]
    if name == "edge_engine" and isinstance(value, (str, Path)):
        return value if value in bundled_engines() else load_engine(value).to_dict()
    if isinstance(value, EngineModel):
        return value.to_dict()
    if name == "arrivals" and not isinstance(value, str):
        return arrivals_mapping(make_arrivals(value))
    return value


def _value(name: str, value: Any) -> Any:
    try:
        value = _mapped(name, value)
        if isinstance(value, (np.ndarray, np.generic)):
            value = value.tolist()
        elif isinstance(value, Mapping):
            value = dict(value)
        return json.loads(json.dumps(value))
    except TypeError as error:
        raise UnspecifiableError(
            f"{name}={shown(value)} has no form in JSON ({error}): the recording cannot say how to "
            "make its environment. Name a file or a built-in instead, if there is one"
        ) from error


def with_settings(spec: EnvSpec, settings: Mapping[str, Any]) -> EnvSpec:
    """Returns a specification with other settings."""
    return replace(copy.deepcopy(spec), kwargs=dict(settings))


def with_order(spec: EnvSpec, order: str) -> EnvSpec:
    """Returns a specification with a `RecordedOrder` around it."""
    wrapper = WrapperSpec("RecordedOrder", _ORDER, {"path": order})
    return replace(spec, additional_wrappers=(*spec.additional_wrappers, wrapper))


def addresses(place: Path, dataset_id: str, own_place: Path) -> Callable[[str], str]:
    """Returns how a specification names what lies in a recording.

    Args:
        place: The recording's folder.
        dataset_id: Its id.
        own_place: Where Minari keeps a dataset of this id.
    """
    if place.resolve() == own_place.resolve():
        return lambda name: recorded_address(dataset_id, name)
    return lambda name: str(place.resolve() / name)


def repointed(spec: EnvSpec | None, folder: Path) -> EnvSpec | None:
    """Returns a specification that names what lies in a recording where it lies now.

    Args:
        spec: Of the recording.
        folder: The recording's.
    """
    if spec is None:
        return None
    spec = copy.deepcopy(spec)
    dataset = str(spec.kwargs.get("dataset", ""))
    # The dataset's folder, or its parent: earlier recordings had no folder of its name.
    for depth in (2, 1):
        tail = Path(*Path(dataset).parts[-depth:])
        if REQUESTS in tail.parts and (folder / tail).is_dir():
            spec.kwargs["dataset"] = str(folder / tail)
            break
    wrappers = [
        replace(item, kwargs={**(item.kwargs or {}), "path": str(folder / QUEUE)})
        if item.entry_point == _ORDER
        else item
        for item in spec.additional_wrappers
    ]
    return replace(spec, additional_wrappers=tuple(wrappers))
