"""What users of a library do with an environment, one function per cell of the table.

Each plays or learns briefly with the library as its own documentation has it. `UNMODIFIED` ones use
nothing of this package but the environments; `EXTRA` ones its wrappers, adapters or networks.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

from edgecloud_gym import CLUSTER_ID, ENV_IDS

IDS: Final = (*ENV_IDS, CLUSTER_ID)
FORMS: Final = ("single", "vector", "masked")
UNMODIFIED: Final = "unmodified"
EXTRA: Final = "with our extra"
NOT: Final = "not"
FOLDER: Final = "EDGECLOUD_TABLE"  # the environment variable that names where cells are noted down
BRIEF: Final[dict[str, Any]] = {"duration": 3.0}


class Cell(NamedTuple):
    """A cell of the table: a library in one form, for every id.

    Attributes:
        library: Its name.
        form: "single", "vector" or "masked".
        way: How it works.
        run: Does it, for an id.
    """

    library: str
    form: str
    way: str
    run: Callable[[str], None]


def cells_of(library: str) -> tuple[list[Cell], Callable[[str, str], Any]]:
    """Returns a list of cells, and a decorator that adds one to it."""
    cells: list[Cell] = []

    def cell(form: str, way: str) -> Any:
        def add(run: Callable[[str], None]) -> Callable[[str], None]:
            cells.append(Cell(library, form, way, run))
            return run

        return add

    return cells, cell


def names(cells: list[Cell]) -> list[str]:
    """Returns what the tests of cells are called."""
    return [cell.form for cell in cells]


def fill(cell: Cell, env_id: str) -> None:
    """Does what a cell stands for, and notes that it works, if anybody asks for that."""
    cell.run(env_id)
    folder = os.environ.get(FOLDER)
    if folder:
        path = Path(folder) / f"{cell.library}--{env_id}--{cell.form}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(cell.way)
