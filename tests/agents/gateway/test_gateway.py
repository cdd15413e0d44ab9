"""The gateway as clients and servers see it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from agents.gateway.limits import Limits
from tests.agents.gateway.support import (
    CHAT,
    answer,
    engine,
    error,
    events,
    make_gateway,
    question,
    run,
    running,
    started,
)


def test_answers_pass_through_byte_for_byte() -> None:
    async def test() -> None:
        async with started(2) as servers, running(make_gateway(servers)) as client:
            streamed = await client.post(CHAT, json=question(user="u1"))
            assert streamed.content == b"".join(events(5))
            assert streamed.headers["content-type"] == "text/event-stream"
            assert streamed.headers["x-edgecloud-node"] == "n0"
            whole = await client.post(CHAT, json=question(stream=False))
            assert whole.json() == answer(5)
            sent = {"prompt": "Once", "stream": True}
            other = await client.post("/v1/completions", json=sent)
            assert other.content == b"".join(events(5))
        assert json.loads(servers[0].asked[0]) == question(user="u1")

    run(test)


def test_connections_are_used_again_and_keep_nothing_of_a_client() -> None:
    async def test() -> None:
        async with started(1) as servers, running(make_gateway(servers)) as client:
            servers[0].status, servers[0].headers = 400, {"set-cookie": "whose=first"}
            refused = await client.post(CHAT, json=question())
            assert refused.headers["set-cookie"] == "whose=first"
            client.cookies.clear()
            servers[0].status = 200
            for _ in range(3):
                assert (await client.post(CHAT, json=question())).status_code == 200
            assert servers[0].connections == 1
        assert [head["accept-encoding"] for head in servers[0].heads] == ["identity"] * 4
        assert not any("cookie" in head for head in servers[0].heads)

    run(test)


def test_a_token_passes_on_before_the_next_one_is_there() -> None:
    async def test() -> None:
        async with started(1, pause=0.2) as servers, running(make_gateway(servers)) as client:
            loop = asyncio.get_running_loop()
            times, parts = [], []
            async with client.stream("POST", CHAT, json=question()) as response:
                async for part in response.aiter_raw():
                    times.append(loop.time())
                    parts.append(part)
        assert b"".join(parts) == b"".join(events(5))
        assert len(parts) >= 6  # the role goes with the first token
        assert times[-1] - times[0] > 0.8

    run(test)


def test_nodes_take_what_they_hold_and_no_more() -> None:
    async def test() -> None:
        nodes = [engine("a", sequences=2), engine("b", backlog=1, sequences=2)]
        async with started(2, pause=0.01) as servers:
            gateway = make_gateway(servers, nodes=nodes)
            async with running(gateway) as client:
                asked = [client.post(CHAT, json=question()) for _ in range(30)]
                answers = await asyncio.gather(*asked)
                text = (await client.get("/metrics")).text
            assert {a.status_code for a in answers} == {200}
            assert [s.most_active for s in servers] == [2, 3]
            assert sum(s.completed for s in servers) == 30
            assert 'edgecloud_requests_total{outcome="completed"} 30.0' in text
            assert "edgecloud_num_requests_waiting 0.0" in text
            assert 'edgecloud_num_requests_running{node="a"} 0.0' in text
            assert (
                f'edgecloud_generation_tokens_total{{node="a"}} {servers[0].completed * 5}' in text
            )
            assert not gateway.dispatcher.tickets

    run(test)


def test_errors_of_the_request_itself_pass_through() -> None:
    async def test() -> None:
        async with started(2) as servers, running(make_gateway(servers)) as client:
            servers[0].status = 422
            response = await client.post(CHAT, json=question())
            assert response.status_code == 422
            assert response.json() == {"error": {"message": "no"}}
            assert (await client.get("/health")).json()["nodes"]["n0"]["open"]
            assert not servers[1].asked

    run(test)


def test_models_have_one_name_for_clients_and_one_for_the_server() -> None:
    async def test() -> None:
        async with started(1) as servers:
            gateway = make_gateway(servers, model="ours", serves="m")
            async with running(gateway) as client:
                listed = (await client.get("/v1/models")).json()["data"]
                assert [m["id"] for m in listed] == ["ours"]
                ok = await client.post(CHAT, json=question(model="ours"))
                assert ok.status_code == 200
                assert json.loads(servers[0].asked[0]) == question(model="m")
                bad = await client.post(CHAT, json=question(model="m"))
                assert bad.status_code == 404
                assert error(bad)["code"] == "model_not_found"
                assert "must be one of ours" in error(bad)["message"]

    run(test)


def test_a_server_without_the_model_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        async with started(2) as servers:
            servers[0].name = "other"
            async with running(make_gateway(servers, model="m")) as client:
                response = await client.post(CHAT, json=question(model="m"))
                assert response.headers["x-edgecloud-node"] == "n1"

    run(test)
    assert "n0 does not serve 'm', only other" in caplog.text


def test_keys_are_asked_for_and_given(caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        async with started(1) as servers:
            gateway = make_gateway(servers, keys=["theirs"], api_key="ours")
            async with running(gateway) as client:
                for headers in ({}, {"authorization": "Bearer theirs"}, {"authorization": "ours"}):
                    response = await client.post(CHAT, json=question(), headers=headers)
                    assert response.status_code == 401
                    assert error(response)["code"] == "invalid_api_key"
                    assert (await client.get("/v1/models", headers=headers)).status_code == 401
                good = {"authorization": "Bearer ours"}
                assert (await client.post(CHAT, json=question(), headers=good)).status_code == 200
                shown = (await client.get("/health")).text + (await client.get("/metrics")).text
                assert "theirs" not in shown + repr(gateway.servers[0].spec)
            assert [head["authorization"] for head in servers[0].heads] == ["bearer theirs"]

    run(test)
    assert "theirs" not in caplog.text


MALFORMED: list[tuple[str, bytes, int, str]] = [
    (CHAT, b"{", 400, "the body is no JSON"),
    (CHAT, b"[" * 100_000, 400, "the body is no JSON"),
    (CHAT, b"[1]", 400, "must be a JSON object, got list"),
    (CHAT, b"{}", 400, "messages: must be a list"),
    (CHAT, b'{"messages": [3]}', 400, r"messages[0]: must be an object"),
    (CHAT, b'{"messages": [{}], "stream": 1}', 400, "stream: must be true or false, got 1"),
    (CHAT, b'{"messages": [{}], "model": 1}', 400, "model: must be a string, got int"),
    ("/v1/completions", b'{"prompt": 3}', 400, "prompt: must be a string"),
    (CHAT, json.dumps(question("word " * 600)).encode(), 400, "at most 500 are allowed"),
    (CHAT, b" " * 9000 + b"{}", 413, "at most 8000 bytes"),
    ("/v1/embeddings", b"{}", 404, "/v1/chat/completions, /v1/completions take POST"),
]


@pytest.mark.parametrize(("path", "body", "status", "message"), MALFORMED)
def test_bad_requests_are_told_what_is_wrong(
    path: str, body: bytes, status: int, message: str
) -> None:
    async def test() -> None:
        limits = Limits(body=120_000 if body.startswith(b"[[") else 8000, prompt=500)
        async with started(1) as servers:
            async with running(make_gateway(servers, limits=limits)) as client:
                response = await client.post(path, content=body)
                assert response.status_code == status
                assert message in error(response)["message"]
            assert not servers[0].asked

    run(test)


def test_a_body_may_not_grow_in_pieces() -> None:
    async def test() -> None:
        async def pieces() -> Any:
            for _ in range(20):
                yield b" " * 1000

        limits = Limits(body=8000)
        async with started(1) as servers, running(make_gateway(servers, limits=limits)) as client:
            response = await client.post(CHAT, content=pieces())
            assert response.status_code == 413

    run(test)


def test_get_is_no_way_to_ask() -> None:
    async def test() -> None:
        async with started(1) as servers, running(make_gateway(servers)) as client:
            response = await client.get(CHAT)
            assert response.status_code == 405
            assert "take POST" in error(response)["message"]

    run(test)
