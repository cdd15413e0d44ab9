"""The command line ``edgecloud``: agents' commands, with those of `data_tools` beside them."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from edgecloud_gym import __version__
from edgecloud_gym.names import foreign

if TYPE_CHECKING:
    import typer

_NEEDED: Final = ("typer", "rich", "matplotlib", "pandas", "scipy")


def make_app() -> typer.Typer:
    """Returns the application with every command whose packages are installed."""
    import typer

    from agents.cli.bench_suite import app as bench_suite
    from agents.cli.card import card
    from agents.cli.compare import compare
    from agents.cli.evaluate import evaluate
    from agents.cli.export import export
    from agents.cli.merge import merge
    from agents.cli.record import record
    from agents.cli.replay import replay
    from agents.cli.report import report
    from agents.cli.reproduce_paper import reproduce_paper
    from agents.cli.serve import serve
    from agents.cli.settings import settings
    from agents.cli.train import train
    from data_tools.cli.console import Command, Group

    app = typer.Typer(
        cls=Group,
        help="Schedule LLM requests between an edge and a cloud.",
        no_args_is_help=True,
        context_settings={"help_option_names": ["-h", "--help"]},
        pretty_exceptions_show_locals=False,
        rich_markup_mode="markdown",  # it fills the lines of paragraphs
    )

    def _show_version(wanted: bool) -> None:
        if wanted:
            typer.echo(_version())
            raise typer.Exit

    option = typer.Option(
        False, "--version", callback=_show_version, is_eager=True, help="Show the versions."
    )

    @app.callback()
    def _root(show_version: bool = option) -> None:
        """Schedule LLM requests between an edge and a cloud."""
        del show_version

    playing = (compare, train, evaluate, record, export, card, merge, report)
    for command in (*playing, reproduce_paper, settings, serve, replay):
        app.command(command.__name__.replace("_", "-"), cls=Command)(command)
    app.add_typer(bench_suite, name="bench-suite")
    _mount_data_commands(app)
    return app


def _version() -> str:
    """Returns our version and, below it, those of what results depend on."""
    from agents.experiments.identity.versions import versions

    others = [f"{name} {n}" for name, n in versions().items() if name != "edgecloud-gym"]
    return f"edgecloud {__version__}\n{', '.join(others)}"


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
    taken = foreign("data_tools")
    if taken is not None:
        sys.exit(f"edgecloud: {taken}")
    try:
        app = make_app()
    except ModuleNotFoundError as error:
        if error.name not in _NEEDED:
            raise
        sys.exit(
            f"edgecloud: {error.name} is not installed; the command line needs\n"
            "    pip install 'edgecloud-gym[agents]'"
        )
    app()
