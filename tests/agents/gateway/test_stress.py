"""Nothing is lost and nothing leaks while servers and clients come and go (INV-59)."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from agents.gateway.limits import Limits
from agents.gateway.prompts import Embeddings
from tests.agents.gateway.stress import stress
from tests.agents.gateway.support import (
    CHAT,
    encode,
    make_gateway,
    outcomes,
    question,
    run,
    running,
    started,
)


def test_each_request_ends_once_and_leaves_nothing_behind() -> None:
    # An ordered queue has more ways to lose somebody than one in order of arrival.
    report = asyncio.run(stress(requests=300, rate=100.0, hang=1.5, agent="c2ucb"))
    assert report.ends.total() == 300
    assert report.ends["answered"] > 200
    assert report.ends["left"] > 10
    assert report.tickets == report.at_nodes == report.active == report.connections == 0
    # Each that reached the gateway is counted once; of the others it cannot know.
    assert sum(report.counted.values()) == report.reached
    assert 0 <= 300 - report.reached <= report.ends["left"]
    assert report.counted["completed"] >= report.ends["answered"]


def test_each_request_is_counted_once_however_far_it_comes() -> None:
    async def test() -> None:
        waiting, go_on = threading.Event(), threading.Event()

        def embed(prompts: Sequence[str]) -> NDArray[np.float32]:
            if "slow" in prompts:
                waiting.set()
                go_on.wait(10)
            return encode(prompts)

        async with started(1) as servers:
            gateway = make_gateway(servers, "predicted-sjf", limits=Limits(body=2000), api_key="k")
            gateway._embeddings = Embeddings(embed)
            async with running(gateway) as client:
                # Its client leaves before its body is there,
                _, writer = await asyncio.open_connection("127.0.0.1", client.base_url.port)
                head = f"POST {CHAT} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer k\r\n"
                writer.write(f"{head}content-length: 100\r\n\r\n{{".encode())
                await writer.drain()
                await asyncio.sleep(0.05)
                writer.transport.abort()
                # without the key, malformed, too large,
                assert (await client.post(CHAT, json=question())).status_code == 401
                client.headers["authorization"] = "Bearer k"
                assert (await client.post(CHAT, content=b"{")).status_code == 400
                assert (await client.post(CHAT, json=question("x" * 2000))).status_code == 413
                # while its prompt is being embedded,
                left = asyncio.create_task(client.post(CHAT, json=question("slow")))
                await asyncio.to_thread(waiting.wait, 10)
                left.cancel()
                await asyncio.wait([left])
                await asyncio.sleep(0.05)
                go_on.set()
                # and never.
                assert (await client.post(CHAT, json=question())).status_code == 200
                assert outcomes(gateway) == {"abandoned": 2, "turned away": 3, "completed": 1}

    run(test)
