"""Fresh processes at the price of a fork: what takes long to import is imported once, by a server.

A process has imported nothing of a test's own files, as one that was started anew.
"""

import multiprocessing
import os
import runpy
import sys
import time
from contextlib import redirect_stdout
from io import StringIO
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from agents import Agent, run_experiment
from edgecloud_gym import RequestDataset

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload([__name__, "tests.agents.experiments.warmed"])


def run_script(folder: Path) -> str:
    """Runs the script of a folder from there, in a process of its own; returns what it prints."""
    ours, theirs = CONTEXT.Pipe(duplex=False)
    process = CONTEXT.Process(target=_run, args=(folder, theirs))
    process.start()
    theirs.close()
    try:
        printed: str = ours.recv()
    except EOFError:
        raise AssertionError("the script failed: its traceback is above") from None
    finally:
        process.join()
        ours.close()
    return printed


def _run(folder: Path, pipe: Connection) -> None:
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    sys.dont_write_bytecode = True  # a file is changed within a second of its last change
    with redirect_stdout(StringIO()) as printed:
        runpy.run_path("script.py", run_name="__main__")
    pipe.send(printed.getvalue())


class Slow(Agent):
    """Takes long enough to be killed meanwhile."""

    name = "slow"

    def reset(self, env: Any, seed: int) -> None:
        super().reset(env, seed)
        time.sleep(0.2)

    def act(self, observation: Any, info: Any, explore: bool = True) -> Any:
        del observation, info, explore
        return np.full(self.env.config.candidate_pool_size, 1)


def play_slowly(folder: Path, shard: str | None = None) -> int:
    """Plays an experiment of 16 runs, or a part of it; returns how many are still to be played."""
    data = RequestDataset.from_arrays(base_latency=np.ones(9))
    settings = {"dataset": data, "observe": "id", "duration": 20.0}
    agents: list[Any] = ["fcfs", Slow]
    return run_experiment("EdgeCloud-Static-v0", agents, 8, settings, folder, shard=shard).missing


def start_slowly(folder: Path, shard: str) -> Any:
    """Starts a process that does so."""
    process = CONTEXT.Process(target=play_slowly, args=(folder, shard))
    process.start()
    return process
