"""What the compiled code on the disk was made from."""

from __future__ import annotations

import hashlib
from pathlib import Path

SIMULATOR = Path(__file__).parents[1]


def source_digest(folder: Path = SIMULATOR) -> str:
    """Identifies every source below a folder, by name and content.

    Numba's disk cache looks only at the file of the function that it caches, and would serve old
    machine code after a change in the modules that this one calls. All that compiled code reads
    lies below `SIMULATOR`.
    """
    digest = hashlib.blake2b(digest_size=8)
    for path in sorted(folder.rglob("*.py")):
        digest.update(path.relative_to(folder).as_posix().encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()
