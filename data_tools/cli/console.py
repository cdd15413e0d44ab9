"""How the commands speak to the person who runs them: messages, exit codes, progress."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer

from data_tools.progress import progress_bar

FAILURE, USAGE_ERROR, INTERRUPTED = 1, 2, 130


@contextmanager
def reporting(when_interrupted: str) -> Iterator[None]:
    """Turns what can go wrong for a user into a message and an exit code, and shows warnings.

    Args:
        when_interrupted: What to say about the files when the user presses Ctrl-C.

    Raises:
        typer.Exit: With 2 where a setting or an input file is wrong, 1 where something outside
            fails or is missing, such as a server or a package, and 130 after Ctrl-C.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("default", UserWarning)
            warnings.showwarning = _show_warning
            yield
    except KeyboardInterrupt:
        typer.echo(f"\nInterrupted. {when_interrupted}", err=True)
        raise typer.Exit(INTERRUPTED) from None
    except ModuleNotFoundError as error:
        message = f"{error.name} is not installed: pip install 'edgecloud-gym[data]'"
        typer.echo(f"Error: {message}", err=True)
        raise typer.Exit(FAILURE) from error
    except (ValueError, FileNotFoundError) as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(USAGE_ERROR) from error
    except OSError as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(FAILURE) from error


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    typer.echo(f"Warning: {message}", err=True)


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
