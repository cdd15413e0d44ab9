"""Runs the tests with other versions of Gymnasium, and with libraries that need their own place.

python -m tests.matrix              the whole suite per Gymnasium, every library, the docs' table
python -m tests.matrix --quick      what a push is checked with
python -m tests.matrix rllib onnx   some of them

An environment is a layer over the one that runs this: it holds what differs, and sees the rest.
"""

from __future__ import annotations

import argparse
import csv
import os
import subprocess
import sys
import sysconfig
import time
from pathlib import Path
from typing import Final, NamedTuple

from tests.ecosystem.cells import FOLDER, FORMS, IDS, NOT

ROOT: Final = Path(__file__).resolve().parents[1]
LAYERS: Final = ROOT / "build" / "layers"
CELLS: Final = ROOT / "build" / "ecosystem"
TABLE: Final = ROOT / "docs" / "data" / "ecosystem.csv"
_ECOSYSTEM: Final = "tests/ecosystem"
_CORE: Final = (
    "tests/edgecloud_gym/envs/test_vector_errors.py",
    "tests/edgecloud_gym/wrappers/test_wrappers.py",
    "tests/ecosystem/test_gymnasium.py",
)


class Layer(NamedTuple):
    """An environment, and what is run in it.

    Attributes:
        requirements: What is installed over the present environment.
        imports: A module that must be there, so that its tests are not skipped.
        whole: What pytest runs; nothing stands for the whole suite.
        quick: The same for a push.
    """

    requirements: tuple[str, ...]
    imports: str
    whole: tuple[str, ...]
    quick: tuple[str, ...]


LAYERED: Final = {
    "gymnasium-1.1.1": Layer(("gymnasium==1.1.1",), "gymnasium", (), _CORE),
    "gymnasium-1.2.2": Layer(("gymnasium==1.2.2",), "gymnasium", (), _CORE),
    "libraries": Layer(
        ("h5py", "minari"),
        "minari",
        (
            _ECOSYSTEM,
            "tests/agents/recording",
            "tests/agents/cli/test_record.py",
            "tests/test_examples.py",
        ),
        ("tests/ecosystem/test_minari.py",),
    ),
    "torchrl": Layer(
        ("torchrl",),
        "torchrl",
        ("tests/ecosystem/test_torchrl.py", "tests/test_examples.py", "-k", "torchrl"),
        ("tests/ecosystem/test_torchrl.py", "-k", "Static or mask or reader"),
    ),
    "rllib": Layer(
        ("ray[rllib]",),
        "ray",
        ("tests/ecosystem/test_rllib.py", "tests/test_examples.py", "-k", "rllib"),
        ("tests/ecosystem/test_rllib.py", "-k", "Static or worker"),
    ),
    "onnx": Layer(
        ("onnx", "onnxruntime", "onnxscript"),
        "onnxruntime",
        ("tests/agents/export",),
        ("tests/agents/export", "-k", "ppo or example"),
    ),
}


def main() -> None:
    """Runs what the command line asks for; exits with 1 if anything failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.matrix", description=__doc__)
    parser.add_argument("names", nargs="*", help=f"which: {', '.join(LAYERED)}; all by default")
    parser.add_argument("--quick", action="store_true", help="only what a push is checked with")
    given = parser.parse_args()
    unknown = [name for name in given.names if name not in LAYERED]
    if unknown:
        parser.error(f"{', '.join(unknown)}: must be among {', '.join(LAYERED)}")
    failed = []
    for name in given.names or LAYERED:
        began = time.perf_counter()
        passed = run(name, given.quick)
        print(f"{name}: {'passed' if passed else 'FAILED'}, {time.perf_counter() - began:.0f} s")
        failed += [] if passed else [name]
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")
    if not given.quick:
        write_table()


def run(name: str, quick: bool) -> bool:
    """Makes an environment and runs its tests; returns whether they passed."""
    layer = LAYERED[name]
    python = made(name, layer)
    print(f"== {name}: {', '.join(layer.requirements)}", flush=True)
    subprocess.run([python, "-c", f"import {layer.imports}"], check=True)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), FOLDER: str(CELLS)}
    chosen = layer.quick if quick else layer.whole
    workers = ("--numprocesses", "auto") if not quick and name.startswith("gymnasium") else ()
    command = [python, "-m", "pytest", "--quiet", *workers, *chosen]
    return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode == 0


def made(name: str, layer: Layer) -> str:
    """Returns the interpreter of an environment, which is made unless it is there already."""
    folder = LAYERS / name
    python = str(folder / "bin" / "python")
    stamp = folder / "requirements"
    wanted = "\n".join((*layer.requirements, *constraints(layer)))
    if not stamp.exists() or stamp.read_text() != wanted:
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        below = sysconfig.get_path("purelib")
        (site,) = (folder / "lib").glob("python*/site-packages")
        (site / "below.pth").write_text(f"import site; site.addsitedir({below!r})\n")
        limits = folder / "constraints.txt"
        limits.write_text("\n".join(constraints(layer)))
        pip = [python, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
        # A new environment has a setuptools of its own, older than ours.
        wanted_here = ("setuptools", *layer.requirements)
        subprocess.run([*pip, "--constraint", limits, *wanted_here], check=True)
        stamp.write_text(wanted)
    return python


def constraints(layer: Layer) -> list[str]:
    """Returns the locked versions; of Gymnasium where the layer does not choose another."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    own = any(part.startswith(("gymnasium", "ray")) for part in layer.requirements)
    return [line for line in lines if "==" in line and not (own and line.startswith("gymnasium="))]


def write_table(table: Path = TABLE, cells: Path = CELLS) -> None:
    """Writes the table of the documentation: what the tests have found to work, and how.

    What earlier runs have found counts as well, until ``make clean``. A library of which nothing
    was found was not tried, and stands in the table as it did.
    """
    with table.open(newline="") as file:
        rows = {(row["library"], row["env"]): row for row in csv.DictReader(file)}
    found = {path.name: path.read_text() for path in cells.iterdir()}
    tried = {name.split("--")[0] for name in found}
    libraries = sorted(tried | {library for library, _ in rows})
    for library in tried:
        for env_id in IDS:
            ways = {form: found.get(f"{library}--{env_id}--{form}", NOT) for form in FORMS}
            rows[library, env_id] = {"library": library, "env": env_id, **ways}
    with table.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["library", "env", *FORMS], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows[library, env_id] for library in libraries for env_id in IDS)
    print(f"{table.name}: {len(libraries)} libraries, {len(tried)} of them tried")


if __name__ == "__main__":
    main()
