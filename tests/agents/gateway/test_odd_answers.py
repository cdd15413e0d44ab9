"""Answers that are not as they should be: without an end, malformed, compressed, with errors."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
import time
import zlib

import httpx2
import pytest

from agents.gateway.limits import Limits
from agents.gateway.servers.answers import AnswerReader
from tests.agents.gateway.support import (
    CHAT,
    FakeServer,
    answer,
    answering,
    error,
    events,
    make_gateway,
    outcomes,
    question,
    run,
    running,
    started,
)

STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n"
TOKENS = b"".join(events(3)[:-2])
FINISH, DONE = events(3)[-2:]
USAGE = b'data: {"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 3}}\n\n'


def stream(*parts: bytes, more: bytes = b"") -> bytes:
    """A stream in chunks, ended as HTTP wants it."""
    chunks = [f"{len(part):x}\r\n".encode() + part + b"\r\n" for part in parts if part]
    return STREAM + more + b"\r\n" + b"".join(chunks) + b"0\r\n\r\n"


def event(data: object) -> bytes:
    return b"data: " + json.dumps(data).encode() + b"\n\n"


def last_error(content: bytes) -> str:
    """What a stream's last event says is wrong; empty if it is no error."""
    last = content.rstrip().rsplit(b"\n\n", 1)[1].removeprefix(b"data: ")
    told = {} if last == b"[DONE]" else json.loads(last)
    return str(told.get("error", {}).get("message", ""))


async def ask(
    response: bytes, limits: Limits | None = None, streams: bool = True
) -> tuple[httpx2.Response, dict[str, int], int]:
    """Asks a server that answers so; returns the answer, outcomes and faults as counted."""
    async with answering(response) as server:
        gateway = make_gateway([server], limits=limits or Limits(attempts=1))
        async with running(gateway) as client:
            answered = await client.post(CHAT, json=question(stream=streams))
        assert not gateway.dispatcher.tickets
        samples = [s for m in gateway.metrics.faults.collect() for s in m.samples]
        faults = sum(int(s.value) for s in samples if s.name.endswith("_total"))
        return answered, outcomes(gateway), faults


@pytest.mark.parametrize(
    "end",
    [
        FINISH + DONE,  # OpenAI, llama.cpp, vLLM, SGLang, Ollama
        FINISH,  # llama.cpp before September 2024, TGI before 2.2
        DONE,  # some leave out why it ended
        FINISH + USAGE,
        USAGE,
        FINISH + DONE.rstrip(),  # without the line's end
    ],
)
def test_a_stream_that_says_in_any_way_that_it_is_over_is_whole(end: bytes) -> None:
    async def test() -> None:
        answered, counted, faults = await ask(stream(TOKENS, end))
        assert answered.content == TOKENS + end
        assert (counted, faults) == ({"completed": 1}, 0)

    run(test)


@pytest.mark.parametrize(
    "end",
    [
        b"",
        b'data: {"choices": [{"delta": {"con',  # within an event
        # Counts beside a token, as vLLM gives with continuous_usage_stats, are no end.
        event({"choices": [{"delta": {"content": "x"}}], "usage": {"completion_tokens": 3}}),
        # One choice of two.
        event({"choices": [{"index": 1, "delta": {"content": "x"}}]}) + FINISH,
    ],
)
def test_a_stream_that_ends_before_its_answer_does_is_broken_off(end: bytes) -> None:
    """Its server ends it by the rules of HTTP, as one does that is shut down in the middle."""

    async def test() -> None:
        answered, counted, faults = await ask(stream(TOKENS, end))
        assert answered.content.startswith(TOKENS + end)
        assert "server n0 broke off" in last_error(answered.content)
        assert (counted, faults) == ({"failed": 1}, 1)

    run(test)


def test_what_is_no_stream_must_be_json() -> None:
    """A body that ends with its connection may lack its end."""

    async def test() -> None:
        head, body = b"HTTP/1.1 200 OK\r\n\r\n", json.dumps(answer(3)).encode()
        answered, counted, _ = await ask(head + body, streams=False)
        assert (answered.content, counted) == (body, {"completed": 1})
        answered, counted, faults = await ask(head + body[:-9], streams=False)
        assert "answered with what is no JSON object" in error(answered)["message"]
        assert (counted, faults) == ({"failed": 1}, 1)

    run(test)


@pytest.mark.parametrize(
    "malformed", [b"zz\r\nhello\r\n", b"3\r\nhello\r\n", b"5\r\nhelloXX\r\n", b"-1\r\n"]
)
def test_a_malformed_chunk_is_noticed_at_once(malformed: bytes) -> None:
    async def test() -> None:
        class Malformed(FakeServer):
            def event(self, number: int, event: bytes) -> bytes:
                if number == 3:
                    assert self.writer is not None
                    self.writer.write(malformed)
                return event

        server = Malformed(pause=0.02)
        await server.start()
        gateway = make_gateway([server], limits=Limits(stall_time=30))
        async with running(gateway) as client:
            begun = time.monotonic()
            answered = await client.post(CHAT, json=question())
            assert time.monotonic() - begun < 10
            assert answered.content.startswith(b"".join(events(5)[:3]))
            assert "server n0 broke off" in last_error(answered.content)
            assert outcomes(gateway) == {"failed": 1}
        await server.stop()

    run(test)


@pytest.mark.parametrize("size", [1, 5, 1000])
@pytest.mark.parametrize("line_end", [b"\r", b"\r\n", b"\n"])
def test_lines_of_events_end_in_three_ways(line_end: bytes, size: int) -> None:
    content = b"".join(events(9)).replace(b"\n", line_end)
    reader = AnswerReader(stream=True)
    for start in range(0, len(content), size):
        reader.feed(content[start : start + size])
    assert (reader.tokens, reader.ended, reader.done) == (9, True, True)


def test_lone_carriage_returns_pass() -> None:
    async def test() -> None:
        content = (TOKENS + FINISH + DONE).replace(b"\n", b"\r")
        answered, counted, _ = await ask(stream(content))
        assert (answered.content, counted) == (content, {"completed": 1})

    run(test)


def test_what_was_compressed_unasked_is_unpacked() -> None:
    """What the gateway asks for is not compressed; else no error could be told in a stream."""

    async def test() -> None:
        squeeze = zlib.compressobj(wbits=31)
        parts = [
            squeeze.compress(part) + squeeze.flush(zlib.Z_SYNC_FLUSH) for part in events(3)[:3]
        ]
        broken, counted, _ = await ask(stream(*parts, more=b"content-encoding: gzip\r\n"))
        assert broken.content.startswith(b"".join(events(3)[:3]))
        assert "broke off" in last_error(broken.content)
        assert counted == {"failed": 1}

        body = json.dumps(answer(3)).encode()
        packed = gzip.compress(body)
        head = f"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: {len(packed)}\r\n\r\n"
        whole, counted, _ = await ask(head.encode() + packed, streams=False)
        assert (whole.content, counted) == (body, {"completed": 1})
        assert "content-encoding" not in whole.headers

        head = head.replace("gzip", "compress")
        refused, counted, _ = await ask(head.encode() + packed, streams=False)
        assert "content-encoding: compress" in error(refused)["message"]
        assert counted == {"failed": 1}

    run(test)


@pytest.mark.parametrize(
    "told", [event({"error": {"message": "out of memory", "code": 500}}),
             b'error: {"code":500,"message":"out of memory"}\n\n']
)  # fmt: skip
def test_an_error_in_a_stream_is_a_fault_and_is_told_once(told: bytes) -> None:
    async def test() -> None:
        answered, counted, faults = await ask(stream(TOKENS, told, DONE))
        assert answered.content == TOKENS + told + DONE
        assert (counted, faults) == ({"failed": 1}, 1)
        answered, counted, faults = await ask(stream(told, DONE))  # before any token
        assert answered.status_code == 502
        assert "n0 reported an error: out of memory" in error(answered)["message"]
        assert (counted, faults) == ({"failed": 1}, 1)

    run(test)


def test_an_error_in_a_stream_may_be_the_requests_fault() -> None:
    """Such a request is not tried elsewhere, and takes no server out of service."""

    async def test() -> None:
        told = event({"error": {"message": "the prompt is too long", "code": 400}})
        answered, counted, faults = await ask(stream(told, DONE))
        assert answered.content == told + DONE
        assert (counted, faults) == ({"rejected": 1}, 0)
        head = b"HTTP/1.1 422 X\r\ncontent-type: text/event-stream\r\ncontent-length: 4\r\n\r\n"
        answered, counted, faults = await ask(head + b"oops")
        assert (answered.status_code, answered.content) == (422, b"oops")
        assert (counted, faults) == ({"rejected": 1}, 0)

    run(test)


def test_a_client_that_takes_nothing_is_no_fault_of_the_server() -> None:
    async def test() -> None:
        class Talkative(FakeServer):
            def event(self, number: int, event: bytes) -> bytes:
                del number
                return b": " + b"x" * 2**20 + b"\n" + event

        server = Talkative(tokens=60)
        await server.start()
        gateway = make_gateway([server], limits=Limits(stall_time=0.3, drain_time=1))
        async with running(gateway) as client:
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", client.base_url.port, limit=1024
            )
            body = json.dumps(question()).encode()
            head = f"POST {CHAT} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n"
            writer.write(head.encode() + body)
            while not (counted := outcomes(gateway)):
                await asyncio.sleep(0.02)
            assert counted == {"abandoned": 1}
            assert gateway.servers[0].open
            writer.transport.abort()
            del reader
        await server.stop()

    run(test)


def test_a_server_that_does_not_end_after_the_end_is_not_waited_for() -> None:
    async def test() -> None:
        async with started(1) as servers:
            servers[0].stalls_after = 6  # the finish_reason
            gateway = make_gateway(servers, limits=Limits(stall_time=0.2, drain_time=1))
            async with running(gateway) as client:
                answered = await client.post(CHAT, json=question())
                assert answered.content == b"".join(events(5)[:7])
                assert outcomes(gateway) == {"completed": 1}
                assert gateway.servers[0].open

    run(test)


@pytest.mark.parametrize("kind", ["unreachable", "malformed", "redirect", "error", "key"])
def test_clients_see_no_addresses_and_logs_no_control_characters(
    kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    answers = {
        "malformed": b"HTTP/1.1 200 \x1b[2J OK\r\nno header\r\n\r\n",
        "redirect": b"HTTP/1.1 302 X\r\nlocation: http://10.1.2.3/\r\ncontent-length: 0\r\n\r\n",
        "error": b"HTTP/1.1 500 X\r\ncontent-length: 11\r\n\r\nred \x1b[31m \xff",
        "key": b"HTTP/1.1 401 X\r\ncontent-length: 12\r\n\r\nno s3cret s3",
    }

    async def test() -> None:
        async with answering(answers.get(kind, b"")) as server:
            limits = Limits(attempts=1, queue_time=0.3, drain_time=1)
            gateway = make_gateway([server], limits=limits, keys=["s3cret"])
            async with running(gateway) as client:
                if kind == "unreachable":
                    await server.stop()
                first = error(await client.post(CHAT, json=question()))["message"]
                waited = error(await client.post(CHAT, json=question()))["message"]
                shown = first + waited + (await client.get("/health")).text
                assert "n0 " in first
                assert "n0 " in waited
                for address in ("127.0.0.1", str(server.port), "10.1.2.3", "s3"):
                    assert address not in shown

    with caplog.at_level(logging.INFO):
        run(test)
    said = [record.getMessage() for record in caplog.records if "server n0" in record.getMessage()]
    assert said
    assert all(line.isprintable() and "s3cret" not in line for line in said)
    address = {"redirect": "10.1.2.3", "unreachable": "127.0.0.1"}.get(kind, "")
    assert any(address in line for line in said)
    if kind == "error":
        assert any(r"answered 500: red \x1b[31m" in line for line in said)
