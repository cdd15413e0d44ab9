"""Reference tables made from the code: an environment's settings, a command's options."""

from typing import Any

import griffe
import gymnasium

from agents.suite.definition import VERSION, load_suite
from edgecloud_gym.config import SystemConfig, settable
from edgecloud_gym.nodes import Node, in_words


def settings(env_id: str) -> str:
    """Returns an environment's settings with its own defaults and what they mean."""
    environment: Any = gymnasium.envs.registration.load_env_creator(
        str(gymnasium.spec(env_id).entry_point)
    )
    meanings = _attributes(SystemConfig)
    lines = ["| Setting | Default | Meaning |", "|---|---|---|"]
    for name in settable(environment.defaults):
        default = environment.defaults.get(name, getattr(SystemConfig, name))
        lines.append(f"| `{name}` | {_literal(default)} | {meanings[name]} |")
    return "\n".join(lines)


def _literal(value: Any) -> str:
    if isinstance(value, tuple) and all(isinstance(item, Node) for item in value):
        return in_words(value)
    return f'`"{value}"`' if isinstance(value, str) else f"`{value!r}`"


def _attributes(documented: type) -> dict[str, str]:
    """Returns what a class's docstring says of its attributes, by name, each on one line."""
    docstring = griffe.Docstring(documented.__doc__ or "")
    for section in docstring.parse("google", warnings=False):
        if section.kind is griffe.DocstringSectionKind.attributes:
            return {item.name: _one_line(item.description) for item in section.value}
    return {}


def command(name: str) -> str:
    """Returns what ``edgecloud NAME --help`` prints."""
    from typer.testing import CliRunner

    from agents.cli.app import make_app

    shown = CliRunner().invoke(
        make_app(), [*name.split(), "--help"], prog_name="edgecloud", env={"COLUMNS": "88"}
    )
    lines = [line.rstrip() for line in shown.output.strip("\n").splitlines()]
    return "\n".join(["```text", *lines, "```"])


def suite_groups(version: str) -> str:
    """Returns the groups of scenarios of the benchmark suite."""
    suite = load_suite(int(version or VERSION))
    lines = [
        "| Group | Scenarios | Seeds | Agents may learn | What it is |",
        "|---|--:|--:|---|---|",
    ]
    for group, about in suite.about.items():
        cells = [cell for cell in suite.cells if cell.group == group]
        seeds, learn = len(cells[0].seeds), "yes" if cells[0].learn else "no"
        lines.append(f"| `{group}` | {len(cells)} | {seeds} | {learn} | {about} |")
    return "\n".join(lines)


def suite_training(version: str) -> str:
    """Returns from how much agents that start from zero learn before the suite is played."""
    plan = load_suite(int(version or VERSION)).training
    return f"{plan['episodes']} episodes of {plan['duration']:g} s"


def _one_line(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
