"""Others bear the names `agents` and `data_tools` too: who is in the way is said."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from edgecloud_gym import command
from edgecloud_gym.names import foreign


@pytest.mark.parametrize("name", ["agents", "data_tools"])
def test_ours_are_ours(name: str) -> None:
    assert foreign(name) is None
    assert foreign("no_such_package_anywhere") is None


@pytest.mark.parametrize("name", ["agents", "data_tools"])
def test_a_file_of_the_users(name: str, tmp_path: Path, repository: Path) -> None:
    """A `data_tools.py` beside the script that starts the command."""
    (tmp_path / f"{name}.py").write_text("x = 1\n")
    done = start(tmp_path, repository)
    assert done.returncode == 1
    assert f"Python finds {tmp_path / name}.py" in done.stderr
    assert "rename it" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("name", ["agents", "data_tools"])
def test_a_distribution_of_others(name: str, tmp_path: Path, repository: Path) -> None:
    """As `openai-agents`, which installs a package named `agents`."""
    site = tmp_path / "site-packages"
    (site / name).mkdir(parents=True)
    (site / name / "__init__.py").touch()
    info = site / "other_tools-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: other-tools\nVersion: 1.0\n")
    (info / "top_level.txt").write_text(f"{name}\n")
    done = start(site, repository)
    assert done.returncode == 1
    assert f"Python finds {site / name / '__init__.py'}" in done.stderr
    assert "belongs to the package other-tools" in done.stderr
    assert "in an environment without it" in done.stderr


def test_interrupted_while_it_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "import_module", interrupted)
    with pytest.raises(SystemExit) as caught:
        command.main()
    assert caught.value.code == 130


def start(first: Path, repository: Path) -> "subprocess.CompletedProcess[str]":
    """Starts the command with a folder that Python looks into first."""
    code = "import edgecloud_gym.command as c, sys; sys.path.insert(0, sys.argv[1]); c.main()"
    return subprocess.run(
        [sys.executable, "-c", code, str(first)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(repository)},
    )
