"""Connections to a server: what aiohttp leaves to its users."""

from __future__ import annotations

import asyncio
import io
from typing import Final

import aiohttp
from aiohttp.connector import Connection

_KEPT: Final = 4.0  # s that an idle connection stays open: uvicorn and llama.cpp close after 5
_LONGEST_HEADER: Final = 64 * 2**10  # bytes; policies of proxies and CDNs are long
_MOST_HEADERS: Final = 1000
_SENT_AT_ONCE: Final = 64 * 2**10  # bytes of a body that a server is sure to have had in hand
_LARGE: Final = 2**20  # bytes from which aiohttp wants a body in pieces


def make_client(api_key: str, connect_time: float) -> aiohttp.ClientSession:
    """Returns a client for the running event loop.

    Args:
        api_key: The key that the server asks for; empty for none.
        connect_time: How long connecting may take (s).
    """
    headers = {"accept-encoding": "identity"}
    if api_key:
        headers["authorization"] = f"Bearer {api_key}"
    return aiohttp.ClientSession(
        headers=headers,
        # As many connections as the node has room: the dispatcher sees to that.
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEPT),
        timeout=aiohttp.ClientTimeout(connect=connect_time),
        response_class=_Response,
        max_line_size=_LONGEST_HEADER,
        max_field_size=_LONGEST_HEADER,
        max_headers=_MOST_HEADERS,
        cookie_jar=aiohttp.DummyCookieJar(),  # one client's are not for another
        trust_env=False,
    )


def sendable(body: bytes) -> bytes | io.BytesIO:
    """Returns a body as aiohttp wants it: a large one in pieces, which are not copied before."""
    return io.BytesIO(body) if len(body) > _LARGE else body


class _Response(aiohttp.ClientResponse):
    """A response whose reader learns at once that its connection has ended.

    After a malformed chunk aiohttp closes the connection, and lets who reads wait.
    """

    async def start(self, connection: Connection) -> aiohttp.ClientResponse:
        """Waits for the head."""
        protocol = connection.protocol
        assert protocol is not None
        await super().start(connection)
        sent = int(self.request_info.headers.get("content-length", "0"))
        if self.status >= 300 and sent > _SENT_AT_ONCE:
            # Perhaps it answers before it has read the request; it would have to read the rest
            # before the next one, so there is none on this connection.
            protocol.force_close()
            if self.content.is_eof():  # the connection has been given back already
                protocol.close()
        if not self.content.is_eof():
            _watch(protocol.closed, self.content)
        return self


def _watch(closed: asyncio.Future[None] | None, content: aiohttp.StreamReader) -> None:
    """Lets a reader know when its connection is closed."""

    def end(_: object = None) -> None:
        if not content.is_eof() and content.exception() is None:
            content.set_exception(aiohttp.ClientPayloadError("malformed chunk"))

    def forget() -> None:
        assert closed is not None
        closed.remove_done_callback(end)

    if closed is None:  # it is closed already
        end()
        return
    closed.add_done_callback(end)
    content.on_eof(forget)
    closed.remove_done_callback(_hear)  # one is enough for all answers on a connection
    closed.add_done_callback(_hear)


def _hear(closed: asyncio.Future[None]) -> None:
    """Asks why a connection was closed: asyncio logs what nobody has asked for."""
    if not closed.cancelled():
        closed.exception()
