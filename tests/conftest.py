"""Fixtures that several test packages share."""

import os
import subprocess
import sys
from functools import partialmethod
from inspect import signature
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

# The same examples at every run, and no time limit that a busy machine could miss.
settings.register_profile("repeatable", derandomize=True, deadline=None, max_examples=50)
settings.load_profile("repeatable")

# Small networks: a second thread would only wait, on a busy machine for a long time. Read by torch
# when it is first imported, here and in the processes that tests start.
os.environ.setdefault("OMP_NUM_THREADS", "1")

REPOSITORY = Path(__file__).resolve().parents[1]

# What takes longest to compile, in two processes: all workers would compile it at the same time.
COMPILED = (
    """
from agents import run_experiment
from edgecloud_gym.engines import EngineModel
from edgecloud_gym.simulator.engine_log import simulate_engine
run_experiment("EdgeCloud-Static-v0", ["fcfs", "cn-ducb"], 1, {"duration": 20.0}, None)
times = dict.fromkeys(("step_overhead", "step_floor", "token_time", "context_time"), 0.01)
simulate_engine(EngineModel(**times, sequences=2), [0.0], [9], [9])
""",
    """
import gymnasium
gymnasium.make("edgecloud_gym:EdgeCloud-Cluster-v0", duration=2.0).reset(seed=0)
""",
)


def pytest_configure(config: pytest.Config) -> None:
    """Compiles simulator and bandits before several workers start, as a fresh clone must."""
    if getattr(config.option, "numprocesses", None) and not hasattr(config, "workerinput"):
        commands = [[sys.executable, "-c", code] for code in COMPILED]
        started = [subprocess.Popen(command, cwd=REPOSITORY) for command in commands]
        for process in started:
            process.wait()


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of this checkout."""
    return REPOSITORY


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The folder of material kept outside the repository: reference traces, workload traces.

    It is what the environment variable EDGECLOUD_SHARED names, else `shared` beside the repository.
    """
    path = Path(os.environ.get("EDGECLOUD_SHARED", REPOSITORY.parent / "shared"))
    if not path.is_dir():
        pytest.skip(f"no shared data: {path} is not a folder (set EDGECLOUD_SHARED to name it)")
    return path


@pytest.fixture
def learning_briefly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets the algorithms of Stable-Baselines3 learn only long enough to see that they can."""
    from sb3_contrib import MaskablePPO
    from stable_baselines3 import A2C, DQN, PPO, SAC

    for algorithm in (A2C, MaskablePPO, PPO):
        build = partialmethod(_build_briefly, algorithm.__init__)
        monkeypatch.setattr(algorithm, "__init__", build)
    for algorithm in (A2C, DQN, MaskablePPO, PPO, SAC):
        learn = partialmethod(_learn_briefly, algorithm.learn)
        monkeypatch.setattr(algorithm, "learn", learn)


def _build_briefly(model: Any, build: Any, *given: Any, **options: Any) -> None:
    env = given[1] if len(given) > 1 else options.get("env")
    brief = {"n_steps": 8, "batch_size": 8 * getattr(env, "num_envs", 1), "n_epochs": 1}
    known = signature(build).parameters
    build(model, *given, **options | {key: brief[key] for key in brief if key in known})


def _learn_briefly(model: Any, learn: Any, steps: int, *given: Any, **options: Any) -> Any:
    return learn(model, min(steps, 128), *given, **options)


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Names bytes by their argument: archives hold times, and each worker makes its own."""
    return argname if isinstance(val, bytes) else None


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Looks for doctests in no helper of the tests: to look is to import, in every worker."""
    is_helper = collection_path.suffix == ".py" and not collection_path.name.startswith("test_")
    return True if is_helper else None
