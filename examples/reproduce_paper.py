"""Play the paper's main experiment; count as its code does, and with nothing left out.

python examples/reproduce_paper.py                    # ten epochs of 7200 s in three simulators
python examples/reproduce_paper.py --duration 600 --seeds 1
python examples/reproduce_paper.py --env EdgeCloud-Static-v0 --arrival-rate 1.5 --dataset mine.jsonl

More requests arrive than the system can serve, and the episode ends with many of them unfinished.
The mean over completed requests alone, which the paper's code reports, forgets those: it flatters
whoever postpones the long ones. Counting the unfinished at their age gives a lower bound for all.

`edgecloud reproduce-paper` does the same with progress, an estimate of the time and a picture.
"""

import argparse
from pathlib import Path

from agents import run_experiment
from agents.experiments.paper import AGENTS, ARRIVAL_RATE, DURATION, EDGES, EPOCHS, scenarios
from agents.report.paper import lines_of, paper_table
from edgecloud_gym.processors import available_processors


def main() -> None:
    """Runs the nine schedulers and prints both counts side by side."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--env", choices=EDGES, action="append", help="repeat; all by default")
    parser.add_argument("--dataset", default="smollm2-135m", help="bundled name or file")
    parser.add_argument("--arrival-rate", type=float, default=ARRIVAL_RATE, help="requests/s")
    parser.add_argument(
        "--duration", type=float, default=DURATION, help="the episode ends then (s)"
    )
    parser.add_argument("--seeds", type=int, default=EPOCHS, help="episodes per scheduler")
    parser.add_argument("--output", type=Path, default=Path("results/reproduce_paper"))
    arguments = parser.parse_args()

    systems = scenarios(
        arguments.env or list(EDGES),
        dataset=arguments.dataset,
        arrival_rate=arguments.arrival_rate,
        duration=arguments.duration,
    )
    print_header(systems[0], arguments.arrival_rate, arguments.duration)
    result = run_experiment(
        systems, AGENTS, arguments.seeds, {}, arguments.output, workers=available_processors()
    )
    for line in lines_of(paper_table(result.summary)):
        print(line)
    print(f"\nResults in {arguments.output}")


def print_header(system, rate, duration):
    """Says what is played, and what load it is with the given dataset."""
    env = system.make().unwrapped
    workload = env.simulator.workload
    print(
        f"{rate:g} requests/s for {duration:g} s, no drain; 8 cloud slots, cloud time x 1.0 + "
        "0.05 s.\n"
        f"Dataset {env.dataset.name} ({len(env.dataset)} prompts, mean latency "
        f"{workload.mean_latency:.2f} s) is not the paper's:\n"
        f"on it the capacity of {system.label} is {workload.capacity:.2f} requests/s, "
        f"so that the load is {rate / workload.capacity:.2f}."
    )


if __name__ == "__main__":  # worker processes import this file
    main()
