"""Addresses of what lies in a recording: they hold wherever Minari keeps its datasets.

``minari://edgecloud/static/fcfs-v0/queue.npz`` is the file ``queue.npz`` of the dataset with the id
``edgecloud/static/fcfs-v0``. A recording that names its files so may be copied to another machine.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from edgecloud_gym.extras import importing

_SCHEME: Final = "minari://"


def recorded_address(dataset_id: str, name: str) -> str:
    """Returns the address of a file or folder in the dataset of Minari with an id."""
    return f"{_SCHEME}{dataset_id}/{name}"


def is_recorded(address: object) -> bool:
    """Whether a name says that it is in a dataset of Minari."""
    return isinstance(address, str) and address.startswith(_SCHEME)


def recorded_path(address: str) -> Path:
    """Returns where the file or folder of an address lies on this machine, if it does.

    Raises:
        ModuleNotFoundError: If Minari is not installed; the extra is named.
    """
    with importing("minari"):
        from minari.storage import get_dataset_path
    root: Path = get_dataset_path()
    return root / address.removeprefix(_SCHEME)
