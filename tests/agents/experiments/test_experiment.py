"""Experiments: the same bytes however they are run, resumed, or interrupted."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from agents import Agent, ExperimentError, Scenario, make_agent, run_experiment
from agents.base import Info, Observation
from agents.experiments.experiment import Progress
from agents.experiments.fingerprint import describe
from edgecloud_gym import RequestDataset
from edgecloud_gym.arrivals import Trace

RNG = np.random.default_rng(0)
DATA = RequestDataset.from_arrays(
    base_latency=RNG.lognormal(0.0, 0.7, 100), embeddings=RNG.normal(size=(100, 8))
)
SETTINGS: dict[str, Any] = {"dataset": DATA, "duration": 30.0}
STATIC, CONTINUOUS = "EdgeCloud-Static-v0", "EdgeCloud-Continuous-v0"
CSVS = ("summary.csv", "timeseries.csv", "requests.csv")


class WrongShape(Agent):
    """Returns too short an action after a while."""

    name: ClassVar[str] = "wrong-shape"

    def reset(self, env: Any, seed: int) -> None:
        super().reset(env, seed)
        self._pool = self.env.config.candidate_pool_size

    def act(self, observation: Observation, info: Info, explore: bool = True) -> NDArray[np.int64]:
        del observation, explore
        return np.zeros(self._pool - int(info["time"] > 5.0), np.int64)


def play(folder: Path, agents: list[Any], **options: Any) -> Any:
    return run_experiment(STATIC, agents, 2, SETTINGS, folder, **options)


def contents(folder: Path) -> list[bytes]:
    return [(folder / name).read_bytes() for name in CSVS]


def test_same_bytes_with_one_and_two_workers(tmp_path: Path) -> None:
    scenarios = [STATIC, Scenario(CONTINUOUS, {"edge_slowdown": None})]
    agents = ["fcfs", "random", "sjf-oracle", "c2ucb", "cn-ts"]
    for workers in (1, 2):
        folder = tmp_path / str(workers)
        run_experiment(scenarios, agents, [3, 0], SETTINGS, folder, workers=workers)
    assert contents(tmp_path / "1") == contents(tmp_path / "2")
    assert (tmp_path / "1" / "run.json").read_text() == (tmp_path / "2" / "run.json").read_text()


def test_results(tmp_path: Path) -> None:
    result = play(tmp_path, ["fcfs", "random"])
    assert result.summary[["agent", "seed"]].to_numpy().tolist() == [
        ["fcfs", 0],
        ["fcfs", 1],
        ["random", 0],
        ["random", 1],
    ]
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "summary.csv"), result.summary)
    read = pd.read_csv(tmp_path / "requests.csv").astype({"node": result.requests["node"].dtype})
    pd.testing.assert_frame_equal(read, result.requests)
    means = result.requests.groupby(["agent", "seed"])["jct"].mean()
    assert means.to_numpy() == pytest.approx(result.summary["jct_mean"].to_numpy())
    record = json.loads((tmp_path / "run.json").read_text())
    assert record["seeds"] == [0, 1]
    assert record["scenarios"][0]["settings"]["duration"] == 30.0
    assert record["versions"]["numpy"] == np.__version__


def test_predicted_times(tmp_path: Path) -> None:
    result = play(tmp_path, ["fcfs", "c2ucb"])
    log = result.requests
    errors = (log["predicted_time"] - log["base_latency"]).abs()
    assert errors[log["agent"] == "fcfs"].isna().all()
    by_run = errors.groupby([log["agent"], log["seed"]]).mean()
    found = result.summary.set_index(["agent", "seed"])["prediction_error_mean"]
    pd.testing.assert_series_equal(by_run, found.sort_index(), check_names=False)
    assert found["c2ucb"].gt(0.0).all()


def test_common_random_numbers(tmp_path: Path) -> None:
    requests = play(tmp_path, ["fcfs", "random", "sjf-oracle"]).requests
    streams = requests.groupby("agent")[["arrival_time", "prompt_row"]]
    first, *others = [stream.reset_index(drop=True) for _, stream in streams]
    assert all(first.equals(other) for other in others)
    assert requests.query("seed == 0")["arrival_time"].nunique() > 10


def test_finished_runs_are_not_repeated(tmp_path: Path) -> None:
    seen: list[Progress] = []
    play(tmp_path, ["fcfs"])
    play(tmp_path, ["fcfs", "random"], progress=seen.append)
    assert [(p.done, p.run and p.run.spec.label) for p in seen] == [
        (2, None),
        (3, "random"),
        (4, "random"),
    ]
    seen.clear()
    run_experiment(
        STATIC, ["fcfs"], 2, {**SETTINGS, "network_rtt": 0.2}, tmp_path, progress=seen.append
    )
    assert len(seen) == 3  # another configuration is another run


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_keeps_the_other_runs(tmp_path: Path, workers: int) -> None:
    agents = ["fcfs", "edge-only"]
    settings = {**SETTINGS, "edge_concurrency": 0}
    with pytest.raises(ExperimentError, match=r"agent edge-only, seed 1.*ValueError") as caught:
        run_experiment(STATIC, agents, 2, settings, tmp_path, workers=workers)
    assert caught.value.result.summary["agent"].tolist() == ["fcfs", "fcfs"]
    assert len(pd.read_csv(tmp_path / "summary.csv")) == 2
    assert "edge-only" in json.loads((tmp_path / "run.json").read_text())["failures"][0]


def test_a_wrong_action_names_the_agent(tmp_path: Path) -> None:
    with pytest.raises(ExperimentError, match="agent 'wrong-shape': action has shape"):
        play(tmp_path, [WrongShape])


def test_interrupted_run_leaves_a_resumable_folder(tmp_path: Path, repository: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import numpy as np\n"
        "from agents import run_experiment\n"
        "from edgecloud_gym import RequestDataset\n"
        "if __name__ == '__main__':\n"
        "    data = RequestDataset.from_arrays(base_latency=np.ones(10))\n"
        "    settings = dict(dataset=data, observe='id', duration=2000.0)\n"
        f"    run_experiment({STATIC!r}, ['fcfs'], 500, settings, 'out', workers=2)\n"
    )
    process = subprocess.Popen(
        [sys.executable, script],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        env={"PYTHONPATH": str(repository)},
    )
    deadline = time.monotonic() + 120
    runs = tmp_path / "out" / "runs"
    while not (runs.is_dir() and any(p.name[0] != "." for p in runs.iterdir())):
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode != 0
    assert b"KeyboardInterrupt" in errors
    finished = [p for p in runs.iterdir() if p.name[0] != "."]
    assert finished
    assert all(
        {f.name for f in p.iterdir()} >= {"summary.json", "requests.parquet"} for p in finished
    )
    assert not (tmp_path / "out" / "summary.csv").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((STATIC, ["fcsf"], 1), "unknown agent 'fcsf'"),
        ((STATIC, ["fcfs", "fcfs"], 1), "each agent may occur once"),
        ((STATIC, ["fcfs"], [1, 1]), "each seed may occur once"),
        ((STATIC, [], 1), "at least one agent"),
        ((STATIC, ["fcfs"], 0), "at least one seed"),
        ((STATIC, ["fcfs"], 1, {"priority": None}), "each agent chooses the queue's order"),
        ((STATIC, ["fcfs"], 1, {"arrivals": make_agent("fcfs")}), "cannot be a setting"),
    ],
)
def test_bad_input(tmp_path: Path, arguments: tuple[Any, ...], message: str) -> None:
    settings = {**SETTINGS, **(arguments[3] if len(arguments) > 3 else {})}
    with pytest.raises((TypeError, ValueError), match=message):
        run_experiment(*arguments[:3], settings, tmp_path)
    assert not list(tmp_path.iterdir())


def test_descriptions_tell_settings_apart() -> None:
    same = [RequestDataset.from_arrays(base_latency=[1.0, 2.0]) for _ in range(2)]
    assert describe(same[0]) == describe(same[1])
    assert describe(same[0]) != describe(RequestDataset.from_arrays(base_latency=[1.0, 2.5]))
    assert describe(Trace([1.0, 2.0])) == describe(Trace([1.0, 2.0]))
    assert describe(Trace([1.0, 2.0])) != describe(Trace([1.0, 3.0]))
    assert describe(np.arange(3)) != describe(np.arange(3.0))
    with pytest.raises(TypeError, match="function"):
        describe(make_agent)
