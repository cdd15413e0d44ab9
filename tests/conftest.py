"""Fixtures that several test packages share."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

# The same examples at every run, and no time limit that a busy machine could miss.
settings.register_profile("repeatable", derandomize=True, deadline=None, max_examples=50)
settings.load_profile("repeatable")

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of this checkout."""
    return REPOSITORY


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The folder of material kept outside the repository: reference traces, workload traces.

    It is what the environment variable EDGECLOUD_SHARED names, else `shared` beside the repository.
    """
    path = Path(os.environ.get("EDGECLOUD_SHARED", REPOSITORY.parent / "shared"))
    if not path.is_dir():
        pytest.skip(f"no shared data: {path} is not a folder (set EDGECLOUD_SHARED to name it)")
    return path
