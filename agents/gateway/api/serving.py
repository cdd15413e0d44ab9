"""Serving the gateway's application, from the first server that answers to the last request."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import FrameType

import uvicorn

from agents.gateway.api.app import make_app
from agents.gateway.gateway import Gateway


class _Server(uvicorn.Server):
    """Uvicorn's server, which lets the gateway drain before it closes connections."""

    def __init__(self, config: uvicorn.Config, gateway: Gateway) -> None:
        super().__init__(config)
        self._gateway = gateway
        self._hurried = False

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Ends, also while the gateway waits for a server; a second Ctrl-C ends the draining.

        Uvicorn would leave at once then, and what has been learnt would not be saved: a third does.
        """
        super().handle_exit(sig, frame)
        if self.force_exit and not self._hurried:
            self._hurried, self.force_exit = True, False
        self._gateway.stop()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Waits for what is under way, within the gateway's limit or until told twice to end."""
        await self._gateway.drain(lambda: self._hurried)
        await super().shutdown(sockets)


def make_server(gateway: Gateway, host: str, port: int) -> uvicorn.Server:
    """Returns the server of a gateway; its ``run()`` serves until a signal stops it.

    Args:
        gateway: Not started.
        host: Address to listen at.
        port: Port; 0 takes a free one.
    """
    config = uvicorn.Config(
        make_app(gateway),
        host=host,
        port=port,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        lifespan="on",
        timeout_graceful_shutdown=5,
        timeout_keep_alive=30,
    )
    server = _Server(config, gateway)

    def stop() -> None:
        server.should_exit = True

    gateway.on_failure = stop
    return server


@asynccontextmanager
async def serving(server: uvicorn.Server) -> AsyncIterator[str]:
    """Serves in the background of the running loop; yields the address once it listens.

    Raises:
        RuntimeError: If it stops before.
    """
    task = asyncio.create_task(server.serve())
    while not server.started:
        if task.done():
            raise RuntimeError("the server has stopped") from task.exception()
        await asyncio.sleep(0.01)
    host, port = server.servers[0].sockets[0].getsockname()[:2]
    try:
        yield f"http://{host}:{port}"
    finally:
        server.should_exit = True
        await task
