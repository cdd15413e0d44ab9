"""Options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from edgecloud_gym.dataset.rows import OnError

SkipMalformed = Annotated[
    bool, typer.Option("--skip-malformed", help="Leave malformed rows out, with a warning.")
]


def read_path(text: str | Path) -> Path:
    """Returns a path; an empty one, which would mean the current folder unseen, is refused."""
    if not str(text).strip():
        raise typer.BadParameter("the path is empty; '.' is the current folder")
    return Path(text)


def path_option(*names: str, **more: Any) -> Any:
    """Returns an option that takes a path; see `typer.Option`."""
    return typer.Option(*names, parser=read_path, metavar="<path>", **more)


def on_error(skip_malformed: bool) -> OnError:
    """Returns what readers are told to do at a malformed row."""
    return "skip" if skip_malformed else "raise"
