"""The notebook: it runs, as it stands, and was run before it was put here."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def cells(repository: Path) -> list[dict[str, Any]]:
    path = repository / "examples" / "quickstart.ipynb"
    found: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return [cell for cell in found if cell["cell_type"] == "code"]


def test_it_runs(cells: list[dict[str, Any]], repository: Path, tmp_path: Path) -> None:
    """As in a kernel: one cell after the other, from no file; learning is cut short."""
    code = "\n\n".join("".join(cell["source"]) for cell in cells)
    for long, short in (
        ("model.learn(25_000)", "model.learn(1)"),
        ("n_steps=128, batch_size=1024", "n_steps=4, batch_size=256"),
        ('"duration": 120', '"duration": 10'),
    ):
        assert long in code
        code = code.replace(long, short)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-"],
        input=code,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(repository)},
    )
    assert done.returncode == 0, done.stderr
    assert "requests, mean job completion time" in done.stdout


def test_what_it_shows_is_there(cells: list[dict[str, Any]]) -> None:
    outputs = [output for cell in cells for output in cell["outputs"]]
    assert not any(output["output_type"] == "error" for output in outputs)
    tables = ["".join(o["data"]["text/html"]) for o in outputs if "text/html" in o.get("data", {})]
    assert any("ppo" in table and "vs fcfs" in table for table in tables)
    assert "/tmp/" not in json.dumps(cells)  # nothing of whose machine it was
