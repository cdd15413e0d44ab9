"""The source of environment and agents themselves, on which every result depends."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import Final

import edgecloud_gym

# Sources that only show results: a change in them keeps finished runs.
_PRESENTATION: Final = (
    "agents/cli",
    "agents/report",
    "agents/statistics.py",
    "agents/suite",
    "edgecloud_gym/render",
)
_OURS: Final = (Path(edgecloud_gym.__file__ or "").parent, Path(__file__).parents[2])


@cache
def source_digest() -> str:
    """Identifies the code of environment and agents, so that no result outlives it."""
    sums = hashlib.blake2b(digest_size=10)
    for parent in _OURS:
        for path in sorted(parent.rglob("*.py")):
            name = path.relative_to(parent.parent).as_posix()
            if not name.startswith(_PRESENTATION):
                sums.update(name.encode())
                sums.update(path.read_bytes())
    return sums.hexdigest()


def is_ours(path: Path) -> bool:
    """Tells whether `source_digest` has read a file."""
    for parent in _OURS:
        if parent in path.parents:
            return not path.relative_to(parent.parent).as_posix().startswith(_PRESENTATION)
    return False
