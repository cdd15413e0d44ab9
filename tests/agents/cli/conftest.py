"""What the tests of the command line share."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import typer
from typer.testing import CliRunner, Result

from agents.cli.app import make_app
from tests.agents.conftest import write_requests


@pytest.fixture(scope="session")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of the paper's keys, without embeddings or slowdown curve."""
    path = tmp_path_factory.mktemp("bare") / "toy.jsonl"
    write_requests(path, np.random.default_rng(0), 100)
    return path


@pytest.fixture
def pictures() -> None:
    """Lets the commands of a test draw, which takes them as long as all the rest."""


@pytest.fixture(autouse=True)
def _without_pictures(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "pictures" not in request.fixturenames:
        monkeypatch.setattr("agents.report.plots.draw_all", lambda *_: [])


@cache
def edgecloud() -> Any:
    """The command line, which takes a while to be put together."""
    return typer.main.get_command(make_app())


def invoke(*arguments: object, columns: int = 80, encoding: str = "utf-8") -> Result:
    """Runs ``edgecloud`` with arguments, in a terminal of so many columns and that encoding."""
    given = [str(argument) for argument in arguments]
    runner, terminal = CliRunner(charset=encoding), {"COLUMNS": str(columns)}
    with mock.patch.object(typer.testing, "_get_command", lambda app: app):
        return runner.invoke(edgecloud(), given, env=terminal)


@pytest.fixture
def compare(bare: Path, tmp_path: Path) -> Callable[..., Result]:
    """Runs ``edgecloud compare`` briefly; the results go to ``tmp_path / "out"``."""

    def run(*arguments: object) -> Result:
        fixed: dict[str, object] = {
            "--dataset": bare,
            "--output": tmp_path / "out",
            "--workers": 1,
            "--seeds": 2,
            "--duration": 20,
        }
        own = {name: value for name, value in fixed.items() if name not in arguments}
        return invoke("compare", *(part for pair in own.items() for part in pair), *arguments)

    return run


def words(result: Result) -> str:
    """What was printed, whatever the line breaks."""
    return " ".join(result.output.split())
