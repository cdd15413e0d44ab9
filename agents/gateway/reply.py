"""What a client is sent, whoever answers."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

import aiohttp

from agents.gateway.api.openai import ApiError

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Header = tuple[bytes, bytes]

# Headers that belong to a connection, or that the gateway writes itself. What a server has
# compressed, though it was asked not to, has been unpacked.
_OWN_HEADERS: Final = {
    b"connection", b"keep-alive", b"transfer-encoding", b"upgrade", b"date", b"server", b"te",
    b"trailer", b"proxy-authenticate", b"content-encoding",
}  # fmt: skip
_CONTROL: Final = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")  # what no header may hold
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
        self, response: aiohttp.ClientResponse, node: str, body: bytes, streams: bool = False
    ) -> None:
        """Sends the head of a server's response, and the first part of the body.

        Args:
            response: The response.
            node: Whose it is.
            body: What there is of the body; all of it if it does not stream.
            streams: Whether more may follow.
        """
        self.begun = True
        self._streams = streams
        headers = _headers(response, streams)
        headers.append((b"x-edgecloud-node", node.encode("utf-8", "replace")))
        start = {"type": "http.response.start", "status": response.status, "headers": headers}
        await self._send(start)
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


def _headers(response: aiohttp.ClientResponse, streams: bool) -> list[Header]:
    """Returns the headers of a server's response that are for the client."""
    own = _OWN_HEADERS
    if streams or "content-encoding" in response.headers:
        # A stream may have to end with an error event; what was compressed has grown.
        own = own | {b"content-length"}
    return [
        (name.lower(), value)
        for name, value in response.raw_headers
        if name.lower() not in own and not _CONTROL.search(value)
    ]
