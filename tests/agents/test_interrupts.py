"""Ctrl-C while a process starts."""

import signal
import subprocess
import sys

import pytest

from agents.interrupts import blocked_in_children

_SLEEPS = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(0.4)"]


@pytest.mark.parametrize("at_once", [True, False])
def test_children_do_not_hear_of_it(at_once: bool) -> None:
    with blocked_in_children():
        process = subprocess.Popen(_SLEEPS, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if not at_once:
        assert process.stdout is not None
        process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=20)
    assert process.returncode == 0
    assert told == b""


def test_this_process_hears_of_it_again() -> None:
    with pytest.raises(KeyboardInterrupt), blocked_in_children():
        signal.raise_signal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
