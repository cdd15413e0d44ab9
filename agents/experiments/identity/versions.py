"""The versions of what results depend on besides our own source."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from platform import python_version
from typing import Final

_PACKAGES: Final = (
    "edgecloud-gym",
    "gymnasium",
    "numba",
    "numpy",
    "pandas",
    "pyarrow",
    "sb3-contrib",
    "stable-baselines3",
    "torch",
)


@cache
def versions() -> Mapping[str, str]:
    """Returns the versions of Python and of the packages that matter, where they are installed."""
    found = {"python": python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
