"""A run that fails, in whatever way, takes no other with it."""

import multiprocessing
import os
import re
import resource
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from agents import AgentSpec, ExperimentError, run_experiment
from agents.experiments.executors import processes
from edgecloud_gym import RequestDataset
from tests.agents.experiments.test_experiment import STATIC, Lazy

SETTINGS: dict[str, Any] = {
    "dataset": RequestDataset.from_arrays(base_latency=np.ones(9)),
    "observe": "id",
    "duration": 20.0,
}


class UnfriendlyError(Exception):
    """Cannot be pickled, and cannot be made again from its arguments."""

    def __init__(self, first: int, second: int) -> None:
        super().__init__("it went wrong")
        self.lambda_ = lambda: first + second


class SilentError(Exception):
    """Even its message fails."""

    def __str__(self) -> str:
        raise RuntimeError("no message")


class Troubled(Lazy):
    """Comes to grief on odd seeds."""

    def reset(self, env: Any, seed: int) -> None:
        super().reset(env, seed)
        self.trouble()

    def trouble(self) -> None:
        raise NotImplementedError


def on_odd_seeds(trouble: Any) -> type[Troubled]:
    """Makes an agent class; the environment's seed is told by its generator."""

    class Named(Troubled):
        def act(self, observation: Any, info: Any, explore: bool = True) -> Any:
            if self.env.np_random_seed % 2:
                trouble()
            return super().act(observation, info, explore)

        def trouble(self) -> None:
            pass

    return Named


def raise_unfriendly() -> None:
    raise UnfriendlyError(1, 2)


def raise_silent() -> None:
    raise SilentError


def raise_half_a_character() -> None:
    raise ValueError("half of one: \udc80")


def leave() -> None:
    sys.exit(3)


def vanish() -> None:
    os._exit(7)


TROUBLES = {
    raise_unfriendly: "UnfriendlyError: it went wrong",
    raise_silent: "SilentError",
    raise_half_a_character: "half of one",
    leave: "SystemExit: 3",
}


@pytest.mark.parametrize(
    ("troubles", "workers"),
    [
        (TROUBLES, 1),
        ({**TROUBLES, vanish: "process ended .exit code 7."}, 2),
    ],
)
def test_the_innocent_are_played(troubles: dict[Any, str], workers: int, tmp_path: Path) -> None:
    """Of many agents, each of which comes to grief in its own way, in the same processes."""
    agents: list[Any] = ["fcfs"]
    agents += [AgentSpec(on_odd_seeds(t), label=t.__name__) for t in troubles]
    with pytest.raises(ExperimentError) as caught:
        run_experiment(STATIC, agents, 3, SETTINGS, tmp_path, workers=workers)
    result = caught.value.result
    failures = {(f.run.spec.label, f.run.seed): str(f.error) for f in result.failures}
    assert set(failures) == {(trouble.__name__, 1) for trouble in troubles}
    for trouble, message in troubles.items():
        assert re.search(message, failures[trouble.__name__, 1])
    seeds = result.summary.groupby("agent")["seed"].apply(list)
    assert seeds.pop("fcfs") == [0, 1, 2]
    assert seeds.tolist() == [[0, 2]] * len(troubles)
    if workers == 1:
        with pytest.raises(ExperimentError, match="4 of 15 runs failed"):  # tried again
            run_experiment(STATIC, agents, 3, SETTINGS, tmp_path)


def test_a_worker_that_was_killed_while_it_waited_costs_one_job() -> None:
    worker = object.__new__(processes._Worker)
    worker.connection, theirs = multiprocessing.Pipe()
    theirs.close()
    worker.process = SimpleNamespace(join=lambda: None, exitcode=-9)
    worker.ready = True
    job: Any = "a job"
    assert worker.hand((job, Path("there"))) is None
    ended, error, alive = processes._answer(worker)
    assert error is not None
    assert (ended, error.message, alive) == (job, "its process ended (signal 9)", False)


@pytest.mark.parametrize("how", ["-c", "stdin", "script"])
def test_an_agent_from_anywhere(how: str, tmp_path: Path, repository: Path) -> None:
    code = (
        "import numpy as np\n"
        "from agents import Agent, run_experiment\n"
        "from edgecloud_gym import RequestDataset\n"
        "PLACE = 1\n"
        "class Mine(Agent):\n"
        "    def act(self, observation, info, explore=True):\n"
        "        return np.full(self.env.config.candidate_pool_size, PLACE)\n"
        "if __name__ == '__main__':\n"
        "    data = RequestDataset.from_arrays(base_latency=np.ones(9))\n"
        "    settings = dict(dataset=data, observe='id', duration=10.0)\n"
        "    result = run_experiment(\n"
        f"        {STATIC!r}, [Mine, 'fcfs'], 2, settings, 'out', workers=2)\n"
        "    again = []\n"
        "    run_experiment(\n"
        f"        {STATIC!r}, [Mine, 'fcfs'], 2, settings, 'out', progress=again.append)\n"
        "    print(len(result.summary), len(again))\n"
    )
    script = tmp_path / "script.py"
    script.write_text(code)
    command = {"-c": ["-c", code], "stdin": ["-"], "script": [str(script)]}[how]
    done = subprocess.run(
        [sys.executable, *command],
        input=code if how == "stdin" else None,
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={"PYTHONPATH": str(repository)},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["4", "1"]  # the second time nothing was played


def test_a_script_without_its_guard_is_told_so(tmp_path: Path, repository: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import numpy as np\n"
        "from agents import run_experiment\n"
        "from edgecloud_gym import RequestDataset\n"
        "data = RequestDataset.from_arrays(base_latency=np.ones(9))\n"
        "settings = dict(dataset=data, observe='id', duration=10.0)\n"
        f"run_experiment({STATIC!r}, ['fcfs'], 2, settings, 'out', workers=2)\n"
    )
    done = subprocess.run(
        [sys.executable, script],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={"PYTHONPATH": str(repository)},
        timeout=120,
    )
    assert done.returncode == 1
    assert "if __name__ == '__main__'" in done.stderr


class FullDisk(Lazy):
    """Lets no process write more than a little from its first seed on, like a full disk."""

    def reset(self, env: Any, seed: int) -> None:
        super().reset(env, seed)
        if "FULL_DISK" in os.environ:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # writing fails instead
            resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))


@pytest.mark.skipif(sys.platform == "win32", reason="has no limit on the size of files")
def test_a_full_disk_is_no_failure_of_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("FULL_DISK", "1")
        with pytest.raises(OSError, match=r"runs: cannot be written \(.*; what has finished is"):
            run_experiment(STATIC, FullDisk, 2, SETTINGS, tmp_path, workers=2)
    assert len(run_experiment(STATIC, FullDisk, 2, SETTINGS, tmp_path).summary) == 2


def played_elsewhere(folder: Path) -> int:
    return len(run_experiment(STATIC, "fcfs", 2, SETTINGS, folder, workers=2).summary)


def test_a_worker_that_may_not_start_processes_plays_by_itself(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(played_elsewhere, (tmp_path,)) == 2


def test_workers_do_not_repeat_what_the_parent_says(tmp_path, monkeypatch, capfd):
    (tmp_path / "smollm2-135m").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.warns(UserWarning, match="is the bundled one"):
        run_experiment(STATIC, "fcfs", 2, {"duration": 5.0}, output_dir=None, workers=2)
    assert "is the bundled one" not in capfd.readouterr().err
