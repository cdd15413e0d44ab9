"""Faults of servers, clients, agents and of the gateway itself (INV-59)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence

import anyio
import numpy as np
import pytest
from numpy.typing import NDArray

from agents.gateway.limits import Limits
from agents.gateway.prompts import Embeddings
from tests.agents.gateway.support import (
    CHAT,
    FakeServer,
    answering,
    encode,
    engine,
    error,
    events,
    make_gateway,
    question,
    run,
    running,
    started,
)


def fail_first(servers: Sequence[FakeServer], fault: str) -> None:
    if fault == "refuses":
        servers[0].status = 500
    elif fault == "overloaded":
        servers[0].status, servers[0].headers = 429, {"retry-after": "1"}
    elif fault == "redirects":  # to where the file does not say
        servers[0].status, servers[0].headers = 302, {"location": "http://127.0.0.1:9/"}
    elif fault == "wrong key":
        servers[0].status = 401
    elif fault == "hangs":
        servers[0].hangs = True
    elif fault == "breaks":
        servers[0].break_after = 0


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    "fault", ["refuses", "overloaded", "redirects", "wrong key", "hangs", "breaks", "dies"]
)
def test_what_has_shown_no_token_is_tried_elsewhere(fault: str, stream: bool) -> None:
    async def test() -> None:
        limits = Limits(first_token_time=0.5, total_time=0.5, drain_time=1)
        async with started(2) as servers:
            gateway = make_gateway(servers, limits=limits)
            async with running(gateway) as client:
                if fault == "dies":
                    await servers[0].stop()
                fail_first(servers, fault)
                response = await client.post(CHAT, json=question(stream=stream))
                assert response.status_code == 200
                assert response.headers["x-edgecloud-node"] == "n1"
                if stream:
                    assert response.content == b"".join(events(5))
                health = (await client.get("/health")).json()["nodes"]["n0"]
                assert not health["open"]
                assert health["trouble"]
                text = (await client.get("/metrics")).text
                assert "edgecloud_request_retries_total 1.0" in text
            assert not gateway.dispatcher.tickets

    run(test)


def test_time_at_a_node_is_no_time_in_the_queue() -> None:
    """Else what a server leaves unanswered for as long as one may wait is tried nowhere else."""

    async def test() -> None:
        limits = Limits(first_token_time=0.5, queue_time=0.4, drain_time=1)
        async with started(2) as servers:
            servers[0].hangs = True
            async with running(make_gateway(servers, limits=limits)) as client:
                response = await client.post(CHAT, json=question())
                assert response.status_code == 200
                assert response.headers["x-edgecloud-node"] == "n1"

    run(test)


def test_a_server_that_comes_back_is_asked_again() -> None:
    async def test() -> None:
        async with started(1) as servers, running(make_gateway(servers)) as client:
            await servers[0].stop()
            asked = asyncio.create_task(client.post(CHAT, json=question()))
            await asyncio.sleep(0.3)
            assert not asked.done()  # it waits for its only server
            await servers[0].start()
            assert (await asked).status_code == 200

    run(test)


def test_what_breaks_off_at_once_is_one_fault() -> None:
    """Else a server that restarts is left alone for long, as it answered many when it died."""

    async def test() -> None:
        async with started(1, tokens=1000, pause=0.01) as servers:
            gateway = make_gateway(servers, nodes=[engine("n0", backlog=16)])
            async with running(gateway) as client:
                asked = [asyncio.create_task(client.post(CHAT, json=question())) for _ in range(12)]
                while servers[0].active < 12:
                    await asyncio.sleep(0.01)
                await asyncio.sleep(0.2)
                await servers[0].stop()
                for response in await asyncio.gather(*asked):
                    assert b'"error"' in response.content
                assert gateway.servers[0].wait <= 0.5
                await servers[0].start()
                servers[0].tokens = 1
                with anyio.fail_after(3):
                    assert (await client.post(CHAT, json=question())).status_code == 200

    run(test)


def test_what_has_begun_ends_with_an_error_in_the_stream() -> None:
    async def test() -> None:
        async with started(1) as servers:
            gateway = make_gateway(servers)
            servers[0].break_after = 3
            async with running(gateway) as client:
                response = await client.post(CHAT, json=question())
                assert response.status_code == 200
                first, last = response.content.rstrip().rsplit(b"\n\n", 1)
                assert first.startswith(b"".join(events(5)[:4]).rstrip())
                told = json.loads(last.removeprefix(b"data: "))["error"]
                assert "n0 broke off" in told["message"]
                assert len(servers[0].asked) == 1
            assert not gateway.dispatcher.tickets

    run(test)


@pytest.mark.parametrize(
    ("limits", "why"),
    [
        (Limits(stall_time=0.3, drain_time=1), "gave nothing for 0.3 s"),
        (Limits(total_time=0.3, drain_time=1), "took more than 0.3 s"),
    ],
)
def test_a_stream_that_stalls_is_broken_off(limits: Limits, why: str) -> None:
    async def test() -> None:
        async with started(1) as servers:
            servers[0].stalls_after = 2
            gateway = make_gateway(servers, limits=limits)
            async with running(gateway) as client:
                response = await client.post(CHAT, json=question())
                assert response.content.startswith(b"".join(events(5)[:3]))
                last = response.content.rstrip().rsplit(b"\n\n", 1)[1]
                assert why in json.loads(last.removeprefix(b"data: "))["error"]["message"]
            assert not gateway.dispatcher.tickets
            assert servers[0].active == 0

    run(test)


@pytest.mark.parametrize(("status", "seen"), [(500, 502), (429, 429)])
def test_what_nobody_answers_fails_once(status: int, seen: int) -> None:
    async def test() -> None:
        async with started(2) as servers:
            for server in servers:
                server.status, server.headers = status, {"retry-after": "0"}
            async with running(make_gateway(servers, limits=Limits(attempts=2))) as client:
                response = await client.post(CHAT, json=question())
                assert response.status_code == seen
                assert f"answered {status}" in error(response)["message"]
            assert sum(len(s.asked) for s in servers) == 2

    run(test)


@pytest.mark.parametrize("waits", [True, False])
def test_a_client_that_goes_frees_its_place(waits: bool) -> None:
    async def test() -> None:
        nodes = [engine("a", sequences=1)]
        async with started(1, pause=0.05) as servers:
            gateway = make_gateway(servers, nodes=nodes)
            async with running(gateway) as client:
                kept = asyncio.create_task(client.post(CHAT, json=question()))
                await asyncio.sleep(0.05)
                gone = asyncio.create_task(client.post(CHAT, json=question()))
                await asyncio.sleep(0.05)
                left, stays = (gone, kept) if waits else (kept, gone)
                left.cancel()
                response = await stays
                assert response.status_code == 200
                assert (await client.post(CHAT, json=question())).status_code == 200
                text = (await client.get("/metrics")).text
                assert 'edgecloud_requests_total{outcome="abandoned"} 1.0' in text
            assert not gateway.dispatcher.tickets
            assert servers[0].active == 0
            assert servers[0].completed == 2
            assert servers[0].most_active == 1

    run(test)


@pytest.mark.parametrize(
    ("last_read", "outcome"),
    [(b"w1 ", "abandoned"), (b'"finish_reason": "stop"', "completed"), (b"[DONE]", "completed")],
)
def test_a_client_may_close_once_it_has_read_the_end(last_read: bytes, outcome: str) -> None:
    async def test() -> None:
        async with started(1, tokens=3, pause=0.05) as servers:
            gateway = make_gateway(servers, nodes=[engine("a")])
            async with running(gateway) as client:
                asked = question(stream=True)
                async with client.stream("POST", CHAT, json=asked) as response:
                    async for chunk in response.aiter_raw():
                        if last_read in chunk:
                            break  # and the connection is closed
                while gateway.dispatcher.tickets:
                    await asyncio.sleep(0.01)
                text = (await client.get("/metrics")).text
            assert f'edgecloud_requests_total{{outcome="{outcome}"}} 1.0' in text
            counted = 'edgecloud_time_to_first_token_seconds_count{node="a"} 1.0' in text
            assert counted == (outcome == "completed")

    run(test)


def test_a_full_queue_is_said_with_when_to_come_back() -> None:
    async def test() -> None:
        nodes = [engine("a", sequences=1)]
        async with started(1, pause=0.05) as servers:
            gateway = make_gateway(servers, nodes=nodes, limits=Limits(queue=2))
            async with running(gateway) as client:
                asked = [asyncio.create_task(client.post(CHAT, json=question())) for _ in range(5)]
                answers = await asyncio.gather(*asked)
            refused = [a for a in answers if a.status_code == 429]
            assert 2 <= len(refused) <= 3  # the first may have left the queue by then
            assert error(refused[0])["code"] == "queue_full"
            assert int(refused[0].headers["retry-after"]) >= 1

    run(test)


def test_who_waits_too_long_is_told_why() -> None:
    async def test() -> None:
        async with started(1) as servers:
            gateway = make_gateway(servers, limits=Limits(queue_time=0.3, drain_time=1))
            async with running(gateway) as client:
                await servers[0].stop()
                response = await client.post(CHAT, json=question())
                assert response.status_code == 503
                assert "n0 cannot be reached" in error(response)["message"]

    run(test)


def test_a_prompt_that_cannot_be_embedded_is_routed_without(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def embed(prompts: Sequence[str]) -> NDArray[np.float32]:
        assert not any("\ud800" in prompt for prompt in prompts)
        if "bad" in prompts:
            raise ZeroDivisionError("no")
        return encode(prompts)

    async def test() -> None:
        async with started(1) as servers:
            gateway = make_gateway(servers, "predicted-sjf")
            gateway._embeddings = Embeddings(embed)
            async with running(gateway) as client:
                texts = ["good", "bad", "half \ud800", *(f"another {k}" for k in range(20))]
                bodies = [json.dumps(question(text)) for text in texts]
                asked = [client.post(CHAT, content=body) for body in bodies]
                assert {a.status_code for a in await asyncio.gather(*asked)} == {200}
                assert await gateway._embeddings.of("good") is not None
                assert await gateway._embeddings.of("bad") is None

    run(test)
    assert "a prompt could not be embedded" in caplog.text


def test_a_stream_of_known_length_ends_with_an_error_too() -> None:
    """Its length holds no more when an error comes after what there was."""

    async def test() -> None:
        async with answering(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 5000\r\n\r\n"
            + events(1)[1]
        ) as server:
            gateway = make_gateway([server])
            async with running(gateway) as client:
                response = await client.post(CHAT, json=question())
                assert "content-length" not in response.headers
                first, last = response.content.rstrip().rsplit(b"\n\n", 1)
                assert first == events(1)[1].rstrip()
                assert "broke off" in json.loads(last.removeprefix(b"data: "))["error"]["message"]
                assert 'outcome="failed"} 1.0' in (await client.get("/metrics")).text

    run(test)


@pytest.mark.parametrize(
    ("head", "seen", "told"),
    [
        ("429 X\r\nretry-after: inf", 429, "answered 429: oops"),
        ("500 X\r\ncontent-type: text/html; charset=base64", 502, "answered 500: oops"),
        ("101 X\r\nconnection: upgrade\r\nupgrade: websocket", 502, "answered 101"),
    ],
)
def test_odd_answers_are_faults_like_others(head: str, seen: int, told: str) -> None:
    async def test() -> None:
        answered = f"HTTP/1.1 {head}\r\ncontent-length: 4\r\n\r\noops".encode()
        async with answering(answered) as server:
            gateway = make_gateway([server], limits=Limits(attempts=1))
            async with running(gateway) as client:
                response = await client.post(CHAT, json=question())
                assert response.status_code == seen
                assert told in error(response)["message"]
            assert not gateway.dispatcher.tickets

    run(test)


def test_long_and_many_headers_pass() -> None:
    async def test() -> None:
        lines = ["HTTP/1.1 200 OK", "content-length: 2", f"x-long: {'y' * 60_000}"]
        lines += [f"x-{number}: 1" for number in range(300)]
        lines += ["x-bad: a\x0cb"]  # which no client is to see
        answered = "\r\n".join([*lines, "", "{}"]).encode()
        async with answering(answered) as server, running(make_gateway([server])) as client:
            response = await client.post(CHAT, json=question(stream=False))
            assert response.status_code == 200
            assert len(response.headers["x-long"]) == 60_000
            assert response.headers["x-299"] == "1"
            assert "x-bad" not in response.headers

    run(test)


def test_an_accept_that_is_no_header_is_not_passed_on() -> None:
    async def test() -> None:
        async with started(1) as servers, running(make_gateway(servers)) as client:
            response = await client.post(CHAT, json=question(), headers=[(b"accept", b"a\x85b")])
            assert response.status_code == 200
            assert servers[0].heads[0]["accept"] == "*/*"

    run(test)
