"""An encoder of prompts in a process of its own."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from agents.interrupts import blocked_in_children
from agents.threads import one_thread

Encoder = Callable[[Sequence[str]], NDArray[np.float32]]

_NICENESS: Final = 10
_PATIENCE: Final = 20.0  # s for a few prompts: one that computes is done long before


class EncoderGoneError(RuntimeError):
    """The process that embeds has ended, or still starts."""


class EncoderProcess:
    """Embeds prompts in another process, so that tokens pass through this one meanwhile.

    In a thread it would hold the interpreter between any two operations, hundreds of times a
    prompt. It yields the processor to others. If it ends, as when it is killed for its memory,
    another one is started.

    Args:
        make: Makes the encoder there; a function that can be imported.

    Raises:
        Exception: What ``make`` raises there.
    """

    def __init__(self, make: Callable[[], Encoder]) -> None:
        self._make = make
        self._start()
        try:
            self._receive()
        except BaseException:
            self.close()
            raise
        self._ready = True

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")  # threads do not survive a fork
        self._connection, theirs = context.Pipe()
        self._process = context.Process(
            target=_work, args=(theirs, self._make), name="encoder", daemon=True
        )
        with blocked_in_children():  # Ctrl-C is for the gateway, which drains first
            self._process.start()
        theirs.close()
        self._ready = False

    def __call__(self, prompts: Sequence[str]) -> NDArray[np.float32]:
        """Embeds n prompts; returns vectors (n, d).

        Raises:
            EncoderGoneError: If the process has ended, or still starts: prompts do not wait for it.
            Exception: What the encoder raises.
        """
        try:
            if not self._ready:
                if not self._connection.poll():
                    raise EncoderGoneError("the encoder's process still starts")
                self._receive()
                self._ready = True
            self._connection.send(list(prompts))
            if not self._connection.poll(_PATIENCE):
                raise TimeoutError(f"the encoder's process gave nothing for {_PATIENCE:g} s")
            found: NDArray[np.float32] = self._receive()
        except OSError as error:
            self.close()
            ended = f"the encoder's process has ended with {self._process.exitcode}"
            if isinstance(error, TimeoutError):
                ended = str(error)
            self._start()
            raise EncoderGoneError(f"{ended}; another one is started") from error
        return found

    def _receive(self) -> Any:
        """Returns what comes, or raises it."""
        try:
            found = self._connection.recv()
        except EOFError as error:
            raise ConnectionError("the encoder's process has ended") from error
        if isinstance(found, Exception):
            raise found
        return found

    def close(self) -> None:
        """Ends the process."""
        self._connection.close()
        self._process.kill()  # it holds nothing, and may be one that hears nothing else
        self._process.join()

    def __enter__(self) -> Self:
        """Returns itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Closes it."""
        self.close()


def _work(connection: Connection, make: Callable[[], Encoder]) -> None:
    """Embeds until the other end closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # where it could not be blocked
    if hasattr(os, "nice"):
        os.nice(_NICENESS)
    encode = _outcome(make)
    with one_thread(), suppress(EOFError, BrokenPipeError):
        if isinstance(encode, Exception):
            connection.send(encode)
            return
        connection.send(None)
        while True:
            connection.send(_outcome(encode, connection.recv()))


def _outcome(call: Callable[..., Any], *arguments: Any) -> Any:
    """Returns what a call returns, or the exception that it raises: the other side is to know."""
    try:
        return call(*arguments)
    except Exception as error:  # noqa: BLE001
        return error
