"""Any executor plays an experiment, and what it plays is what one process would have."""

import multiprocessing
import os
from collections.abc import Callable
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agents import AgentSpec, ExperimentError, make_agent, run_experiment
from agents.experiments.design.scenario import Scenario
from agents.experiments.executors.executor import ExecutorError, answer_of
from agents.experiments.executors.parcel import Answer, Packer, differing_code, play_parcel
from agents.experiments.runs.run import Run
from tests.agents.experiments.executors.test_workers import SETTINGS, on_odd_seeds, raise_unfriendly
from tests.agents.experiments.test_experiment import STATIC, Lazy

FILES = ("summary.csv", "timeseries.csv", "requests.csv")


class Placed(Lazy):
    """Of a module that workers need not have."""

    name = "placed"

    def act(self, observation: Any, info: Any, explore: bool = True) -> Any:
        del observation, info, explore
        return np.full(self.env.config.candidate_pool_size, place())


def place() -> int:
    return 1


def contents(folder: Path) -> list[bytes]:
    return [(folder / name).read_bytes() for name in FILES]


def processes(count: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(count, multiprocessing.get_context("spawn"))


def loky(count: int) -> Executor:
    from joblib.externals.loky import ProcessPoolExecutor as Loky

    executor: Executor = Loky(count)
    return executor


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of one process."""
    folder = tmp_path_factory.mktemp("alone")
    run_experiment(STATIC, ["fcfs", "random", Placed], 3, SETTINGS, folder)
    return folder


@pytest.mark.parametrize("make", [ThreadPoolExecutor, processes, loky])
def test_the_results_are_those_of_one_process(
    make: Callable[[int], Executor], alone: Path, tmp_path: Path
) -> None:
    with make(2) as executor:
        run_experiment(STATIC, ["fcfs", "random", Placed], 3, SETTINGS, tmp_path, executor=executor)
    assert contents(tmp_path) == contents(alone)


def test_what_a_failed_run_says_comes_back(tmp_path: Path) -> None:
    agents = ["fcfs", on_odd_seeds(raise_unfriendly)]
    with (
        ThreadPoolExecutor(2) as executor,
        pytest.raises(ExperimentError, match="UnfriendlyError: it went wrong") as caught,
    ):
        run_experiment(STATIC, agents, 3, SETTINGS, tmp_path, executor=executor)
    assert len(caught.value.result.runs) == 5


class Vanishing(Lazy):
    """Ends its process on the second seed."""

    def act(self, observation: Any, info: Any, explore: bool = True) -> Any:
        if self.env.np_random_seed == 1:
            os._exit(7)
        return super().act(observation, info, explore)


def test_an_executor_that_breaks_loses_nothing_finished(tmp_path: Path) -> None:
    with processes(1) as executor, pytest.raises(ExecutorError, match="broke down while"):
        run_experiment(STATIC, Vanishing, 2, SETTINGS, tmp_path, executor=executor)
    assert len([*(tmp_path / "runs").glob("?" * 20)]) == 1


def test_an_executor_that_is_shut_down(tmp_path: Path) -> None:
    executor = ThreadPoolExecutor(1)
    executor.shutdown()
    with pytest.raises(ExecutorError, match=r"takes no runs: .*after shutdown"):
        run_experiment(STATIC, "fcfs", 1, SETTINGS, tmp_path, executor=executor)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"executor": 2}, TypeError, "executor=2: must be a concurrent.futures.Executor"),
        ({"executor": ThreadPoolExecutor(1), "workers": 2}, ValueError, "workers=2: the executor"),
    ],
)
def test_what_is_no_executor(
    options: dict[str, Any], error: type[Exception], message: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=message):
        run_experiment(STATIC, "fcfs", 1, SETTINGS, tmp_path, **options)


class Elsewhere(Executor):
    """Plays each run in this process, as a worker with other code would answer at first."""

    def __init__(self, refusals: int) -> None:
        self.left = refusals

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> "Future[Any]":
        future: Future[Any] = Future()
        if self.left:
            self.left -= 1
            future.set_result(Answer(refused="host, process 1: it has numpy 1.0 instead of 2.0"))
        else:
            future.set_result(fn(*args, **kwargs))
        return future


def test_a_worker_with_other_code_is_not_believed(tmp_path: Path) -> None:
    run_experiment(STATIC, "fcfs", 1, SETTINGS, tmp_path / "a", executor=Elsewhere(2))
    with pytest.raises(ExecutorError, match=r"no worker could take it: host.*numpy 1\.0 instead"):
        run_experiment(STATIC, "fcfs", 1, SETTINGS, tmp_path / "b", executor=Elsewhere(9))


def test_code_that_differs_is_named() -> None:
    there = {"python": "3.12", "numpy": "2.0"}
    assert differing_code(there, there) == ""
    assert differing_code({"python": "3.13", "numpy": "2.0"}, there) == (
        "it has python 3.12 instead of 3.13"
    )
    assert "numpy missing instead of 2.0" in differing_code(there, {"python": "3.12"})


def test_files_travel_and_are_not_seen_to(tmp_path: Path) -> None:
    """A checkpoint is where the client has it, and nowhere else."""
    path = tmp_path / "here" / "model.npz"
    path.parent.mkdir()
    env = Scenario(STATIC, {"duration": 20.0}).make(False)
    bandit = make_agent("c2ucb")
    bandit.reset(env, 0)
    bandit.save(path)  # type: ignore[attr-defined]
    run = Run(Scenario(STATIC, {"duration": 20.0}), AgentSpec("c2ucb", {}, path), 0)
    parcel, cargo = Packer().pack(run)
    run.play(tmp_path / "alone")
    path.rename(tmp_path / "gone.npz")
    answer = play_parcel(parcel, cargo)
    assert answer.error is None
    assert answer.files is not None
    for name, content in answer.files.items():
        assert content == (tmp_path / "alone" / name).read_bytes(), name


def test_a_dataset_travels_unless_it_is_bundled() -> None:
    bundled = Run(Scenario(STATIC, {"duration": 20.0}), AgentSpec("fcfs"), 0)
    assert Packer().pack(bundled)[1] == {}
    own = Run(Scenario(STATIC, SETTINGS), AgentSpec("fcfs"), 0)
    parcel, cargo = Packer().pack(own)
    assert [*cargo] == [parcel.dataset]
    other = Run(Scenario(STATIC, SETTINGS, "other"), AgentSpec("random"), 1)
    assert Packer().pack(other)[1] == cargo  # one and the same for all runs
    assert len(parcel.content) < 4000


class Holding(Lazy):
    """Takes something."""

    def __init__(self, thing: Any = None) -> None:
        del thing


class Stubborn:
    """Can be told from others, and cannot travel."""

    def __reduce__(self) -> Any:
        raise TypeError("it stays here")


def test_what_cannot_travel_fails_alone(tmp_path: Path) -> None:
    agents = ["fcfs", AgentSpec(Holding, {"thing": Stubborn()})]
    with (
        ThreadPoolExecutor(1) as executor,
        pytest.raises(ExperimentError, match="TypeError: it stays here") as caught,
    ):
        run_experiment(STATIC, agents, 2, SETTINGS, tmp_path, executor=executor)
    assert [run.spec.label for run in caught.value.result.runs] == ["fcfs", "fcfs"]


class KilledWorker(Exception):  # noqa: N818 - as it is called
    """Of Dask: a run has ended the processes of several workers."""


def test_a_run_that_ends_its_workers_is_told_plainly() -> None:
    future: Future[Answer] = Future()
    future.set_exception(KilledWorker("play_parcel-1", "tcp://...", 4))
    answer = answer_of(future, "a run")
    assert answer.error is not None
    assert answer.error.message == "its process ended, on each worker that tried"
