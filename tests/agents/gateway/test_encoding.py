"""An encoder in a process of its own: the same vectors, and what happens when it fails."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from threadpoolctl import threadpool_info

from agents.gateway.encoding import Encoder, EncoderGoneError, EncoderProcess


def lengths(prompts: Sequence[str]) -> NDArray[np.float32]:
    if "bad" in prompts:
        raise ValueError("a bad prompt")
    return np.array([[len(prompt), os.getpid()] for prompt in prompts], np.float32)


def make_lengths() -> Encoder:
    return lengths


def make_none() -> Encoder:
    raise FileNotFoundError("no such model")


def threads_and_niceness(_: Sequence[str]) -> NDArray[np.float32]:
    blas = max(info["num_threads"] for info in threadpool_info() if info["user_api"] == "blas")
    return np.array([[blas, os.nice(0)]], np.float32)


def make_threads() -> Encoder:
    return threads_and_niceness


@pytest.fixture
def encoder() -> Iterator[EncoderProcess]:
    with EncoderProcess(make_lengths) as made:
        yield made
    assert not multiprocessing.active_children()


def test_vectors_come_from_another_process(encoder: EncoderProcess) -> None:
    found = encoder(["a", "bcd"])
    assert found.dtype == np.float32
    assert found[:, 0].tolist() == [1, 3]
    assert found[0, 1] == found[1, 1] != os.getpid()


def test_an_error_is_raised_here_and_the_process_stays(encoder: EncoderProcess) -> None:
    before = encoder(["a"])
    with pytest.raises(ValueError, match="a bad prompt"):
        encoder(["bad"])
    np.testing.assert_array_equal(encoder(["a"]), before)


def test_a_process_that_is_killed_is_replaced_and_nobody_waits_for_it(
    encoder: EncoderProcess,
) -> None:
    ended = int(encoder(["a"])[0, 1])
    os.kill(ended, signal.SIGKILL)
    with pytest.raises(EncoderGoneError, match="has ended with -9; another one is started"):
        encoder(["a"])
    with pytest.raises(EncoderGoneError, match="still starts"):
        encoder(["a"])
    deadline = time.monotonic() + 20.0
    found = None
    while found is None:
        assert time.monotonic() < deadline
        time.sleep(0.02)
        with suppress(EncoderGoneError):
            found = encoder(["ab"])
    assert found[0, 0] == 2
    assert found[0, 1] != ended


def test_a_process_that_hangs_is_replaced(
    encoder: EncoderProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agents.gateway.encoding._PATIENCE", 0.2)
    os.kill(int(encoder(["a"])[0, 1]), signal.SIGSTOP)
    with pytest.raises(EncoderGoneError, match=r"gave nothing for 0\.2 s; another one is started"):
        encoder(["a"])


def test_what_keeps_an_encoder_from_being_made_is_raised() -> None:
    with pytest.raises(FileNotFoundError, match="no such model"):
        EncoderProcess(make_none)
    assert not multiprocessing.active_children()


def test_it_has_one_thread_and_yields_to_others() -> None:
    with EncoderProcess(make_threads) as made:
        assert made([""]).tolist() == [[1, min(os.nice(0) + 10, 19)]]


def test_it_ends_with_who_started_it() -> None:
    code = """
import os
from agents.gateway.encoding import EncoderProcess
from tests.agents.gateway.test_encoding import make_lengths
if __name__ == "__main__":
    print(int(EncoderProcess(make_lengths)(["a"])[0, 1]), flush=True)
    os._exit(0)
"""
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    deadline = time.monotonic() + 10.0
    while _exists(int(told.stdout)):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _exists(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False
