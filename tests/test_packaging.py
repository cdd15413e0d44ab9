"""The packages as packages: layers, locked versions, a complete wheel, a helpful Makefile."""

import ast
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest

PACKAGES = ("edgecloud_gym", "agents", "data_tools")
# What `import edgecloud_gym` must not pay for.
HEAVY = ("torch", "transformers", "datasets", "matplotlib", "typer", "rich", "pygame", "pandas")
# What the environment must do without altogether; its adapters to a library may import that one.
FORBIDDEN = {"agents", "data_tools", "torch", "transformers", "datasets", "matplotlib", "typer"}


@pytest.fixture(scope="module")
def project(repository: Path) -> dict[str, Any]:
    return tomllib.loads((repository / "pyproject.toml").read_text())


def imports(path: Path) -> Iterator[str]:
    """Top-level names of all modules that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.split(".")[0]


def test_the_environment_needs_no_other_layer(repository: Path) -> None:
    for path in (repository / "edgecloud_gym").rglob("*.py"):
        assert not FORBIDDEN & set(imports(path)), path


def test_only_the_command_line_joins_agents_and_data_tools(repository: Path) -> None:
    for path in (repository / "data_tools").rglob("*.py"):
        assert "agents" not in imports(path), path
    for path in (repository / "agents").rglob("*.py"):
        in_cli = (repository / "agents" / "cli") in path.parents
        assert in_cli or "data_tools" not in imports(path), path


def test_import_is_light() -> None:
    code = f"import sys, edgecloud_gym; print([m for m in {HEAVY!r} if m in sys.modules])"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"


def test_every_dependency_is_locked(repository: Path, project: dict[str, Any]) -> None:
    pins = dict(
        line.split("==")
        for line in (repository / "constraints.txt").read_text().lower().splitlines()
        if "==" in line
    )
    metadata = project["project"]
    declared = sum(metadata["optional-dependencies"].values(), metadata["dependencies"])
    names = {re.split(r"[\[<>=]", requirement)[0] for requirement in declared}
    locked = {name.replace("_", "-") for name in pins}
    assert names - {"edgecloud-gym"} <= locked


def test_the_wheel_is_complete(repository: Path, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    skip = shutil.ignore_patterns("__pycache__")
    for package in PACKAGES:
        shutil.copytree(repository / package, tree / package, ignore=skip)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(repository / name, tree)
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", str(tmp_path)]
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", *options, str(tree)], capture_output=True, check=True
    )
    (wheel,) = tmp_path.glob("*.whl")
    packed = set(zipfile.ZipFile(wheel).namelist())
    files = {
        path.relative_to(tree).as_posix()
        for package in PACKAGES
        for path in (tree / package).rglob("*")
        if path.is_file()
    }
    assert files <= packed
    assert {f"{package}/py.typed" for package in PACKAGES} <= packed


def test_the_command_exists() -> None:
    (command,) = entry_points(group="console_scripts", name="edgecloud")
    assert callable(command.load())


def test_make_tells_what_it_can_do_and_what_it_lacks(repository: Path, tmp_path: Path) -> None:
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(repository / name, tmp_path)

    def make(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["make", *arguments], cwd=tmp_path, capture_output=True, text=True, check=False
        )

    help_text = make().stdout
    for target in ("demo", "test", "lint", "types", "bench", "clean"):
        assert f"make {target}" in help_text
    refused = make("test", "PYTHON=false")
    assert refused.returncode != 0
    assert "needs Python 3.11 or newer" in refused.stdout
    assert not (tmp_path / ".venv").exists()
