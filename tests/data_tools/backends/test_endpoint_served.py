"""The endpoint profiler against a server that is not ours: `transformers serve` on loopback."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from transformers.utils.import_utils import is_serve_available

from data_tools.backends.endpoint import EndpointBackend
from data_tools.backends.local import LocalBackend
from data_tools.backends.models import load_model
from data_tools.profiling.profiler import profile_backend

PROMPTS = ["list one cat", "explain the sea", "write two", "one dog in the sea", "three", "a cat"]
START_LIMIT = 120.0  # s

pytestmark = pytest.mark.skipif(
    not is_serve_available(), reason="transformers serve needs transformers[serving]"
)


@contextmanager
def served(model: Path, port: int, *more: str) -> Iterator[subprocess.Popen[bytes]]:
    """Runs `transformers serve` until the block ends."""
    program = [sys.executable, "-m", "transformers.cli.transformers"]  # layers have no scripts
    options = ["--host", "127.0.0.1", "--port", str(port), "--device", "cpu"]
    server = subprocess.Popen(
        [*program, "serve", model, *options, *more],
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + START_LIMIT
        while not _listens(port):
            assert server.poll() is None, "the server ended by itself"
            assert time.monotonic() < deadline, "the server did not start"
            time.sleep(0.2)
        yield server
    finally:
        server.kill()
        server.wait()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def port() -> int:
    return free_port()


def test_the_same_rows_as_here(tiny_model: Path, port: int, tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{port}"
    with (
        served(tiny_model, port),
        EndpointBackend(url, str(tiny_model), max_new_tokens=8, name="tiny") as backend,
    ):
        path = profile_backend(backend, PROMPTS, tmp_path, show_progress=False)

    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert [row["request_text"] for row in rows] == PROMPTS
    assert {row["error"] for row in rows} == {None}
    local = LocalBackend("tiny", load_model(str(tiny_model), device="cpu"), max_new_tokens=8)
    for row in rows:
        expected = local.measure(row["request_text"])
        assert row["response_text"].split() == str(expected.response_text).split()
        assert row["input_token_count"] == expected.input_token_count
        assert row["output_token_count"] == expected.output_token_count
        if row["output_token_count"] < 8:  # this server calls an end at the very limit "length"
            assert row["finish_reason"] == expected.finish_reason == "eos"
        assert 0 < row["time_to_first_token"] <= row["inference_time"]
