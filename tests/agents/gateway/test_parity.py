"""What was decided live is decided again from what was recorded (INV-58), and simulated."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from agents.gateway.records.parity import check_parity
from agents.gateway.records.reading import read_record, recorded_nodes
from agents.gateway.records.recorder import ROUNDS
from agents.prediction import predictor_for
from data_tools.calibration.logs import read_log
from edgecloud_gym.arrivals import read_trace
from edgecloud_gym.dataset import load_dataset
from edgecloud_gym.files import UnreadableFileError
from edgecloud_gym.nodes import Slots
from tests.agents.cli.conftest import invoke
from tests.agents.gateway.support import CHAT, engine, make_gateway, question, run, running, started

NODES = [engine("a", sequences=2), engine("b", backlog=2, kv_tokens=512), Slots("c", slots=2)]


USAGE = {"prompt_tokens": 9, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 6}}


def with_usage(number: int, event: bytes) -> bytes:
    """Before the end of its stream the server says what it found in its cache."""
    del number
    told = f"data: {json.dumps({'choices': [], 'usage': USAGE})}\n\n".encode()
    return told + event if b"[DONE]" in event else event


def live_run(folder: Path, agent: str, shadow: str | None = None, requests: int = 60) -> int:
    """Records a run in which a server dies and comes back, and a client goes away.

    Returns how many requests were answered to their end.
    """
    completed = 0

    async def test() -> None:
        nonlocal completed
        async with started(3, pause=0.004) as servers:
            servers[0].event = with_usage  # type: ignore[method-assign]
            gateway = make_gateway(servers, agent, nodes=NODES, record=folder, shadow=shadow)
            async with running(gateway) as client:
                asked = []
                for k in range(requests):
                    text = "word " * (1 + k * 7 % 40) + str(k)
                    asked.append(asyncio.create_task(client.post(CHAT, json=question(text))))
                    await asyncio.sleep(0.003)
                    if k == requests // 3:
                        await servers[1].stop()
                        asked[-1].cancel()
                    if k == requests // 2:
                        await servers[1].start()
                answers = await asyncio.gather(*asked, return_exceptions=True)
            ends = [a for a in answers if not isinstance(a, BaseException)]
            assert len(ends) == requests - 1
            assert {a.status_code for a in ends} == {200}
            completed = sum(b"[DONE]" in a.content for a in ends)

    run(test)
    return completed


@pytest.mark.parametrize(
    "agent",
    [
        "fcfs",
        "join-shortest-queue",
        "power-of-two",
        "least-kv",
        "historical-lrt",
        "c2ucb",
        "warm-linear",
        "predicted-sjf",
        "ppo",
    ],
)
def test_a_recorded_run_is_decided_alike(agent: str, tmp_path: Path) -> None:
    live_run(tmp_path / "log", agent)
    parity = check_parity(tmp_path / "log")
    assert parity.differences == ()
    assert parity.decisions >= 10  # fewer where a slow machine lets more requests wait together
    if agent == "predicted-sjf":  # a simulation of it predicts by what it predicted by, too
        recorded = read_record(tmp_path / "log").dataset
        assert predictor_for(recorded) is predictor_for(load_dataset("smollm2-135m"))


def test_another_decision_is_noticed(tmp_path: Path) -> None:
    live_run(tmp_path / "log", "fcfs", requests=20)
    path = tmp_path / "log" / ROUNDS
    lines = path.read_text().splitlines()
    # As if a node had been closed in one round.
    index = next(k for k, line in enumerate(lines) if '"actions":[[' in line)
    lines[index] = lines[index].replace('"closed":[0,', '"closed":[2,')
    path.write_text("\n".join(lines) + "\n")
    assert check_parity(tmp_path / "log").differences


def test_a_record_is_a_log_a_trace_and_a_workload(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    completed = live_run(folder, "join-shortest-queue", shadow="fcfs", requests=30)
    assert len(read_log(folder / "requests.csv")) == completed >= 20
    trace = read_trace(folder / "requests.csv")
    assert trace.format == "edgecloud"
    left = len(trace) - completed  # a client may have left before its request was there
    assert 29 <= len(trace) <= 30
    record = read_record(folder)
    assert (len(record.requests), record.left_out) == (completed, left)
    assert (record.dataset.response_tokens == 5).all()
    assert recorded_nodes(folder) == NODES
    cached = record.dataset.cached_tokens
    assert cached is not None
    told = (record.requests["node"] == "a").to_numpy()
    assert 0 < told.sum() < len(told)
    np.testing.assert_array_equal(cached, np.where(told, 6, -1))  # the others do not say
    np.testing.assert_array_equal(read_log(folder / "requests.csv").cached, cached)
    assert '"shadow":' in (folder / ROUNDS).read_text()

    shown = invoke(
        "replay", str(folder), "--agents", "join-shortest-queue,fcfs", "--workers", "1",
        "--output", str(tmp_path / "replayed"),
    )  # fmt: skip
    assert f"{completed} requests, {left} that were not completed" in shown.output
    assert "Measured live, join-shortest-queue:" in shown.output
    assert "; simulated" in shown.output

    table = pd.read_csv(folder / "requests.csv")
    row = int(table.index[table["outcome"] == "completed"][3])
    named = rf"requests\.csv, line {row + 2}\b.*cached"
    for wrong in (-5, 1.5, 9999, "many"):
        broken = table.astype({"cached_tokens": object})
        broken.loc[row, "cached_tokens"] = wrong
        broken.to_csv(folder / "requests.csv", index=False)
        for read in (lambda: read_record(folder), lambda: read_log(folder / "requests.csv")):
            with pytest.raises(UnreadableFileError, match=named):
                read()

    older = table.drop(columns="cached_tokens")
    older.to_csv(folder / "requests.csv", index=False)
    assert read_record(folder).dataset.cached_tokens is None


def test_a_record_needs_a_folder_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "something").write_text("")

    async def test() -> None:
        async with started(1) as servers:
            with pytest.raises(FileExistsError, match="is not empty"):
                make_gateway(servers, record=tmp_path)

    run(test)
