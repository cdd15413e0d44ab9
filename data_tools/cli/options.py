"""Options that several commands have."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgecloud_gym.checks import parse_number
from edgecloud_gym.wording import shown

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


def is_given(context: typer.Context, option: str) -> bool:
    """Tells whether an option stands on the command line; otherwise it has its default."""
    source = context.get_parameter_source(option)
    return source is not None and source.name != "DEFAULT"


def refuse_given(context: typer.Context, options: Iterable[str], why: str) -> None:
    """Checks that none of the options stands on the command line, where it would be ignored.

    Args:
        context: Of the command.
        options: Their names in Python.
        why: In which case they are ignored, as in "without --trace".

    Raises:
        ValueError: If one does.
    """
    ignored = set(options)
    for parameter in context.command.params:
        if parameter.name in ignored and is_given(context, str(parameter.name)):
            name = next((n for n in parameter.opts if n.startswith("--")), parameter.opts[0])
            raise ValueError(f"{name} has no effect {why}")


def on_error(skip_malformed: bool) -> OnError:
    """Returns what readers are told to do at a malformed row."""
    return "skip" if skip_malformed else "raise"


def whole_numbers(name: str, text: str | None, *, least: int = 1) -> tuple[int, ...]:
    """Returns the numbers of a list such as 1,2,4; none for None.

    Raises:
        ValueError: If it is no list of ``least`` or more different whole numbers from 1.
    """
    if text is None:
        return ()
    try:
        numbers = [parse_number(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    found = tuple(int(number) for number in numbers if number.is_integer())
    if len(found) < len(numbers) or len(set(found)) < least or min(found, default=0) < 1:
        some = "one number or more" if least == 1 else "two or more sizes"
        raise ValueError(f"{name}={shown(text)}: must be {some} such as 1,2,4,8")
    return found
