"""Options that several commands have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from edgecloud_gym.dataset.rows import OnError

SkipMalformed = Annotated[
    bool, typer.Option("--skip-malformed", help="Leave malformed rows out, with a warning.")
]


def on_error(skip_malformed: bool) -> OnError:
    """Returns what readers are told to do at a malformed row."""
    return "skip" if skip_malformed else "raise"
