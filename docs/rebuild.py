"""Runs the experiments behind the site and the README, and writes their summaries to docs/data/.

python docs/rebuild.py                         # everything: under an hour on two cores
python docs/rebuild.py schedulers predictor     # some steps
python docs/rebuild.py --list
python docs/rebuild.py --summarise learning    # play nothing, read results/docs/learning as it is
python docs/rebuild.py --readme                # only copy the main table into README.md

Experiments go on where they were interrupted: finished runs are kept in results/docs/. The
summaries are committed, and every number on the pages of results and validation is read from them.
"""

import argparse
import json
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import boost_runs
import numpy as np
import pandas as pd
import protocol_tables
import validation_runs

from agents import Scenario, run_experiment
from agents.experiments.design.spec import AgentSpec
from agents.experiments.play import ExperimentProgress
from agents.prediction import load_predictor
from agents.prediction.scoring import ceiling, measurement_variance, score
from agents.report.paper import paper_table
from agents.report.results import read_results
from agents.statistics import ORACLE, ORACLES, compare_agents, regret_over_time
from agents.suite.definition import Cell, load_suite
from agents.suite.entrants import Stable
from agents.suite.playing import play_suite
from edgecloud_gym import ENV_IDS, load_dataset
from edgecloud_gym.dataset.files import locate
from edgecloud_gym.processors import available_processors

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
DATA = DOCS / "data"
TRACES = ROOT / "tests" / "agents" / "reference_traces"
BEGIN, END = "<!-- results:begin -->", "<!-- results:end -->"

STATIC, _, CONTINUOUS = ENV_IDS
BASELINE = "fcfs"
HEURISTICS = (BASELINE, "random", "round-robin", "least-connections", "historical-lrt")
BANDITS = ("clinucb", "cn-greedy", "cn-ducb", "c2ucb", "neural-linear", "cn-ts")
PROTOCOLS = ("new-frozen", "new-learning", "recurring-learning")
OURS = ("predicted-sjf", "index", "index-aged", "warm-linear", "ppo")
CONTENDERS = (BASELINE, *BANDITS, *OURS, "oracle-placement", ORACLE)
# Statistics over all requests; an unfinished one counts with its age.
JCT, P95 = "jct_mean_censored", "jct_p95_censored"


def main() -> None:
    """Runs the chosen steps."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("steps", nargs="*", metavar="STEP", help="all by default")
    parser.add_argument("--list", action="store_true", help="list the steps")
    parser.add_argument("--summarise", action="store_true", help="play nothing, read what is there")
    parser.add_argument("--readme", action="store_true", help="update the table in README.md")
    parser.add_argument("--results", type=Path, default=ROOT / "results" / "docs")
    parser.add_argument("--workers", type=int, default=available_processors())
    arguments = parser.parse_args()
    if arguments.list:
        for name, step in STEPS.items():
            print(f"{name:18}{(step.__doc__ or '').splitlines()[0]}")
        return
    if unknown := set(arguments.steps) - set(STEPS):
        parser.error(f"no step {', '.join(sorted(unknown))}: choose from {', '.join(STEPS)}")
    steps = arguments.steps or ([] if arguments.readme else list(STEPS))
    DATA.mkdir(exist_ok=True)
    for name in steps:
        started = time.perf_counter()
        print(f"{name}: {(STEPS[name].__doc__ or '').splitlines()[0]}")
        play = None if arguments.summarise else arguments.workers
        tables = STEPS[name](arguments.results / name, play)
        for file, table in tables.items():
            table.to_csv(DATA / f"{file}.csv", index=False, float_format="%.6g")
            print(f"  docs/data/{file}.csv: {len(table)} rows")
        _record_versions(name, arguments.results / name)
        print(f"  {time.perf_counter() - started:.0f} s")
    if arguments.readme or "schedulers" in steps:
        _update_readme()


def schedulers(folder: Path, workers: int | None) -> dict[str, pd.DataFrame]:
    """Twelve schedulers in three environments at three loads, 20 seeds: ten minutes."""
    if workers:
        scenarios = [
            Scenario(env_id, _workload(load=load, duration=300.0), f"{env_id} load {load:g}")
            for env_id in ENV_IDS
            for load in (0.8, 0.95, 1.1)
        ]
        agents = [*HEURISTICS, *BANDITS, ORACLE]
        run_experiment(scenarios, agents, 20, {}, folder, workers=workers, progress=_show)
    return {"schedulers": _summary(folder)}


def learning(folder: Path, workers: int | None) -> dict[str, pd.DataFrame]:
    """How regret develops over episodes of two hours, 20 seeds: 25 minutes."""
    if workers:
        settings = _workload(load=0.95, duration=7200.0)
        agents = [BASELINE, *BANDITS, *ORACLES]
        run_experiment(STATIC, agents, 20, settings, folder, workers=workers, progress=_show)
    requests = read_results(folder).requests
    assert requests is not None  # the oracle plays, and everything is finished
    table = regret_over_time(requests).drop(columns="env")
    table["quarter"] = table.pop("window") + 1
    keys = ["oracle", "quarter"]
    of_baseline = table[table["agent"] == BASELINE].set_index(keys)["regret"].rename("unit")
    table = table.join(of_baseline, on=keys)
    table["share"] = table["regret"] / table["unit"]
    table = table[["oracle", "agent", "quarter", "regret", "low", "high", "share"]]
    return {"learning": _summary(folder), "learning_regret": table}


def predictor(folder: Path, workers: int | None) -> dict[str, pd.DataFrame]:
    """How good the bundled predictor is on the test prompts: seconds."""
    del folder, workers
    data = load_dataset("smollm2-135m")
    test = data.rows("test")
    prediction = load_predictor("smollm2-135m").predict_dataset(data, test)
    scores = score(prediction, data.base_latency[test], data.response_tokens[test])
    known = measurement_variance(locate("smollm2-135m").requests)
    assert known is not None
    facts = {
        **{name: value for name, value in vars(scores).items() if np.isscalar(value)},
        "ceiling": ceiling(data, test, known[0]),
        "repeated": known[1],
        "again": known[0] ** 0.5,
    }
    groups = pd.DataFrame({"expected": scores.expected, "observed": scores.observed})
    return {
        "predictor": pd.DataFrame({"name": list(facts), "value": list(facts.values())}),
        "predictor_groups": groups,
    }


def protocols(folder: Path, workers: int | None) -> dict[str, pd.DataFrame]:
    """Nine cells of the benchmark suite in its three protocols, 20 seeds: half an hour."""
    suite = load_suite().select(PROTOCOLS)
    cells = tuple(replace(cell, seeds=tuple(range(20))) for cell in suite.cells)
    stable = Stable(replace(suite, cells=cells), [AgentSpec(name) for name in CONTENDERS], folder)
    _, result = play_suite(
        stable, {}, folder, workers or 1, tell=lambda line: print(f"  {line}"), progress=_show
    )
    if result.failures:
        raise RuntimeError(f"{len(result.failures)} runs failed: {result.failures[0]}")
    return protocol_summaries(result.summary, {cell.name: cell for cell in suite.cells})


def protocol_summaries(summary: pd.DataFrame, cells: dict[str, Cell]) -> dict[str, pd.DataFrame]:
    """Returns means by cell and agent, and differences of our agents from all others."""
    pairs = []
    for other in dict.fromkeys(summary["agent"]):
        compared = compare_agents(summary, JCT, other)
        pairs.append(compared[compared["agent"].isin(OURS)].assign(other=other))
    pairs = pd.concat(pairs)
    pairs = pairs[pairs["agent"] != pairs["other"]]
    columns = ["difference", "difference_low", "difference_high"]
    return {
        "protocols": _in_cells(_protocol_means(summary), cells),
        "protocol_pairs": _in_cells(pairs[["env", "agent", "other", *columns]], cells),
    }


def _protocol_means(summary: pd.DataFrame) -> pd.DataFrame:
    """Returns a row per cell and agent: means over seeds, and the interval of the mean JCT."""
    table = compare_agents(summary, JCT, BASELINE)[["env", "agent", "mean", "low", "high"]]
    table = table.rename(columns={"mean": "jct", "low": "jct_low", "high": "jct_high"})
    runs = summary.groupby(["env", "agent"], sort=False)
    keys = pd.MultiIndex.from_frame(table[["env", "agent"]])
    table["seeds"] = runs["seed"].nunique().loc[keys].to_numpy()
    for column, metric in (
        ("requests", "arrived"),
        ("p95", P95),
        ("p99", "jct_p99_censored"),
    ):
        table[column] = runs[metric].mean().loc[keys].to_numpy()
    return table


def _in_cells(table: pd.DataFrame, cells: dict[str, Cell]) -> pd.DataFrame:
    """Splits the name of a cell, which is in column ``env``, into what it consists of."""
    mine = [cells[name] for name in table["env"]]
    table = table.assign(env=[cell.env_id for cell in mine])
    table.insert(0, "protocol", [cell.group for cell in mine])
    table.insert(2, "load", [cell.settings["load"] for cell in mine])
    table.insert(3, "duration", [cell.settings["duration"] for cell in mine])
    return table


def boosts(folder: Path, workers: int | None) -> dict[str, pd.DataFrame]:
    """Ageing and boosts, means and tails in nine cells, 20 seeds: half a minute."""
    del folder, workers
    return {"boosts": boost_runs.boosts()}


def paper(folder: Path, workers: int | None) -> dict[str, pd.DataFrame]:
    """The paper's overload, counted as its code does and in full, 10 seeds: some minutes."""
    if workers:
        _edgecloud("reproduce-paper", "--output", folder, "--workers", workers)
    record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    table = paper_table(pd.read_csv(folder / "summary.csv"))
    table.insert(2, "duration", record["scenarios"][0]["settings"]["duration"])
    return {"paper": table}


def closed_forms(folder: Path, workers: int | None) -> dict[str, pd.DataFrame]:
    """The simulator against queueing theory: half a minute."""
    del folder, workers
    return {"closed_forms": validation_runs.closed_forms()}


def reference_traces(folder: Path, workers: int | None) -> dict[str, pd.DataFrame]:
    """The simulator against traces of the paper's own code: seconds."""
    del folder, workers
    return {"reference_traces": validation_runs.reference_traces(TRACES)}


def identities(folder: Path, workers: int | None) -> dict[str, pd.DataFrame]:
    """What must hold exactly, Little's law and lanes against single environments: seconds."""
    del folder, workers
    return {"identities": validation_runs.identities()}


STEPS: dict[str, Callable[[Path, int | None], dict[str, pd.DataFrame]]] = {
    "schedulers": schedulers,
    "learning": learning,
    "predictor": predictor,
    "protocols": protocols,
    "boosts": boosts,
    "paper": paper,
    "closed-forms": closed_forms,
    "reference-traces": reference_traces,
    "identities": identities,
}


def _workload(**settings: Any) -> dict[str, Any]:
    return {"dataset": "smollm2-135m", **settings}


def _show(progress: ExperimentProgress) -> None:
    latest = "" if progress.run is None else progress.run.title
    end = "\n" if progress.done == progress.total else "\r"
    print(f"  {progress.done} of {progress.total} runs  {latest:60.60}", end=end, flush=True)


def _edgecloud(*arguments: object) -> None:
    _python("-m", "agents.cli", *arguments)


def _python(*arguments: object) -> None:
    subprocess.run([sys.executable, *map(str, arguments)], cwd=ROOT, check=True)


def _summary(folder: Path, baseline: str = BASELINE) -> pd.DataFrame:
    """Returns a row per environment, load and agent, with differences from the baseline."""
    summary = pd.read_csv(folder / "summary.csv")
    record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    scenarios = {item["label"]: item for item in record["scenarios"]}
    jct, p95 = (compare_agents(summary, metric, baseline) for metric in (JCT, P95))
    table = pd.DataFrame(
        {
            "env": [scenarios[label]["env"] for label in jct["env"]],
            "load": [scenarios[label]["settings"].get("load") for label in jct["env"]],
            "duration": [scenarios[label]["settings"].get("duration") for label in jct["env"]],
            "agent": jct["agent"],
        }
    )
    orders = [scenarios[label]["settings"].get("prompt_order") for label in jct["env"]]
    if any(orders):
        table.insert(3, "prompt_order", orders)
    runs = summary.groupby(["env", "agent"], sort=False)
    keys = pd.MultiIndex.from_frame(jct[["env", "agent"]])
    table["seeds"] = runs["seed"].nunique().loc[keys].to_numpy()
    for column, metric in (
        ("requests", "arrived"),
        ("unfinished", "unfinished"),
        ("prediction_error", "prediction_error_mean"),
    ):
        table[column] = runs[metric].mean().loc[keys].to_numpy()
    statistics = ["mean", "low", "high", "difference", "difference_low", "difference_high"]
    for name, compared in (("jct", jct), ("p95", p95)):
        columns = [name if part == "mean" else f"{name}_{part}" for part in statistics]
        table[columns] = compared[statistics]
    return table


def _record_versions(step: str, folder: Path) -> None:
    """Notes with which versions a step was run: an experiment's own record says."""
    path = DATA / "versions.json"
    known = json.loads(path.read_text()) if path.exists() else {}
    records = [folder / part / "run.json" for part in ("", "evaluation", "once")]
    found = [json.loads(record.read_text())["versions"] for record in records if record.exists()]
    packages = ("edgecloud-gym", "gymnasium", "numpy", "numba", "torch")
    here = {"python": platform.python_version(), **{name: version(name) for name in packages}}
    known[step] = {name: (found[0] if found else here)[name] for name in here}
    path.write_text(json.dumps(known, indent=2, sort_keys=True) + "\n")


def _update_readme() -> None:
    """Puts the main table between its markers in README.md."""
    path = ROOT / "README.md"
    text = path.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        print(f"README.md has no {BEGIN} ... {END}; the table is:\n\n{protocol_tables.readme()}")
        return
    path.write_text(f"{before}{begin}\n{protocol_tables.readme()}\n{end}{after}", encoding="utf-8")
    print("  README.md: main table")


if __name__ == "__main__":  # worker processes import this file
    main()
