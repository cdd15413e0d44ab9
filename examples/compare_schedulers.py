"""Compare schedulers under static batching, changing arrivals and continuous batching.

python examples/compare_schedulers.py                        # 7200 s, five epochs: some minutes
python examples/compare_schedulers.py --duration 600 --epochs 2
python examples/compare_schedulers.py --agents fcfs,c2ucb,cn-ducb,sjf-oracle --dataset mine.jsonl
"""

import argparse
from pathlib import Path

from agents import run_experiment
from agents.statistics import compare_agents
from edgecloud_gym.processors import available_processors

EXPERIMENTS = {
    "static": "EdgeCloud-Static-v0",
    "time series": "EdgeCloud-TimeSeries-v0",
    "continuous": "EdgeCloud-Continuous-v0",
}


def main() -> None:
    """Runs the three experiments and prints a table of each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--agents", default="fcfs,round-robin,least-connections,sjf-oracle")
    parser.add_argument("--dataset", default="smollm2-135m", help="bundled name or file")
    parser.add_argument("--duration", type=float, default=7200.0, help="arrivals stop then (s)")
    parser.add_argument("--epochs", type=int, default=5, help="episodes per agent, one seed each")
    parser.add_argument("--output", type=Path, default=Path("results/compare_schedulers"))
    arguments = parser.parse_args()

    for title, env_id in EXPERIMENTS.items():
        result = run_experiment(
            env_id,
            agents=arguments.agents.split(","),
            seeds=arguments.epochs,
            env_kwargs={"dataset": arguments.dataset, "duration": arguments.duration},
            output_dir=arguments.output / title.replace(" ", "_"),
            workers=available_processors(),
        )
        # Three CSVs lie in the folder now; the summary is at hand as a DataFrame, too.
        table = compare_agents(result.summary, metric="jct_mean", baseline="fcfs")
        print(f"\n{title}: mean JCT (s), 95 % interval, paired difference from fcfs")
        print(table.drop(columns="env").round(3).to_string(index=False, na_rep="-"))


if __name__ == "__main__":  # worker processes import this file
    main()
