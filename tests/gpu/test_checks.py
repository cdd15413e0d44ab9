"""The GPU checks themselves, with a tiny model on a CPU."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.gpu import checks


def test_all_checks_pass_on_a_cpu(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Interruption has tests of its own; here it would start the command twice.
    monkeypatch.setattr(checks, "check_resumption", lambda *_: (True, "left out"))
    assert checks.main(["--device", "cpu"]) == 0
    said = capsys.readouterr().out
    assert "6 of 6 answers equal, 0 part within rounding" in said
    assert said.count("ok ") >= 5
    assert "FAILED" not in said


def test_a_check_that_raises_is_a_failure(capsys: pytest.CaptureFixture[str]) -> None:
    def broken() -> tuple[bool, str]:
        raise RuntimeError("no kernel image\nmore")

    table = checks.Table()
    table.attempt("something", broken)
    assert table.failed == 1
    assert "FAILED something" in capsys.readouterr().out


def test_the_script_can_be_run(repository: Path) -> None:
    script = repository / "tests" / "gpu" / "run.sh"
    assert os.access(script, os.X_OK)
    subprocess.run(["bash", "-n", script], check=True)
