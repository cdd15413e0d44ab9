"""Speed and memory of environments and agents, as ratios within one run.

    python -m tests.benchmarks [--rounds 10] [--json FILE] [--history FILE] [single vector ...]

Nothing here is asserted: a busy machine makes every number worse. Compare the ratios. `--json`
writes them to a file, `--history` puts them into a table of ratios by version.
"""

import argparse
import json
import os
import platform
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from edgecloud_gym import __version__
from edgecloud_gym.files import replacing
from tests.benchmarks import agents, engine, overload, paper, process, single, vector, workers
from tests.benchmarks.support import Ratio, dataset


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=10, help="interleaved repetitions")
    parser.add_argument("--json", type=Path, help="file for the ratios to CartPole-v1")
    parser.add_argument("--history", type=Path, help="table to put them into, by version")
    parser.add_argument("--label", default=__version__, help="what the history calls this code")
    parser.add_argument("only", nargs="*", help="which ones; all by default")
    arguments = parser.parse_args()
    rounds = arguments.rounds
    benchmarks: dict[str, Callable[[], list[Ratio] | None]] = {
        "single": lambda: single.report(rounds),
        "vector": lambda: vector.report(rounds),
        "overload": lambda: overload.report(rounds),
        "engine": lambda: engine.report(rounds),
        "agents": lambda: agents.report(min(rounds, 2)),
        "paper": paper.report,
        "workers": lambda: workers.report(min(rounds, 3)),
        "startup": lambda: process.first_step(min(rounds, 3)),
        "memory": process.peak_memory,
    }
    unknown = set(arguments.only) - set(benchmarks)
    if unknown:
        parser.error(f"no benchmark {', '.join(sorted(unknown))}: choose from {list(benchmarks)}")
    machine = f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores"
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    print(f"{machine}, load {load};")
    print(f"Python {platform.python_version()}; {dataset()}")
    ratios = [r for name in arguments.only or benchmarks for r in benchmarks[name]() or []]
    if arguments.json:
        write_json(arguments.json, ratios, f"{machine}, load {load}")
    if arguments.history:
        add_to_history(arguments.history, ratios, arguments.label)


def write_json(path: Path, ratios: list[Ratio], machine: str) -> None:
    measured = [
        {"name": r.name, "rate": r.rate, "cartpole": r.cartpole, "ratio": r.ratio, "goal": r.goal}
        for r in ratios
    ]
    about = {"version": __version__, "python": platform.python_version(), "machine": machine}
    with replacing(path) as temporary:
        temporary.write_text(json.dumps({**about, "ratios": measured}, indent=2) + "\n")


def add_to_history(path: Path, ratios: list[Ratio], label: str) -> None:
    """Replaces what the table has of this code; `name,goal`, then a column for each."""
    known = pd.read_csv(path, index_col="name") if path.exists() else pd.DataFrame()
    for r in ratios:
        known.loc[r.name, "goal"] = r.goal
        known.loc[r.name, label] = round(r.ratio, 4)
    known.index.name = "name"
    with replacing(path) as temporary:
        known.to_csv(temporary, float_format="%.4g")
    print(f"\n{path}: {label}, {datetime.now(UTC):%Y-%m-%d}")


if __name__ == "__main__":
    main()
