"""What a second process brings: the same runs of an experiment with one and with two."""

import tempfile
import time

from agents.experiments.experiment import run_experiment
from agents.experiments.paper import scenarios
from tests.benchmarks.support import dataset, print_table

AGENTS = ("cn-greedy", "c2ucb")  # long runs of about equal length, which two can share
SEEDS = 4
DURATION = 7200.0  # s: some 4 s of computing
GOAL = 1.8


def seconds(workers: int) -> float:
    """Plays all runs; returns the time without what the start of the processes takes."""
    took = []
    for duration in (10.0, DURATION):
        system = scenarios(("EdgeCloud-Static-v0",), dataset=dataset(), duration=duration)
        with tempfile.TemporaryDirectory() as folder:
            started = time.perf_counter()
            run_experiment(system, AGENTS, SEEDS, {}, folder, workers=workers)
            took.append(time.perf_counter() - started)
    return took[1] - took[0]


def report(rounds: int) -> None:
    """Measures in turns; each number of processes at its best."""
    alone, together = map(min, zip(*((seconds(1), seconds(2)) for _ in range(rounds)), strict=True))
    print_table(
        f"{SEEDS} seeds of {' and '.join(AGENTS)} ({DURATION:g} s each, {rounds} rounds)",
        ("", "", "goal"),
        [("two processes beside one", f"{alone / together:.2f}", f">= {GOAL:g}")],
    )
