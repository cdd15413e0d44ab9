"""Files that are complete or absent, and what is wrong with a bad one."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class UnreadableFileError(ValueError):
    """A file does not hold what it should; the message names it, and the line where there is one.

    It is the user's to mend, wherever it is raised. A plain ``ValueError`` need not be.
    """


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a path to write to, which takes the place of ``path`` if the block succeeds.

    Args:
        path: The file to make or to replace; its folder is made if there is none.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # The process id keeps two writers of the same file apart; the suffix keeps the file's format.
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """Yields a folder to fill, which becomes ``path`` if the block succeeds.

    If ``path`` exists already, it stays as it is.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.mkdir(parents=True)
    try:
        yield temporary
        if not path.exists():
            temporary.replace(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
