"""The paper's experiment in small: what its whole would take, with one process and with two."""

import tempfile
import time

from agents.experiments.experiment import run_experiment
from agents.experiments.paper import AGENTS, DURATION, EPOCHS, scenarios
from edgecloud_gym import ENV_IDS
from tests.benchmarks.support import dataset, print_table

SHARE = 4  # of the duration is played
GOALS = (300.0, 1.8)  # s on two processes; two processes beside one


def seconds(workers: int) -> tuple[float, float]:
    """Plays an epoch of a fraction of the duration in each simulator; returns the time it takes.

    The second number is what the start of the processes took, which is the same however long
    they play.
    """
    took = []
    for duration in (10.0, DURATION / SHARE):
        systems = scenarios(ENV_IDS, dataset=dataset(), duration=duration)
        with tempfile.TemporaryDirectory() as folder:
            started = time.perf_counter()
            run_experiment(systems, AGENTS, 1, {}, folder, workers=workers)
            took.append(time.perf_counter() - started)
    return took[1] - took[0], took[0]


def report() -> None:
    alone, _ = seconds(1)
    together, start = seconds(2)
    whole = start + together * SHARE * EPOCHS
    rows = [
        ("whole, two processes (s)", f"{whole:.0f}", f"< {GOALS[0]:g}"),
        ("two processes beside one", f"{alone / together:.2f}", f">= {GOALS[1]:g}"),
    ]
    print_table(
        f"The paper's experiment (nine schedulers, three simulators, ten epochs of {DURATION:g} s; "
        f"reckoned from one epoch of {DURATION / SHARE:g} s)",
        ("", "", "goal"),
        rows,
    )
