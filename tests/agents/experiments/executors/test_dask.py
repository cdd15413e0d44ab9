"""A Dask cluster plays an experiment: the results are those of one process, whatever befalls it."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from agents import run_experiment
from agents.experiments.executors import ExecutorError
from agents.experiments.executors.dask_cluster import DaskExecutor, dask_executor, dask_player
from agents.experiments.experiment import prepare
from agents.experiments.play import ExperimentProgress, play
from agents.experiments.results.folder import claim
from agents.experiments.runs.definition import as_record
from tests.agents.experiments.executors.test_executors import Placed, contents
from tests.agents.experiments.executors.test_workers import SETTINGS
from tests.agents.experiments.test_experiment import STATIC

distributed = pytest.importorskip("distributed", reason="needs the extra dask")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
AGENTS = ["fcfs", "random", Placed]


class Slow(Placed):
    """Takes long enough to be killed meanwhile."""

    name = "slow"

    def reset(self, env: Any, seed: int) -> None:
        super().reset(env, seed)
        time.sleep(0.3)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Two worker processes."""
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address="127.0.0.1:0"
    ) as running:
        yield running


def play_on_cluster(
    address: str, folder: Path, agents: Any, seeds: int, notes: list[str], after: Any = None
) -> Any:
    runs = prepare(STATIC, agents, seeds, SETTINGS)
    claim(folder, as_record(runs))
    with dask_player(address, 2, notes.append) as (player, _):
        return play(runs, folder, player, after)


def test_a_worker_that_is_killed_changes_nothing(cluster: Any, tmp_path: Path) -> None:
    agents = ["fcfs", Slow]
    run_experiment(STATIC, agents, 6, SETTINGS, tmp_path / "alone")
    with distributed.Client(cluster) as client:
        victim = next(iter(client.run(os.getpid).values()))
    seen: list[ExperimentProgress] = []

    def kill(progress: ExperimentProgress) -> None:
        seen.append(progress)
        if len(seen) == 9:  # the fast ones are done; slow ones are being played
            os.kill(victim, signal.SIGKILL)

    result = play_on_cluster(cluster.scheduler_address, tmp_path / "dask", agents, 6, [], kill)
    assert not result.failures
    assert contents(tmp_path / "dask") == contents(tmp_path / "alone")
    with pytest.raises(ProcessLookupError):
        os.kill(victim, 0)


def test_a_dataset_is_sent_once_per_worker(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = []
    scatter = distributed.Client.scatter

    def counted(self: Any, data: Any, **options: Any) -> Any:
        sent.append(data)
        return scatter(self, data, **options)

    monkeypatch.setattr(distributed.Client, "scatter", counted)
    play_on_cluster(cluster.scheduler_address, tmp_path, AGENTS, 4, [])
    assert len(sent) == 1


def test_it_goes_on_where_it_was_left(cluster: Any, tmp_path: Path) -> None:
    def stop(progress: ExperimentProgress) -> None:
        if progress.done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        play_on_cluster(cluster.scheduler_address, tmp_path, AGENTS, 3, [], stop)
    seen: list[ExperimentProgress] = []
    play_on_cluster(cluster.scheduler_address, tmp_path, AGENTS, 3, [], seen.append)
    assert seen[0].done == 2
    run_experiment(STATIC, AGENTS, 3, SETTINGS, tmp_path / "alone")
    assert contents(tmp_path) == contents(tmp_path / "alone")


@contextmanager
def worker(address: str, packages: Path, log: Path) -> Iterator[None]:
    """Starts a worker that finds packages in a folder first."""
    command = [sys.executable, "-m", "distributed.cli.dask_worker", address, "--nthreads", "1"]
    with log.open("w") as stream:
        process = subprocess.Popen(
            [*command, "--no-dashboard", "--no-nanny"],
            stdout=stream,
            stderr=stream,
            cwd=packages,
            env={**os.environ, "PYTHONPATH": str(packages)},
        )
    try:
        yield
    finally:
        process.terminate()
        process.wait(20)


def wait_for_workers(address: str, count: int) -> None:
    with distributed.Client(address) as client:
        client.wait_for_workers(count, timeout=60)


def test_workers_with_other_code_are_named_and_not_used(
    cluster: Any, tmp_path: Path, repository: Path
) -> None:
    other, broken = tmp_path / "other", tmp_path / "broken"
    for name in ("edgecloud_gym", "agents", "data_tools"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(repository / name, other / name, ignore=ignored)
    with (other / "edgecloud_gym" / "nodes.py").open("a") as file:
        file.write("\n# another version\n")
    (broken / "agents").mkdir(parents=True)
    (broken / "agents" / "__init__.py").write_text("raise ImportError('agents of another')\n")
    notes: list[str] = []
    address = cluster.scheduler_address
    with worker(address, other, tmp_path / "o"), worker(address, broken, tmp_path / "b"):
        wait_for_workers(address, 4)
        play_on_cluster(address, tmp_path / "dask", AGENTS, 3, notes)
    assert any("is not used: it has source of edgecloud-gym" in note for note in notes), notes
    assert any("is not used: it cannot load edgecloud-gym" in note for note in notes), notes
    run_experiment(STATIC, AGENTS, 3, SETTINGS, tmp_path / "alone")
    assert contents(tmp_path / "dask") == contents(tmp_path / "alone")


def test_a_scheduler_that_cannot_be_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agents.experiments.executors.dask_cluster._PATIENCE", 1)
    with (
        pytest.raises(ExecutorError, match=r"'tcp://127\.0\.0\.1:9': cannot be reached"),
        dask_player("tcp://127.0.0.1:9", 1, print),
    ):
        pass
    with (
        pytest.raises(ExecutorError, match="'nowhere': cannot be"),
        dask_player("nowhere", 1, print),
    ):
        pass


def test_local_workers_leave_interrupts_to_the_client() -> None:
    with dask_executor("local", 1, print) as executor:
        handler = executor.submit(signal.getsignal, signal.SIGINT).result()
    assert handler == signal.SIG_IGN


def test_a_scheduler_that_is_gone() -> None:
    with distributed.LocalCluster(
        n_workers=1, processes=False, dashboard_address="127.0.0.1:0"
    ) as running:
        client = distributed.Client(running)
        executor = DaskExecutor(client, print)
        client.close()  # what a client does by itself when it waited for its scheduler in vain
    with pytest.raises(ExecutorError, match="cannot be reached any more"):
        executor.submit(os.getpid)
    with pytest.raises(ExecutorError, match="cannot be reached any more"):
        executor.ship({"dataset": b"content"})
    with pytest.raises(ExecutorError, match="cannot be reached any more"):
        executor.watch()


def test_an_executor_whose_client_is_closed(tmp_path: Path) -> None:
    with distributed.LocalCluster(
        n_workers=1, processes=False, dashboard_address="127.0.0.1:0"
    ) as running:
        client = distributed.Client(running)
        executor = client.get_executor(pure=False)
        client.close()
    with pytest.raises(ExecutorError, match="takes no runs"):
        run_experiment(STATIC, "fcfs", 1, SETTINGS, tmp_path, executor=executor)


def test_a_cluster_without_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agents.experiments.executors.dask_cluster._WORKERS_WITHIN", 1)
    with (
        distributed.LocalCluster(n_workers=0, dashboard_address="127.0.0.1:0") as empty,
        pytest.raises(ExecutorError, match="no workers after 1 s"),
        dask_player(empty.scheduler_address, 1, print),
    ):
        pass
