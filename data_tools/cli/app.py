"""The commands `profile`, `embed`, `bundle`, `describe` and `calibrate`, for an application.

Options live in this folder, the work elsewhere. Heavy libraries are imported where a command needs
them, so that `--help` answers at once. The docstrings of the commands are what `--help` shows, line
by line.
"""

from __future__ import annotations

import typer

from data_tools.cli.bundle import bundle
from data_tools.cli.calibrate import calibrate
from data_tools.cli.console import Command
from data_tools.cli.describe import describe
from data_tools.cli.embed import embed
from data_tools.cli.profile import profile


def register(app: typer.Typer) -> None:
    """Adds the commands to an application."""
    for command in (profile, embed, bundle, describe, calibrate):
        app.command(cls=Command)(command)
