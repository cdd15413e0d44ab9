"""Speed and memory of the environments, as ratios within one run.

    python -m tests.benchmarks [--rounds 10] [single vector overload engine agents startup memory]

Nothing here is asserted: a busy machine makes every number worse. Compare the ratios.
"""

import argparse
import os
import platform
from collections.abc import Callable

from tests.benchmarks import agents, engine, overload, process, single, vector
from tests.benchmarks.support import dataset


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=10, help="interleaved repetitions")
    parser.add_argument("only", nargs="*", help="which ones; all by default")
    arguments = parser.parse_args()
    rounds = arguments.rounds
    benchmarks: dict[str, Callable[[], None]] = {
        "single": lambda: single.report(rounds),
        "vector": lambda: vector.report(rounds),
        "overload": lambda: overload.report(rounds),
        "engine": lambda: engine.report(rounds),
        "agents": lambda: agents.report(min(rounds, 2)),
        "startup": lambda: process.first_step(min(rounds, 3)),
        "memory": process.peak_memory,
    }
    unknown = set(arguments.only) - set(benchmarks)
    if unknown:
        parser.error(f"no benchmark {', '.join(sorted(unknown))}: choose from {list(benchmarks)}")
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, load {load};")
    print(f"Python {platform.python_version()}; {dataset()}")
    for name in arguments.only or benchmarks:
        benchmarks[name]()


if __name__ == "__main__":
    main()
