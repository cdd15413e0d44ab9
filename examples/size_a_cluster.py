"""How many engines does a workload need? A sweep over clusters, a table and a picture.

python examples/size_a_cluster.py                              # Poisson arrivals, 30/s
python examples/size_a_cluster.py --trace azure.csv            # a recorded hour, its own lengths
python examples/size_a_cluster.py --trace azure.csv --rate-scale 8   # eight times as busy
python examples/size_a_cluster.py --engine h100-llama-3.1-8b --ttft 0.5 --tpot 0.03 --goal 0.99

A request is served well if its first token comes in time and the following ones are quick enough.
Every cluster has engines of one kind, each with a queue of its own, and a router sends a request to
the least loaded one as it arrives.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from agents import Scenario, run_experiment
from edgecloud_gym import EngineModel, RequestDataset, load_engine
from edgecloud_gym.arrivals import Trace, read_trace
from edgecloud_gym.nodes import Engine
from edgecloud_gym.processors import available_processors

ROUTER = "join-shortest-queue"
QUEUE = 100_000  # requests that may wait at an engine: more than ever do


def main() -> None:
    """Plays the workload on 1, 2, ... engines until the goal is met."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trace", type=Path, help="requests with times, prompt and answer tokens")
    parser.add_argument("--engine", default="rtxpro6000-llama-3.1-8b", help="bundled name or file")
    parser.add_argument("--rate", type=float, default=30.0, help="without a trace: requests/s")
    parser.add_argument("--duration", type=float, default=300.0, help="without a trace: s")
    parser.add_argument("--rate-scale", type=float, default=1.0, help="speed of the trace")
    parser.add_argument("--ttft", type=float, default=1.0, help="objective: first token (s)")
    parser.add_argument("--tpot", type=float, default=0.04, help="objective: per further token (s)")
    parser.add_argument("--goal", type=float, default=0.99, help="share served well")
    parser.add_argument("--most", type=int, default=8, help="engines, at most")
    parser.add_argument("--output", type=Path, default=Path("results/size_a_cluster"))
    arguments = parser.parse_args()

    engine = load_engine(arguments.engine)
    settings, name = workload(arguments, engine)
    settings["slo"] = {"ttft": arguments.ttft, "tpot": arguments.tpot}
    scenarios = [
        Scenario("EdgeCloud-Cluster-v0", {**settings, "nodes": cluster(engine, count)}, f"{count}")
        for count in range(1, arguments.most + 1)
    ]
    print(f"{name} on engines {engine.name}, {ROUTER}", flush=True)
    result = run_experiment(
        scenarios,
        ROUTER,
        seeds=1,
        output_dir=arguments.output,
        workers=min(available_processors(), len(scenarios)),
        overwrite=True,
    )
    table = result.summary.set_index(result.summary["env"].astype(int).rename("engines"))
    show(table, arguments)
    draw(table, arguments, arguments.output / "size_a_cluster.png")


def workload(arguments: argparse.Namespace, engine: EngineModel) -> tuple[dict[str, object], str]:
    """Returns the settings of a workload, and what it is called."""
    if arguments.trace is None:
        rng = np.random.default_rng(0)
        count = int(arguments.rate * arguments.duration * 2)
        prompts = rng.lognormal(6.3, 1.0, count).clip(1, 4096).astype(int)  # 900 on average
        answers = rng.lognormal(5.0, 0.8, count).clip(1, 1024).astype(int)  # 200 on average
        times = rng.exponential(1 / arguments.rate, count).cumsum()
        name, duration = f"{arguments.rate:g} requests/s", arguments.duration
    else:
        trace = read_trace(arguments.trace)
        prompts, answers = trace.input_tokens, trace.output_tokens
        times = trace.times / arguments.rate_scale
        name = f"{len(times):,} requests of {arguments.trace} in {times[-1]:,.0f} s"
        duration = float(times[-1]) + 1.0
    fits = np.array([engine.fits(int(p), int(o)) for p, o in zip(prompts, answers, strict=True)])
    if not fits.all():
        print(f"{(~fits).sum()} requests are larger than the cache and are left out")
    prompts, answers, times = prompts[fits], np.maximum(answers[fits], 1), times[fits]
    # What each would take alone: its prompt, then its answer token by token.
    alone = [
        engine.step_time(decoding=0, prompt=float(p)) + o * engine.step_time(decoding=1, context=p)
        for p, o in zip(prompts.tolist(), answers.tolist(), strict=True)
    ]
    data = RequestDataset.from_arrays(
        base_latency=np.array(alone), prompt_tokens=prompts, response_tokens=answers
    )
    settings = {
        "dataset": data,
        "observe": "id",
        "prompt_order": "sequential",  # request i has the lengths of row i
        "arrivals": Trace(times),
        "duration": duration,
    }
    return settings, name


def cluster(engine: EngineModel, count: int) -> list[Engine]:
    """Returns so many engines of a kind."""
    return [Engine(f"engine-{number}", model=engine, backlog=QUEUE) for number in range(count)]


def show(table: pd.DataFrame, arguments: argparse.Namespace) -> None:
    """Prints what each cluster achieves, and which is the smallest that will do."""
    shown = pd.DataFrame(
        {
            "served well": table["slo_attainment"].map("{:.1%}".format),
            "goodput 1/s": table["goodput"].map("{:.2f}".format),
            "TTFT p50 s": table["ttft_p50"].map("{:.3g}".format),
            "TTFT p99 s": table["ttft_p99"].map("{:.3g}".format),
            "TPOT p99 ms": (1e3 * table["tpot_p99"]).map("{:.3g}".format),
            "tokens/s": table["output_token_rate"].map("{:,.0f}".format),
        }
    )
    print(shown.to_string())
    enough = table.index[table["slo_attainment"] >= arguments.goal]
    wanted = f"TTFT <= {arguments.ttft:g} s and TPOT <= {1e3 * arguments.tpot:g} ms"
    if len(enough):
        print(f"Enough for {arguments.goal:.0%} served well ({wanted}): {enough[0]}.")
    else:
        print(f"Too few for {arguments.goal:.0%} served well ({wanted}): {arguments.most}.")


def draw(table: pd.DataFrame, arguments: argparse.Namespace, path: Path) -> None:
    """Draws the share served well, and the time to first token, against the number of engines."""
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    left.plot(table.index, table["slo_attainment"], "o-")
    left.axhline(arguments.goal, color="black", linestyle=":", label="goal")
    left.set(ylabel="share served well", ylim=(0, 1.02))
    left.legend()
    for name, style in (("ttft_p50", "o-"), ("ttft_p99", "s--")):
        right.plot(table.index, table[name], style, label=name[-3:])
    right.axhline(arguments.ttft, color="black", linestyle=":", label="objective")
    right.set(ylabel="time to first token (s)", yscale="log")
    right.legend()
    for axes in (left, right):
        axes.set(xlabel="engines", xticks=table.index)
        axes.grid(alpha=0.3)
    figure.savefig(path, dpi=120)
    plt.close(figure)
    print(f"Picture in {path}")


if __name__ == "__main__":
    main()
