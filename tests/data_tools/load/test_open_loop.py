"""Open loops: nothing waits for an answer, whatever the server does, and every request is kept."""

import asyncio
import threading
import time
from collections.abc import Callable

import pytest

from data_tools.backends.chat import ChatClient, Exchange
from data_tools.load.open_loop import OpenLoop, PlannedRequest, ServerGoneError, asking
from data_tools.load.records import RequestRecord
from data_tools.load.summary import summarise
from tests.data_tools.backends.chat_server import (
    ChatServer,
    Handler,
    Reply,
    answer,
    death,
    delta,
    events,
    silence,
    status,
)

KEY = "sk-very-secret"


def at_once(n: int, gap: float = 0.0) -> list[PlannedRequest]:
    return [PlannedRequest(gap * i, f"Prompt {i}", 8) for i in range(n)]


def play(
    url: str,
    plan: list[PlannedRequest],
    most: int = 1000,
    also: Callable[[RequestRecord], object] = lambda _: None,
    **settings: object,
) -> list[RequestRecord]:
    """Plays a plan and returns the records in order of the plan."""
    records: list[RequestRecord] = []

    def keep(record: RequestRecord) -> None:
        records.append(record)
        also(record)

    async def run() -> None:
        async with ChatClient(url, "m", api_key=KEY, **settings) as client:
            await OpenLoop(asking(client), plan, most_in_flight=most, on_record=keep).run()

    asyncio.run(run())
    return sorted(records, key=lambda record: record.request)


def after(gate: threading.Barrier | threading.Event, reply: Reply) -> Reply:
    """A reply that waits for others."""

    def waiting(handler: Handler) -> None:
        gate.wait(20.0)
        reply(handler)

    return waiting


def test_nothing_waits_for_an_answer() -> None:
    """No coordinated omission: the first answer comes once the last request was sent."""
    all_sent = threading.Barrier(12)
    replies = [after(all_sent, answer("a", "b", usage=(5, 2)))] * 12
    with ChatServer(replies) as server:
        records = play(server.url, at_once(12, gap=0.01))
    assert [record.status for record in records] == ["ok"] * 12
    last_sent = max(record.sent for record in records)
    assert all(record.first_chunk >= last_sent for record in records)
    assert all(record.lateness >= 0 for record in records)
    for record in records:
        assert record.planned == pytest.approx(0.01 * record.request)
        assert record.sent <= record.first_chunk <= record.last_chunk
        assert (record.prompt_tokens, record.output_tokens, record.counted) == (5, 2, True)


def test_what_would_exceed_the_cap_is_not_sent_and_said() -> None:
    enough = threading.Event()
    skipped: list[RequestRecord] = []

    def note(record: RequestRecord) -> None:
        if record.sent is None:
            skipped.append(record)
            if len(skipped) == 4:
                enough.set()

    with ChatServer([after(enough, answer("a"))] * 3) as server:
        records = play(server.url, at_once(7), most=3, also=note)
    assert [record.status for record in records] == ["ok"] * 3 + ["not sent"] * 4
    assert len(server.requests) == 3
    notes = summarise(records).notes()
    assert any("4 of 7 requests were not sent" in note for note in notes)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (status(429, f"busy, {KEY}"), "HTTP 429: busy, [key]"),
        (death(delta(content="a")), "connection: the answer broke off after 1 chunks"),
        (death(begun=False), "connection: no answer began"),
        (silence(3.0, delta(content="a")), "timeout: the answer broke off after 1 chunks"),
        (status(200, "{}"), "stream: it is"),
        (events("[DONE]"), "stream: no answer began"),
        (events(delta(content="a")), "stream: the answer broke off after 1 chunks"),
    ],
)
def test_half_of_the_requests_fail_and_the_others_count(bad: Reply, message: str) -> None:
    good = answer("a", "b", usage=(5, 2))
    with ChatServer([good, bad] * 4) as server:
        patience = 1.5 if message.startswith("timeout") else 20.0
        records = play(server.url, at_once(8, gap=0.02), timeout=patience)
    summary = summarise(records)
    assert summary.statuses == {"ok": 4, "failed": 4}
    failed = [record for record in records if record.status == "failed"]
    assert all(record.error.startswith(message) for record in failed)
    assert all(record.last_chunk is None for record in failed)
    assert any(note.startswith(f"4 × {message}") for note in summary.notes())
    assert summary.e2e[0] > 0


def test_a_server_that_counts_nothing() -> None:
    with ChatServer([answer("a", "b", usage=None)] * 2) as server:
        records = play(server.url, at_once(2))
    assert [(r.prompt_tokens, r.output_tokens, r.counted) for r in records] == [
        (None, 2, False)
    ] * 2
    assert "did not count the tokens of 2 answers" in " ".join(summarise(records).notes())


def test_a_server_that_is_gone_ends_the_loop() -> None:
    with ChatServer([]) as server:
        pass
    kept: list[RequestRecord] = []
    with pytest.raises(ServerGoneError, match=r"2\d requests in a row"):
        play(server.url, at_once(1000, gap=0.002), also=kept.append)
    assert 20 <= len(kept) < 1000
    statuses = [record.status for record in kept]
    assert statuses.count("unreached") >= 20
    assert set(statuses) <= {"unreached", "interrupted"}


def test_what_was_in_flight_when_it_was_interrupted_is_kept() -> None:
    kept: list[RequestRecord] = []
    begun = threading.Event()

    def talking(handler: Handler) -> None:
        handler.begin_stream()
        handler.send(delta(content="a"))
        begun.set()
        time.sleep(0.3)
        handler.cut()

    async def run() -> None:
        async with ChatClient(server.url, "m") as client:
            loop = OpenLoop(
                asking(client),
                [*at_once(2), PlannedRequest(60.0, "late", 8)],
                most_in_flight=9,
                on_record=kept.append,
            )
            task = asyncio.create_task(loop.run())
            await asyncio.to_thread(begun.wait, 10.0)
            await asyncio.sleep(0.05)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    with ChatServer([answer("done", usage=(5, 1)), talking]) as server:
        asyncio.run(run())
    assert sorted(record.status for record in kept) == ["interrupted", "ok"]
    (cut,) = [record for record in kept if record.status == "interrupted"]
    assert (cut.chunks, cut.last_chunk) == (1, None)


def test_the_generator_needs_no_server() -> None:
    """Any coroutine that answers will do: a gateway in this process, a stand-in in a test."""
    records: list[RequestRecord] = []

    async def ask(_: PlannedRequest, on_chunk: Callable[[Exchange], object]) -> Exchange:
        exchange = Exchange(sent=time.perf_counter(), moments=[])
        on_chunk(exchange)
        await asyncio.sleep(0.01)
        exchange.moments.append(time.perf_counter())
        exchange.last, exchange.status = exchange.moments[0], "ok"
        exchange.prompt_tokens, exchange.output_tokens, exchange.counted = 3, 1, True
        return exchange

    asyncio.run(OpenLoop(ask, at_once(5), most_in_flight=9, on_record=records.append).run())
    assert summarise(records).statuses == {"ok": 5}
