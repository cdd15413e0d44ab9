"""The command line ``edgecloud``: agents' commands, with those of `data_tools` beside them."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import typer


def make_app() -> typer.Typer:
    """Returns the application with every command whose packages are installed."""
    import typer

    from agents.cli.compare import compare
    from agents.cli.evaluate import evaluate
    from agents.cli.report import report
    from agents.cli.train import train

    app = typer.Typer(
        help="Schedule LLM requests between an edge and a cloud.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_show_locals=False,
        rich_markup_mode="markdown",  # it fills the lines of paragraphs
    )

    @app.callback()
    def _root() -> None:
        """Schedule LLM requests between an edge and a cloud."""

    app.command()(compare)
    app.command()(train)
    app.command()(evaluate)
    app.command()(report)
    _mount_data_commands(app)
    return app


def _mount_data_commands(app: typer.Typer) -> None:
    """Adds ``profile``, ``embed`` and the like, unless their packages are not installed."""
    try:
        from data_tools.cli.app import register
    except ModuleNotFoundError as error:
        app.info.epilog = f"Without the data commands: {error.name} is not installed."
        return
    register(app)


def main() -> None:
    """Runs the command line."""
    try:
        app = make_app()
    except ModuleNotFoundError as error:
        if error.name not in ("typer", "rich", "matplotlib"):
            raise
        sys.exit(
            f"edgecloud: {error.name} is not installed; the command line needs\n"
            "    pip install 'edgecloud-gym[agents]'"
        )
    app()
