"""The packages as packages: layers, locked versions, a complete wheel, a helpful Makefile."""

import ast
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from graphlib import TopologicalSorter
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest

# The parts of each package, on floors: a part imports those of lower floors alone.
FLOORS = {
    "edgecloud_gym": (
        "command | rllib sb3 torchrl | networks sb3_metrics | wrappers | envs | render | results"
        " | simulator | config | node_files | nodes | arrivals dataset drift engines priorities"
        " | files times | unpacking | checks extras fonts names processors | wording"
    ),
    "agents": (
        "cli | export gateway recording suite | experiments | report tuning | registry"
        " | schedulers | policies | rules prediction | base"
        " | checkpoint interrupts statistics threads"
    ),
    "agents.experiments": (
        "experiment | merge play training | estimate executors paper results | runs | design"
        " | episode identity shard"
    ),
    "data_tools": (
        "cli | bundling describing load | profiling | calibration | backends prompts"
        " | hub machine progress"
    ),
}
PACKAGES = ("edgecloud_gym", "agents", "data_tools")
# What the environment must do without altogether; its adapters to a library may import that one.
ADAPTERS = {
    "fonts": {"matplotlib"},
    "networks": {"torch"},
    "rllib": {"torch"},
    "torchrl": {"torch"},
}
FORBIDDEN = {"agents", "data_tools", "torch", "transformers", "datasets", "matplotlib", "typer"}


@pytest.fixture(scope="module")
def project(repository: Path) -> dict[str, Any]:
    return tomllib.loads((repository / "pyproject.toml").read_text())


@pytest.fixture(scope="module")
def modules(repository: Path) -> dict[str, Path]:
    """All modules of the three packages by name; a package goes by the name of its folder."""
    paths = [path for package in PACKAGES for path in (repository / package).rglob("*.py")]
    names = [".".join(path.relative_to(repository).with_suffix("").parts) for path in paths]
    return {n.removesuffix(".__init__"): p for n, p in zip(names, paths, strict=True)}


def imports(path: Path, modules: dict[str, Path], at_once: bool = False) -> Iterator[str]:
    """Names of the modules that a file imports, wherever in it or only when it is imported."""
    pending: list[ast.AST] = [ast.parse(path.read_text())]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.module, f"{path}: relative import"
            for name in (f"{node.module}.{alias.name}" for alias in node.names):
                yield name if name in modules else node.module
        elif not (at_once and is_later(node)):
            pending += ast.iter_child_nodes(node)


def is_later(node: ast.AST) -> bool:
    """Whether what a statement holds does not run when its module is imported."""
    if isinstance(node, ast.If):
        return isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
    return isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))


@pytest.mark.parametrize("package", FLOORS)
def test_imports_run_one_way(package: str, modules: dict[str, Path]) -> None:
    floors = [floor.split() for floor in reversed(FLOORS[package].split("|"))]
    height = {part: i for i, floor in enumerate(floors) for part in floor}
    inside = {n: n.removeprefix(f"{package}.") for n in modules if n.startswith(f"{package}.")}
    parts = {name: rest.split(".")[0] for name, rest in inside.items()}
    for name, part in parts.items():  # its own face shows what it likes
        assert part in height, f"{part} has no floor yet"
        for other in imports(modules[name], modules):
            assert other != package, f"{name} imports the face of its own package"
            if parts.get(other, part) != part:
                assert height[parts[other]] < height[part], f"{name} imports {other}"


def test_nothing_imports_in_a_circle(modules: dict[str, Path]) -> None:
    graph = {name: {*imports(path, modules, at_once=True)} for name, path in modules.items()}
    TopologicalSorter(graph).prepare()  # a `CycleError` lists the circle


def test_the_environment_needs_no_other_layer(modules: dict[str, Path]) -> None:
    for name, path in modules.items():
        if name.split(".")[0] == "edgecloud_gym":
            forbidden = FORBIDDEN - ADAPTERS.get(name.split(".")[-1], set())
            assert not forbidden & {other.split(".")[0] for other in imports(path, modules)}, name


def test_only_the_command_line_joins_agents_and_data_tools(modules: dict[str, Path]) -> None:
    for name, path in modules.items():
        used = {other.split(".")[0] for other in imports(path, modules)}
        assert not (name.split(".")[0] == "data_tools" and "agents" in used), name
        in_cli = name.split(".")[:2] == ["agents", "cli"]
        assert in_cli or not (name.split(".")[0] == "agents" and "data_tools" in used), name


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("edgecloud_gym", "numba pandas pyarrow scipy"),
        ("agents", "numba"),
        ("data_tools.cli.app", "numba pandas"),
    ],
)
def test_importing_is_light(module: str, heavy: str) -> None:
    heavy += " torch transformers datasets stable_baselines3 sb3_contrib matplotlib pygame"
    code = f"import sys, {module}; print(*(m for m in {heavy.split()} if m in sys.modules))"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.split() == []


def test_git_ignores_no_source(repository: Path) -> None:
    """A pattern for results in .gitignore once took a package named `results` with it."""
    if not (repository / ".git").exists() or not shutil.which("git"):
        pytest.skip("no git checkout")
    which = ["--cached", "--others", "--ignored", "--exclude-standard"]
    listed = subprocess.run(
        ["git", "ls-files", *which, "--", *PACKAGES, "docs", "examples", "tests"],
        cwd=repository,
        capture_output=True,
        text=True,
        check=True,
    )
    assert [path for path in listed.stdout.splitlines() if "__pycache__" not in path] == []


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
    for target in ("serving", "demo", "test", "lint", "types", "bench", "clean"):
        assert f"make {target}" in help_text
    refused = make("test", "PYTHON=false")
    assert refused.returncode != 0
    assert "needs Python 3.11 or newer" in refused.stdout
    assert not (tmp_path / ".venv").exists()
