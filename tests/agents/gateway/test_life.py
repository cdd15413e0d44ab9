"""The gateway from its start to its end."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import httpx2
import numpy as np
import pytest
from numpy.typing import NDArray

from agents.gateway.api.serving import make_server, serving
from agents.gateway.limits import Limits
from agents.gateway.prompts import Embeddings
from agents.registry import make_agent
from tests.agents.gateway.support import (
    CHAT,
    encode,
    error,
    events,
    make_gateway,
    question,
    run,
    running,
    started,
)


@pytest.mark.parametrize(
    ("name", "learns"), [("c2ucb", "ridge_sum"), ("warm-linear", "information")]
)
def test_what_was_learnt_is_saved_now_and_then_and_at_the_end(
    name: str, learns: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agents.gateway.gateway._SAVE_EVERY", 0.05)
    path = tmp_path / "agent.npz"

    async def test() -> None:
        async with started(1) as servers:
            gateway = make_gateway(servers, name)
            agent = gateway.process.player.agent
            gateway._save = lambda: agent.save(path)
            async with running(gateway) as client:
                for k in range(4):
                    await client.post(CHAT, json=question(f"Question {k}"))
                await asyncio.sleep(0.2)
                assert path.exists()
                path.unlink()
                await asyncio.sleep(0.2)
                assert path.exists()
                await client.post(CHAT, json=question("Another question"))
                await client.post(CHAT, json=question("And another one"))
            learnt = make_agent(name)
            learnt.load(path)
            assert learnt.state().keys() == agent.state().keys()
            for key, value in agent.state().items():
                np.testing.assert_array_equal(learnt.state()[key], value)
            assert learnt.state()[learns].any()

    run(test)


@pytest.fixture
def _signals_told_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    # What uvicorn has been told it raises again in the end, and that would end the tests.
    monkeypatch.setattr("uvicorn.Server.capture_signals", lambda _: nullcontext())


@pytest.mark.usefixtures("_signals_told_by_hand")
def test_it_can_be_ended_while_no_server_answers() -> None:
    async def test() -> None:
        async with started(1) as servers:
            gateway = make_gateway(servers)
            await servers[0].stop()
            server = make_server(gateway, "127.0.0.1", 0)
            waiting = asyncio.create_task(server.serve())
            await asyncio.sleep(0.3)
            assert not waiting.done()
            server.handle_exit(signal.SIGTERM, None)
            await asyncio.wait_for(waiting, 3)

    run(test)


@pytest.mark.usefixtures("_signals_told_by_hand")
def test_a_second_signal_ends_it_at_once_but_saves() -> None:
    saved: list[bool] = []

    async def test() -> None:
        async with started(1, tokens=25, pause=0.2) as servers:
            gateway = make_gateway(servers, save=lambda: saved.append(True))
            server = make_server(gateway, "127.0.0.1", 0)
            async with (
                httpx2.AsyncClient(timeout=60, trust_env=False) as client,
                serving(server) as url,
            ):
                asked = asyncio.create_task(client.post(url + CHAT, json=question()))
                await asyncio.sleep(0.4)
                server.handle_exit(signal.SIGINT, None)
                await asyncio.sleep(0.2)
                assert not asked.done()
                server.handle_exit(signal.SIGINT, None)
                answer = await asyncio.wait_for(asked, 2)
                assert not saved
            assert b'"content": "w0 "' in answer.content
            assert b"shutting down" in answer.content
            assert saved

    run(test)


@pytest.mark.usefixtures("_signals_told_by_hand")
@pytest.mark.parametrize("asked", [True, False])
def test_two_signals_in_a_row_lose_nothing_and_nothing_learnt_is_not_saved(asked: bool) -> None:
    saved: list[bool] = []

    async def test() -> None:
        async with started(1) as servers:
            gateway = make_gateway(servers, save=lambda: saved.append(True))
            server = make_server(gateway, "127.0.0.1", 0)
            async with (
                httpx2.AsyncClient(timeout=60, trust_env=False) as client,
                serving(server) as url,
            ):
                if asked:
                    await client.post(url + CHAT, json=question())
                server.handle_exit(signal.SIGINT, None)
                server.handle_exit(signal.SIGINT, None)

    run(test)
    assert bool(saved) is asked


def test_requests_whose_prompt_is_being_embedded_are_in_the_queue_and_are_drained() -> None:
    def embed(prompts: Sequence[str]) -> NDArray[np.float32]:
        time.sleep(0.5)
        return encode(prompts)

    async def test() -> None:
        async with started(1) as servers:
            gateway = make_gateway(servers, "predicted-sjf", limits=Limits(queue=2, drain_time=5))
            gateway._embeddings = Embeddings(embed)
            async with running(gateway) as client:
                asked = [
                    asyncio.create_task(client.post(CHAT, json=question(f"Question {k}")))
                    for k in range(4)
                ]
                await asyncio.sleep(0.2)
                assert gateway.health()["waiting"] == 2
            codes = sorted(answer.status_code for answer in await asyncio.gather(*asked))
            assert codes == [200, 200, 429, 429]

    run(test)


@pytest.mark.parametrize("drain", [5.0, 0.2])
def test_shutdown_waits_for_answers_but_not_for_ever(drain: float) -> None:
    async def test() -> None:
        async with started(1, pause=0.2) as servers:
            gateway = make_gateway(servers, limits=Limits(drain_time=drain))
            nodes = gateway.servers[0].spec.node.services
            async with running(gateway) as client:
                asked = [
                    asyncio.create_task(client.post(CHAT, json=question()))
                    for _ in range(nodes + 1)
                ]
                await asyncio.sleep(0.5)
            answers = await asyncio.gather(*asked)
        texts = [a.content for a in answers]
        if drain == 5.0:
            assert texts == [b"".join(events(5))] * len(texts)
            return
        assert answers[-1].status_code == 503  # it waited
        assert "shutting down" in error(answers[-1])["message"]
        for text in texts[:-1]:
            assert b'"content": "w0 "' in text
            assert b"shutting down" in text

    run(test)


def test_the_gateway_begins_when_a_server_answers(caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        async with started(2) as servers:
            gateway = make_gateway(servers)
            for server in servers:
                await server.stop()

            async def revive() -> None:
                await asyncio.sleep(0.3)
                await servers[1].start()

            reviving = asyncio.create_task(revive())
            async with running(gateway) as client:
                assert reviving.done()
                response = await client.post(CHAT, json=question())
                assert response.headers["x-edgecloud-node"] == "n1"

    run(test)
    assert "no server answers" in caplog.text
    assert "n0 cannot be reached" in caplog.text


def test_an_agent_that_raises_is_stood_in_for(caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        async with started(2) as servers:
            gateway = make_gateway(servers)

            def act(*_: object) -> None:
                raise ZeroDivisionError("no")

            gateway.process.player.agent.act = act  # type: ignore[method-assign, assignment]
            async with running(gateway) as client:
                for _ in range(3):
                    assert (await client.post(CHAT, json=question())).status_code == 200
                text = (await client.get("/metrics")).text
                assert "edgecloud_agent_faults_total 3.0" in text

    run(test)
    said = [r for r in caplog.records if "join-shortest-queue decides instead" in r.getMessage()]
    assert len(said) == 1


@pytest.mark.parametrize("what", ["decides", "looks after servers"])
def test_a_defect_ends_the_gateway_and_leaves_nobody_waiting(
    what: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def test() -> None:
        async with started(1) as servers:
            gateway = make_gateway(servers)

            def decide(_: object) -> None:
                raise ZeroDivisionError("ours")

            async def look_after() -> None:
                servers[0].hangs = True
                if gateway.servers[0].open and servers[0].asked:
                    raise ZeroDivisionError("ours")
                gateway.servers[0].open = True

            if what == "decides":
                gateway.process.decide = decide  # type: ignore[method-assign, assignment]
            else:
                gateway.servers[0].look_after = look_after  # type: ignore[method-assign]
            async with running(gateway) as client:
                response = await client.post(CHAT, json=question())
                assert response.status_code == 503
            assert isinstance(gateway.failure, ZeroDivisionError)

    run(test)
    assert "has failed, the gateway ends" in caplog.text


@pytest.mark.parametrize("fails", ["saving", "recording"])
def test_requests_do_not_suffer_from_a_full_disk(
    fails: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("agents.gateway.gateway._SAVE_EVERY", 0.05)

    def write(*_: object) -> None:
        raise OSError(28, "No space left on device")

    async def test() -> None:
        async with started(1) as servers:
            gateway = make_gateway(servers, record=tmp_path / "log")
            if fails == "saving":
                gateway._save = write
            else:
                for watcher in gateway._watchers:
                    monkeypatch.setattr(watcher, "on_round", write)
            async with running(gateway) as client:
                for _ in range(3):
                    assert (await client.post(CHAT, json=question())).status_code == 200
                    await asyncio.sleep(0.1)
            assert gateway.failure is None
            assert not servers[0].connections

    run(test)
    assert "No space left on device" in caplog.text
