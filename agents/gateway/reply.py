"""What a client is sent, whoever answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any, Final

from agents.gateway.api.openai import ApiError

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Header = tuple[bytes, bytes]

_EVENT_ENDS: Final = (b"\n\n", b"\r\r", b"\r\n\r\n")


class Reply:
    """What one client is sent.

    Attributes:
        begun: Whether it has been sent anything.
        answered: Whether it has been sent all that matters: an answer that says it is over.
        told_error: Whether what it has been sent tells of an error.
        blocked: Whether it has not taken yet what it is being sent.
    """

    def __init__(self, send: Send) -> None:
        self.begun = False
        self.answered = False
        self.told_error = False
        self.blocked = False
        self._send = send
        self._streams = False
        self._last = b""

    async def begin(
        self, status: int, headers: Sequence[Header], body: bytes, streams: bool
    ) -> None:
        """Sends the head and the first part of the body."""
        self.begun = True
        self._streams = streams
        await self._send({"type": "http.response.start", "status": status, "headers": headers})
        await self.pass_on(body)

    async def pass_on(self, chunk: bytes) -> None:
        """Sends a further part."""
        self._last = chunk
        await self._send_body(chunk, more=True)

    async def end(self) -> None:
        """Says that this was all."""
        await self._send_body(b"", more=False)

    async def _send_body(self, chunk: bytes, more: bool) -> None:
        self.blocked = True  # and stays so if this is cancelled
        await self._send({"type": "http.response.body", "body": chunk, "more_body": more})
        self.blocked = False

    async def break_off(self, error: ApiError) -> None:
        """Tells a client that has seen part of a stream that there will be no more.

        What is no stream has no place for that: the connection ends before its body does.
        """
        if not self._streams:
            return
        if not self.told_error:
            begin = b"" if self._last.endswith(_EVENT_ENDS) else b"\n\n"  # of an event of its own
            await self.pass_on(begin + error.event)
        await self.end()
