"""Requests that are too large to be sent at once."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence

import pytest

from tests.agents.gateway.support import (
    CHAT,
    FakeServer,
    answer,
    make_gateway,
    outcomes,
    question,
    run,
    running,
    started,
)


class Early(FakeServer):
    """A server that answers before it has read the whole of a large request."""

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(head.split("content-length: ")[1].split("\r\n")[0]) if "post" in head else 0
        if length < 200_000:
            await reader.readexactly(length)
            body = json.dumps(answer(1)).encode()
            writer.write(f"HTTP/1.1 200 X\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body)
            return True
        writer.write(b"HTTP/1.1 413 X\r\ncontent-length: 2\r\n\r\n{}")
        await asyncio.sleep(5)
        return False


@pytest.mark.parametrize("size", [300_000, 3_000_000])
def test_after_an_early_refusal_the_next_request_does_not_wait(size: int) -> None:
    async def test() -> None:
        server = Early()
        await server.start()
        gateway = make_gateway([server])
        async with running(gateway) as client:
            refused = await client.post(CHAT, json=question("x" * size, stream=False))
            assert refused.status_code == 413
            begun = time.monotonic()
            answered = await client.post(CHAT, json=question(stream=False))
            assert answered.status_code == 200
            assert time.monotonic() - begun < 4
            assert outcomes(gateway) == {"rejected": 1, "completed": 1}
        await server.stop()

    run(test)


@pytest.mark.filterwarnings("error::ResourceWarning")
@pytest.mark.parametrize("breaks", [True, False])
def test_large_requests_are_sent_whole_and_without_a_warning(
    breaks: bool, recwarn: Sequence[object]
) -> None:
    async def test() -> None:
        async with started(2) as servers:
            servers[0].break_after = 0 if breaks else None
            async with running(make_gateway(servers)) as client:
                asked = json.dumps(question("x" * 2**21, stream=False)).encode()
                assert (await client.post(CHAT, content=asked)).status_code == 200
            assert servers[int(breaks)].asked == [asked]

    run(test)
    assert not recwarn
