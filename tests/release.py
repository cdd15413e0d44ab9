"""Builds wheel and sdist, checks them, and installs the wheel where there is nothing else.

python -m tests.release [PYTHON ...]      with these interpreters; the present one by default

The environment is empty: the wheel brings what it needs, and no tool of ours. In it an episode of
every id is played, by itself and through the vector environments.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
BUILD: Final = ROOT / "build" / "release"
PLAY: Final = """
import sys, gymnasium, numpy, edgecloud_gym
for env_id in (*edgecloud_gym.ENV_IDS, edgecloud_gym.CLUSTER_ID):
    env = gymnasium.make(env_id, duration=3)
    observation, info = env.reset(seed=0)
    done = False
    while not done:
        observation, _, terminated, truncated, info = env.step(numpy.zeros(32, int))
        done = terminated or truncated
    assert info["summary"]["unfinished"] == 0
    envs = gymnasium.make_vec(env_id, 2, duration=3)
    envs.reset(seed=0)
    envs.step(envs.action_space.sample())
for name in ("torch", "pytest", "ruff", "mypy", "matplotlib"):
    try:
        __import__(name)
    except ModuleNotFoundError:
        continue
    raise SystemExit(f"{name} came with the wheel")
print("edgecloud-gym", edgecloud_gym.__version__, "plays on Python", sys.version.split()[0])
"""


def main() -> None:
    """Builds, checks and installs; ends with an error at the first thing that fails."""
    shutil.rmtree(BUILD, ignore_errors=True)
    for name in ("edgecloud_gym.egg-info", "build/lib", "build/bdist.linux-x86_64"):
        shutil.rmtree(ROOT / name, ignore_errors=True)
    dist = BUILD / "dist"
    build = f"from setuptools import build_meta as b; b.build_sdist({str(dist)!r})"
    run(sys.executable, "-c", build)
    (sdist,) = dist.glob("*.tar.gz")
    # The wheel is made of the sdist: what that lacks would be missing.
    pip = ("-m", "pip", "--disable-pip-version-check")
    options = ("--no-deps", "--no-build-isolation", "--wheel-dir", dist)
    run(sys.executable, *pip, "wheel", "--quiet", *options, sdist)
    (wheel,) = dist.glob("*.whl")
    checker = python_of(BUILD / "twine", sys.executable)
    run(checker, *pip, "install", "--quiet", "twine")
    run(checker, "-m", "twine", "check", "--strict", sdist, wheel)
    for interpreter in sys.argv[1:] or [sys.executable]:
        python = python_of(BUILD / Path(interpreter).name, interpreter)
        run(python, *pip, "install", "--quiet", "--constraint", ROOT / "constraints.txt", wheel)
        run(python, "-I", "-c", PLAY, cwd=BUILD)


def python_of(folder: Path, interpreter: str) -> Path:
    """Makes an empty environment; returns its interpreter."""
    run(interpreter, "-m", "venv", "--clear", folder)
    return folder / "bin" / "python"


def run(*command: object, cwd: Path = ROOT) -> None:
    """Runs a command that must succeed."""
    print("+", *(str(word)[:100].splitlines()[0] for word in command if str(word)), flush=True)
    bare = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run([str(word) for word in command], cwd=cwd, check=True, env=bare)


if __name__ == "__main__":
    main()
