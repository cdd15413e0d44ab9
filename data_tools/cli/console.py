"""How every command speaks to the person who runs it: messages, exit codes, usage, progress.

A command is wrapped in `reporting`; what it reads of the user's (options, files) is read in
`reading_input` inside it. An error there is the user's to mend, and so is trouble with files,
packages and servers anywhere: one line on the error stream, ``error: ...``, exit code 2. Whatever
else is raised is a defect of ours and stays a traceback. Messages are printed literally (brackets
are no markup), on any terminal.

This module needs typer and rich alone, so that every command can use it.
"""

from __future__ import annotations

import io
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, NoReturn

import typer
from rich.console import Console
from rich.text import Text
from typer.core import TyperCommand, TyperGroup

from data_tools.progress import progress_bar
from edgecloud_gym.files import UnreadableFileError

__all__ = ["Command", "Group", "counting_bar", "fail", "reading_input", "reporting", "warn"]

FAILURE: Final = 2
INTERRUPTED: Final = 130
OURS: Final = ("agents", "data_tools", "edgecloud_gym")

# Typer brings its own copy of click; of its usage errors it names this subclass alone.
UsageError: type[Any] = typer.BadParameter.__bases__[0]


@contextmanager
def reporting(when_interrupted: str = "", *, extra: str = "data") -> Iterator[None]:
    """Turns trouble into a message and an exit code, and shows each warning once.

    Args:
        when_interrupted: What to say about the files when the user presses Ctrl-C.
        extra: The extra of edgecloud-gym that brings the command's packages.

    Raises:
        typer.Exit: With 2 where an input file is unreadable, or a file, a package, a server or the
            memory fails; with 130 after Ctrl-C.
    """
    print_anything()
    try:
        with _warnings_in_our_form():
            yield
    except KeyboardInterrupt:
        typer.echo(f"\nInterrupted. {when_interrupted}".rstrip(), err=True)
        raise typer.Exit(INTERRUPTED) from None
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] in OURS:
            raise
        fail(f"{error.name} is not installed: pip install 'edgecloud-gym[{extra}]'", error)
    except BrokenPipeError:
        raise  # as of `... | head`: Typer ends quietly
    except (UnreadableFileError, OSError, MemoryError) as error:
        fail(error, error)


@contextmanager
def reading_input(*more: type[Exception]) -> Iterator[None]:
    """Takes errors in the block as the user's: put what reads options and files here, no work.

    Args:
        more: Kinds of error that count as the user's as well as the usual ones: ``ValueError``,
            ``TypeError`` and ``OSError``.

    Raises:
        typer.Exit: With 2 after such an error; its message has been printed.
    """
    kinds: tuple[type[Exception], ...] = (ValueError, TypeError, OSError, *more)
    try:
        yield
    except kinds as error:
        fail(error, error)


def fail(message: object, cause: BaseException | None = None) -> NoReturn:
    """Prints ``error: message`` and ends the command with exit code 2.

    Args:
        message: What is wrong and what would be right; an exception stands for its text.
        cause: The exception that led here.

    Raises:
        typer.Exit: Always.
    """
    if isinstance(message, OSError) and message.filename and message.strerror:
        message = f"{message.filename}: {message.strerror}"  # without Python's "[Errno 2]"
    _print_in_our_form("error", message)
    raise typer.Exit(FAILURE) from cause


def warn(message: object) -> None:
    """Prints ``warning: message`` on the error stream."""
    _print_in_our_form("warning", message)


def print_anything() -> None:
    """Lets the terminal print what its encoding lacks as question marks, not as a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _print_in_our_form(kind: str, message: object) -> None:
    style = {"error": "bold red", "warning": "bold yellow"}[kind]
    line = Text.assemble((f"{kind}:", style), " ", str(message))
    Console(stderr=True).print(line, soft_wrap=True)


@contextmanager
def _warnings_in_our_form() -> Iterator[None]:
    """Shows each user warning once, however many rows or models give it."""
    shown: set[str] = set()

    def show(message: Warning | str, *_: object, **__: object) -> None:
        if str(message) not in shown:
            shown.add(str(message))
            warn(message)

    with warnings.catch_warnings():
        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = show
        yield


@contextmanager
def _usage_errors_in_our_form(context: Any) -> Iterator[None]:
    try:
        yield
    except UsageError as error:
        message = error.format_message()
        fail(f"{message.rstrip('.')}; see '{context.command_path} --help'", error)


class Command(TyperCommand):
    """A command whose usage errors have the form of all others; no option is given twice."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parses the arguments, once they are seen not to repeat an option."""
        with _usage_errors_in_our_form(ctx):
            if not ctx.resilient_parsing:
                self._refuse_repetitions(ctx, list(args))
            return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Runs the command."""
        with _usage_errors_in_our_form(ctx):
            return super().invoke(ctx)

    def _refuse_repetitions(self, context: Any, arguments: list[str]) -> None:
        given: list[Any] = self.make_parser(context).parse_args(args=arguments)[2]
        for option in given:
            once = option.param_type_name == "option" and not (option.multiple or option.count)
            if once and given.count(option) > 1:
                raise typer.BadParameter("it is given twice", ctx=context, param=option)


class Group(TyperGroup):
    """An application whose usage errors have the form of all others."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parses the arguments before the command's name."""
        if not args and self.no_args_is_help:
            return super().parse_args(ctx, args)  # shows the help by way of a usage error
        with _usage_errors_in_our_form(ctx):
            return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Finds the command and runs it."""
        with _usage_errors_in_our_form(ctx):
            return super().invoke(ctx)


@contextmanager
def counting_bar(title: str) -> Iterator[tuple[Callable[[int], None], Callable[[int], None]]]:
    """Draws a bar with rate and time left on the error stream.

    Yields:
        What sets the total, and what adds to the part that is done.
    """
    with progress_bar() as progress:
        task = progress.add_task(title, total=None, rate="")

        def start(total: int) -> None:
            progress.update(task, total=total)

        def advance(done: int) -> None:
            progress.advance(task, done)
            speed = progress.tasks[0].speed
            progress.update(task, rate=f"{speed:,.0f}/s" if speed else "")

        yield start, advance


def quieten_transformers() -> None:
    """Keeps the loading bars and notes of transformers out of ours."""
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
