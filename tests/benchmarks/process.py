"""What a fresh process pays: time to the first step, and memory of 1,024 lanes."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from edgecloud_gym import CLUSTER_ID, ENV_IDS
from tests.benchmarks.support import print_table

FIRST_STEP = """
import time
started = time.perf_counter()
import gymnasium, edgecloud_gym
imported = time.perf_counter()
from tests.benchmarks.support import dataset
data = dataset()
env = gymnasium.make({env_id!r}, dataset=data)
env.reset(seed=0)
env.step(env.action_space.sample())
print(imported - started, time.perf_counter() - imported)
"""

PEAK_MEMORY = """
from pathlib import Path
import gymnasium, edgecloud_gym
from tests.benchmarks.support import dataset
env = gymnasium.make_vec({env_id!r}, 1024, dataset=dataset(), observe="id")
env.reset(seed=0)
for _ in range(300):
    env.step(env.action_space.sample())
status = Path("/proc/self/status").read_text()
print(status.partition("VmHWM:")[2].split()[0])
"""


def run(script: str, **environment: str) -> list[float]:
    """Runs a script in a process of its own; returns the numbers that it prints."""
    command = [sys.executable, "-c", script]
    output = subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, check=True
    )
    return [float(number) for number in output.stdout.split()]


def first_step(rounds: int) -> None:
    """Time of the first make, reset and step, the dataset included."""
    rows = []
    for env_id in (*ENV_IDS, CLUSTER_ID):
        script = FIRST_STEP.format(env_id=env_id)
        with tempfile.TemporaryDirectory() as cache:
            _, cold = run(script, NUMBA_CACHE_DIR=cache)
            warm = [run(script, NUMBA_CACHE_DIR=cache) for _ in range(rounds)]
        imports, first = (min(column) for column in zip(*warm, strict=True))
        rows.append((env_id, f"{imports:.2f}", f"{cold:.1f}", f"{first:.2f}"))
    rows.append(("goal", "< 1", "< 20", "< 1.5"))
    print_table(
        "First make + reset + step in a fresh process (s)",
        ("", "import", "empty compile cache", "warm"),
        rows,
    )


def peak_memory() -> None:
    """Peak resident memory with ids; Linux tells it."""
    if not Path("/proc/self/status").exists():
        return
    rows = []
    for env_id in (*ENV_IDS, CLUSTER_ID):
        (kilobytes,) = run(PEAK_MEMORY.format(env_id=env_id))
        rows.append((env_id, f"{kilobytes / 1024:.0f}"))
    rows.append(("goal", "< 1000"))
    print_table("Peak memory of a process with 1,024 lanes, ids (MB)", ("", "resident"), rows)
