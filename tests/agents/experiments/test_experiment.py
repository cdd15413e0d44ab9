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

from agents import Agent, AgentSpec, ExperimentError, Scenario, make_agent, run_experiment
from agents.base import Info, Observation
from agents.experiments.play import ExperimentProgress
from edgecloud_gym import RequestDataset
from edgecloud_gym.arrivals import Trace
from edgecloud_gym.config import SystemConfig

RNG = np.random.default_rng(0)
DATA = RequestDataset.from_arrays(
    base_latency=RNG.lognormal(0.0, 0.7, 100), embeddings=RNG.normal(size=(100, 8))
)
SETTINGS: dict[str, Any] = {"dataset": DATA, "duration": 30.0}
STATIC, CONTINUOUS = "EdgeCloud-Static-v0", "EdgeCloud-Continuous-v0"
CSVS = ("summary.csv", "timeseries.csv", "requests.csv")


class Lazy(Agent):
    """Assigns nothing: what is filled, the environment fills."""

    def act(self, observation: Observation, info: Info, explore: bool = True) -> NDArray[np.int64]:
        del observation, info, explore
        return np.zeros(self.env.config.candidate_pool_size, np.int64)


class WrongShape(Lazy):
    """Returns too short an action after a while."""

    name: ClassVar[str] = "wrong-shape"

    def act(self, observation: Observation, info: Info, explore: bool = True) -> NDArray[np.int64]:
        return super().act(observation, info, explore)[int(info["time"] > 5.0) :]


def play(folder: Path, agents: Any, **options: Any) -> Any:
    return run_experiment(STATIC, agents, 2, SETTINGS, folder, **options)


def contents(folder: Path) -> list[bytes]:
    return [(folder / name).read_bytes() for name in CSVS]


def record_of(folder: Path) -> dict[str, Any]:
    record: dict[str, Any] = json.loads((folder / "run.json").read_text())
    return record


def test_same_bytes_with_one_and_two_workers(tmp_path: Path) -> None:
    scenarios = [STATIC, Scenario(CONTINUOUS, {"edge_slowdown": None})]
    agents = ["fcfs", "random", "sjf-oracle", "c2ucb", "cn-ts"]
    for workers in (1, 2):
        folder = tmp_path / str(workers)
        run_experiment(scenarios, agents, [3, 0], SETTINGS, folder, workers=workers)
    assert contents(tmp_path / "1") == contents(tmp_path / "2")
    records = [record_of(tmp_path / workers) for workers in "12"]
    for record in records:
        assert record.pop("date")
    assert records[0] == records[1]


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


def test_the_record_has_the_whole_configuration(tmp_path: Path) -> None:
    play(tmp_path, ["fcfs", AgentSpec("cn-ts", {"hidden": [8]})])
    record = record_of(tmp_path)
    assert record["seeds"] == [0, 1]
    (scenario,) = record["scenarios"]
    assert scenario["settings"] == {"dataset": scenario["settings"]["dataset"], "duration": 30.0}
    # Every setting, but for those that are the agents'.
    fields = {n for n, field in SystemConfig.__dataclass_fields__.items() if field.init}
    assert set(scenario["configuration"]) == fields - {"priority", "work_conserving"}
    assert scenario["configuration"]["duration"] == 30.0
    assert scenario["configuration"]["network_rtt"] == SystemConfig.network_rtt
    assert scenario["workload"]["capacity"] > 0.0
    fcfs, bandit = record["agents"]
    assert fcfs["all_settings"] == {}
    assert bandit["settings"] == {"hidden": [8]}
    assert set(bandit["all_settings"]) > {"hidden", "learning_rate", "rerank_every"}
    assert record["versions"]["numpy"] == np.__version__
    assert record["command"] == sys.argv
    assert record["date"].startswith("20")


def test_predicted_times(tmp_path: Path) -> None:
    result = play(tmp_path, ["fcfs", "c2ucb"])
    log = result.requests
    errors = (log["predicted_time"] - log["base_latency"]).abs()
    assert errors[log["agent"] == "fcfs"].isna().all()
    by_run = errors.groupby([log["agent"], log["seed"]])
    found = result.summary.set_index(["agent", "seed"]).sort_index()
    pd.testing.assert_series_equal(by_run.mean(), found["prediction_error_mean"], check_names=False)
    assert by_run.count().tolist() == found["predictions"].tolist()
    assert found.loc["c2ucb", "prediction_error_mean"].gt(0.0).all()


@pytest.mark.parametrize(
    ("requests", "times", "message"),
    [
        ([-1], [1.0], "id -1"),
        ([10_000], [1.0], "id 10000"),
        ([0, 1], [1.0], "one length"),
        ([0.0], [1.0], "ids must be integers"),
        ([0], ["soon"], "times numbers"),
    ],
)
def test_predictions_of_nothing_are_refused(
    tmp_path: Path, requests: Any, times: Any, message: str
) -> None:
    class Prophet(Lazy):
        def predicted_times(self) -> tuple[Any, Any]:
            return np.array(requests), np.array(times)

    with pytest.raises(ExperimentError, match=rf"agent 'Prophet'.*{message}"):
        play(tmp_path, Prophet)


def test_common_random_numbers(tmp_path: Path) -> None:
    requests = play(tmp_path, ["fcfs", "random", "sjf-oracle"]).requests
    streams = requests.groupby("agent")[["arrival_time", "prompt_row"]]
    first, *others = [stream.reset_index(drop=True) for _, stream in streams]
    assert all(first.equals(other) for other in others)
    assert requests.query("seed == 0")["arrival_time"].nunique() > 10


def test_finished_runs_are_not_repeated(tmp_path: Path) -> None:
    seen: list[ExperimentProgress] = []
    play(tmp_path, ["fcfs"])
    play(tmp_path, ["fcfs", "random"], progress=seen.append)
    assert [(p.done, p.run and p.run.spec.label) for p in seen] == [
        (2, None),
        (3, "random"),
        (4, "random"),
    ]
    seen.clear()
    settings = {**SETTINGS, "network_rtt": 0.2}
    run_experiment(STATIC, ["fcfs"], 2, settings, tmp_path / "other", progress=seen.append)
    assert len(seen) == 3  # another configuration is another run


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_keeps_the_other_runs(tmp_path: Path, workers: int) -> None:
    agents = ["fcfs", "edge-only"]
    settings = {**SETTINGS, "edge_concurrency": 0}
    with pytest.raises(ExperimentError, match=r"agent edge-only, seeds 0-1: ValueError") as caught:
        run_experiment(STATIC, agents, 2, settings, tmp_path, workers=workers)
    assert caught.value.result.summary["agent"].tolist() == ["fcfs", "fcfs"]
    assert len(pd.read_csv(tmp_path / "summary.csv")) == 2
    assert "edge-only" in record_of(tmp_path)["failures"][0]
    assert "Traceback" in (tmp_path / "failures.txt").read_text()


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
    while not finished(runs):
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode != 0
    assert b"KeyboardInterrupt" in errors
    assert finished(runs)
    assert all(
        {f.name for f in p.iterdir()} >= {"summary.json", "requests.parquet"}
        for p in finished(runs)
    )
    assert not (tmp_path / "out" / "summary.csv").exists()


def finished(runs: Path) -> list[Path]:
    return [path for path in runs.glob("*") if path.is_dir() and path.name[0] != "."]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((STATIC, ["fcsf"], 1), "unknown agent 'fcsf'"),
        ((STATIC, ["fcfs", "fcfs"], 1), "each agent may occur once"),
        ((STATIC, ["fcfs"], [1, 1]), "each seed may occur once"),
        ((STATIC, [], 1), r"agents=\[\]: an experiment needs at least one agent"),
        ((STATIC, ["fcfs"], 0), "seeds=0: an experiment needs at least one seed"),
        ((STATIC, ["fcfs"], [1.5]), r"seeds=1\.5: must be an integer"),
        ((STATIC, ["fcfs"], [True]), "seeds=True: must be an integer"),
        ((STATIC, ["fcfs"], 2.0), r"seeds=2\.0: must be how many"),
        ((STATIC, ["fcfs"], "12"), "seeds='12': must be how many"),
        ((STATIC, ["fcfs"], [-1]), "seeds=-1"),
        ((STATIC, [make_agent("fcfs")], 1), "give its class"),
        ((STATIC, make_agent("fcfs"), 1), "give its class"),
        ((STATIC, [3], 1), "agent=3: must be a name or a subclass"),
        ((STATIC, [Agent], 1), "must define act"),
        (([3], ["fcfs"], 1), "env_id=3"),
        ((STATIC, ["fcfs"], 1, {"priority": None}), "each agent chooses the queue's order"),
        (
            (STATIC, ["fcfs"], 1, {"arrivals": make_agent("fcfs")}),
            r"arrivals=FCFS\(\): must be a name or an arrival process$",
        ),
        ((STATIC, ["fcfs"], 1, {"durration": 3}), "did you mean 'duration'.*telemetry_interval$"),
        (
            (STATIC, ["fcfs"], 1, {"arrivals": Trace([1.7e9, 1.7e9 + 5])}),
            r"at 1700000000 s.*duration",
        ),
    ],
)
def test_bad_input(tmp_path: Path, arguments: tuple[Any, ...], message: str) -> None:
    settings = {**SETTINGS, **(arguments[3] if len(arguments) > 3 else {})}
    with pytest.raises((TypeError, ValueError), match=message):
        run_experiment(*arguments[:3], settings, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("label", ["", "two\nlines", "\x07", 3])
def test_labels_are_lines_of_text(label: Any) -> None:
    if label == "":
        assert AgentSpec("fcfs", label=label).label == "fcfs"
        return
    for made in (lambda: AgentSpec("fcfs", label=label), lambda: Scenario(STATIC, {}, label)):
        with pytest.raises((TypeError, ValueError), match="label="):
            made()


def test_what_is_one_need_not_be_a_list(tmp_path: Path) -> None:
    every = [
        run_experiment(env_id, agents, seeds, SETTINGS, None).summary
        for env_id, agents, seeds in (
            (STATIC, "fcfs", 2),
            ([STATIC], ["fcfs"], np.int64(2)),
            (Scenario(STATIC), AgentSpec("fcfs"), np.arange(2)),
            ((STATIC,), ("fcfs",), range(2)),
            (STATIC, (name for name in ["fcfs"]), iter([0, 1])),
        )
    ]
    assert all(every[0].equals(other) for other in every)
    assert play(tmp_path, Lazy).summary["agent"].unique().tolist() == ["Lazy"]


def test_without_a_folder_the_results_are_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    kept = play(tmp_path / "kept", ["fcfs", "random"])
    result = play(None, ["fcfs", "random"])  # type: ignore[arg-type]
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
    for name in ("summary", "timeseries", "requests"):
        pd.testing.assert_frame_equal(getattr(result, name), getattr(kept, name))
    assert result.record["agents"] == kept.record["agents"]
    with pytest.raises(ValueError, match="output_dir"):
        play(None, ["fcfs"], plots=True)  # type: ignore[arg-type]


def test_a_result_shows_itself_in_a_line_and_as_a_table(tmp_path: Path) -> None:
    result = run_experiment(STATIC, ["fcfs", "random"], 12, {**SETTINGS, "duration": 5.0}, None)
    assert len(repr(result)) < 200
    assert "24 runs" in repr(result)
    html = result._repr_html_()
    assert "<table" in html
    assert "12 seeds" in html
    assert "paired seed by seed" in html
    play(tmp_path, ["fcfs", "random"], plots=True)
    assert (tmp_path / "comparison.png").read_bytes()[1:4] == b"PNG"


def test_seeds_without_requests_are_counted(tmp_path: Path) -> None:
    settings = {**SETTINGS, "arrival_rate": 0.05}
    result = run_experiment(STATIC, ["fcfs", "random"], 6, settings, tmp_path, plots=True)
    empty = (result.summary.query("agent == 'fcfs'")["arrived"] == 0).sum()
    assert 0 < empty < 6
    assert f"on {empty} no request arrived" in result._repr_html_()
    nothing = run_experiment(STATIC, "fcfs", 2, {**SETTINGS, "arrival_rate": 1e-6}, None)
    assert "no results" in nothing._repr_html_()


class Stubborn(Lazy):
    """Says for itself that nothing is to be filled."""

    work_conserving = False


def test_idle_places_are_filled_for_those_who_count_on_it(tmp_path: Path) -> None:
    agents = ["fcfs", Lazy, Stubborn, "c2ucb"]
    result = run_experiment(STATIC, agents, 1, SETTINGS, tmp_path / "own")
    played = {item["label"]: item["work_conserving"] for item in result.record["agents"]}
    assert played == {
        "fcfs": {STATIC: False},
        "Lazy": {STATIC: True},  # the environment's default
        "Stubborn": {STATIC: False},
        "c2ucb": {STATIC: False},
    }
    means = result.summary.set_index("agent")["jct_mean"]
    assert means["Lazy"] < means["Stubborn"] / 2
    for wanted in (True, False):
        settings = {**SETTINGS, "work_conserving": wanted}
        result = run_experiment(STATIC, agents, 1, settings, tmp_path / str(wanted))
        for item in result.record["agents"]:
            assert item["work_conserving"] == {STATIC: wanted}
