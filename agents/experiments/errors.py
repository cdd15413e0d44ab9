"""What goes wrong in a run, as text: exceptions themselves may not travel."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import NamedTuple


class RunError(NamedTuple):
    """What went wrong in a run.

    Attributes:
        message: The kind of exception and its message.
        traceback: Where it was raised; empty if a process ended without a word.
    """

    message: str
    traceback: str = ""


def error_of(play: Callable[[], None]) -> RunError | None:
    """Plays a run; returns what went wrong."""
    try:
        play()
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 - an agent's code may raise anything, SystemExit
        return as_text(error)
    return None


def as_text(error: BaseException) -> RunError:
    """Returns an exception as text."""
    try:
        message = str(error)
    except Exception:  # noqa: BLE001 - an exception's own __str__ may fail
        message = "(its message cannot be shown)"
    trace = "".join(traceback.format_exception(error))
    return RunError(f"{type(error).__name__}: {message}".rstrip(": "), trace)
