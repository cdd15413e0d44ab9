"""``edgecloud settings``: what ``--set`` takes."""

from __future__ import annotations

import inspect
import re
from typing import Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from agents.cli.shared.reading import env_defaults, find_env, settable_in
from data_tools.cli.console import reading_input, reporting
from edgecloud_gym import ENV_IDS
from edgecloud_gym.config import SystemConfig
from edgecloud_gym.nodes import Node, in_words


def settings(
    env: Annotated[
        str, typer.Argument(metavar="ENV", help="Environment, by id or in short.")
    ] = ENV_IDS[0],
) -> None:
    """List the settings of an environment: name, default and meaning.

    Any of them can be given as KEY=VALUE after --set. Commands have a --duration of their own.

    For example:

    edgecloud settings continuous

    edgecloud compare --set cloud_concurrency=2 --set arrivals=mmpp
    """
    with reporting(extra="agents"):
        with reading_input():
            env_id = find_env(env)
        typer.echo(f"{env_id}\n")
        table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
        table.add_column("setting", no_wrap=True)
        for title in ("default", "meaning"):
            table.add_column(title, overflow="fold")  # nothing is cut on a narrow terminal
        meanings = _meanings()
        defaults = env_defaults(env_id)
        for name in settable_in(env_id):
            if name != "priority":  # each agent chooses it
                default = defaults.get(name, getattr(SystemConfig, name))
                table.add_row(Text(name), Text(_shown(default)), Text(meanings.get(name, "")))
        Console().print(table)


def _shown(value: Any) -> str:
    if isinstance(value, tuple) and all(isinstance(item, Node) for item in value):
        return in_words(value)
    return value if isinstance(value, str) else "none" if value is None else str(value)


def _meanings() -> dict[str, str]:
    """Returns what the docstring of `SystemConfig` says of each setting."""
    text = inspect.getdoc(SystemConfig) or ""
    attributes = text.partition("Attributes:\n")[2]
    found = re.findall(r"^    (\w+): ((?:.*\n?)(?:^     +.*\n?)*)", attributes, re.MULTILINE)
    return {name: " ".join(meaning.replace("``", "").split()) for name, meaning in found}
