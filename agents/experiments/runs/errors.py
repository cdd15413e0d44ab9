"""What goes wrong in a run, as text: exceptions themselves may not travel."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple


class UnwritableError(OSError):
    """A folder of results cannot be written, on a full disk for example: no fault of a run's."""


class RunError(NamedTuple):
    """What went wrong in a run.

    Attributes:
        message: The kind of exception and its message.
        traceback: Where it was raised; empty if a process ended without a word.
        unwritable: Whether the run went well, but its results could not be written.
    """

    message: str
    traceback: str = ""
    unwritable: bool = False


def error_of(play: Callable[[], None]) -> RunError | None:
    """Plays a run; returns what went wrong."""
    try:
        play()
    except KeyboardInterrupt:
        raise
    except UnwritableError as error:
        return RunError(str(error), unwritable=True)
    except BaseException as error:  # noqa: BLE001 - an agent's code may raise anything, SystemExit
        return as_text(error)
    return None


@contextmanager
def writing(place: Path) -> Iterator[None]:
    """Says where the block could not write, which the system's own errors often leave out.

    Raises:
        UnwritableError: In the place of any other `OSError`.
    """
    try:
        yield
    except UnwritableError:
        raise
    except OSError as error:
        why = error.strerror or error
        raise UnwritableError(
            f"{place}: cannot be written ({why}); what has finished is kept, and the same call "
            "goes on from there"
        ) from error


def as_text(error: BaseException) -> RunError:
    """Returns an exception as text."""
    try:
        message = str(error)
    except Exception:  # noqa: BLE001 - an exception's own __str__ may fail
        message = "(its message cannot be shown)"
    trace = "".join(traceback.format_exception(error))
    return RunError(f"{type(error).__name__}: {message}".rstrip(": "), trace)
