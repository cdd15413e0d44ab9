"""The command line as a whole: help, version, settings, terminals, missing packages."""

import os
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from platform import python_version

import pytest

from agents.cli.app import make_app
from agents.cli.shared.reading import env_defaults, settable_in
from edgecloud_gym import ENV_IDS, __version__
from tests.agents.cli.conftest import invoke, words

COMMANDS = ("compare", "train", "evaluate", "report", "reproduce-paper", "settings")


def test_version() -> None:
    result = invoke("--version")
    assert result.exit_code == 0
    ours, others = result.output.splitlines()
    assert ours == f"edgecloud {version('edgecloud-gym')}" == f"edgecloud {__version__}"
    shown = dict(item.split() for item in others.split(", "))
    assert shown["python"] == python_version()
    for name in ("gymnasium", "numpy", "numba", "torch", "stable-baselines3"):
        assert shown[name] == version(name)


@pytest.mark.parametrize("flag", ["-h", "--help"])
@pytest.mark.parametrize("command", COMMANDS)
def test_help(command: str, flag: str) -> None:
    result = invoke(command, flag)
    assert result.exit_code == 0
    assert "…" not in result.output  # nothing is cut, defaults included
    examples = re.findall(rf"edgecloud {command} [\w'-]|edgecloud compare --set", result.output)
    assert len(examples) >= 2
    _, _, after = result.output.partition("For example:")
    for line in after.partition("╭")[0].splitlines():  # each can be pasted: it is one line
        assert not line.strip() or line.startswith(" edgecloud ")
    assert max(map(len, result.output.splitlines())) <= 80


def test_help_of_the_whole() -> None:
    result = invoke("-h")
    assert result.exit_code == 0
    assert "--show-completion" in result.output
    for command in COMMANDS:
        assert command in result.output


def test_every_command_is_documented(repository: Path) -> None:
    page = (repository / "docs" / "api" / "commands.md").read_text(encoding="utf-8")
    names = [item.name or item.callback.__name__ for item in make_app().registered_commands]
    assert {*COMMANDS, "profile", "calibrate"} <= {*names}
    for name in names:
        assert f"## {name}\n\n{{{{ command {name} }}}}" in page


@pytest.mark.parametrize("env_id", ENV_IDS)
def test_every_setting_is_explained(env_id: str) -> None:
    result = invoke("settings", env_id)
    assert result.exit_code == 0
    rows = {}
    for line in result.output.splitlines():
        if line.startswith("  ") or not line.startswith(" "):
            continue
        name, *rest = line.split()
        rows[name] = rest
    for name in settable_in(env_id):
        if name != "priority":
            assert len(rows[name]) > 2, name
    for name, value in env_defaults(env_id).items():
        if name in rows and isinstance(value, int | float):
            assert rows[name][0] == str(value)


def test_default_nodes_are_told_in_words() -> None:
    output = invoke("settings", "cluster").output
    assert "edge-a (engine)" in " ".join(output.split())
    assert "step_floor" not in output


def test_settings_on_a_narrow_terminal_are_whole() -> None:
    output = invoke("settings", "static", columns=40).output
    assert "…" not in output
    for name in settable_in("EdgeCloud-Static-v0"):
        assert name == "priority" or name in output


@pytest.mark.parametrize("name", ["continuous", "Continuous", "EdgeCloud-Continuous-v0"])
def test_environments_in_short(name: str) -> None:
    assert "EdgeCloud-Continuous-v0" in invoke("settings", name).output
    assert invoke("settings", "continous").exit_code == 2


@pytest.mark.parametrize("encoding", ["ascii", "cp437", "utf-8"])
def test_any_terminal(
    encoding: str, bare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = ["compare", "--env", "static", "--agents", "fcfs,random", "--seeds", 5]
    arguments += ["--duration", 10, "--workers", 1, "--dataset", bare, "--output", "out"]
    result = invoke(*arguments, encoding=encoding)
    assert result.exit_code == 0, result.exception
    text = result.stdout_bytes.decode(encoding)
    assert "Results in out" in text
    (row,) = (line.split() for line in text.splitlines() if line.split()[1:2] == ["fcfs"])
    dash = "–" if encoding == "utf-8" else "-"
    assert row[-1] in (dash, "2")  # beats nobody, or the other
    assert row.count(dash) >= 1  # no difference from itself


@pytest.mark.parametrize("command", [(), ("compare",)])
def test_help_on_any_terminal(command: tuple[str, ...]) -> None:
    result = invoke(*command, "--help", encoding="ascii")
    assert result.exit_code == 0, result.exception


def test_as_a_process(repository: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "agents.cli", "--help"],
        capture_output=True,
        check=False,
        env={**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONPATH": str(repository)},
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", ["", " "])
@pytest.mark.parametrize(
    "arguments",
    [
        ("compare", "--output"),
        ("compare", "--trace"),
        ("evaluate", "--env", "static", "m.zip", "--output"),
        ("evaluate", "--env", "static", "m.zip", "--trace"),
        ("evaluate", "--env", "static", "m.zip", "--vec-normalize"),
        ("evaluate", "--env", "static"),
        ("train", "ppo", "--env", "static", "--output"),
        ("train", "ppo", "--env", "static", "--output", "m.zip", "--trace"),
        ("report",),
        ("report", "folder", "--output"),
    ],
)
def test_an_empty_path_is_not_the_current_folder(arguments: tuple[str, ...], path: str) -> None:
    result = invoke(*arguments, path)
    assert result.exit_code == 2
    assert "the path is empty" in words(result)


@pytest.mark.parametrize("option", ["--env", "--load", "--seeds", "--baseline", "--agents"])
def test_an_empty_value_is_refused(option: str) -> None:
    assert invoke("compare", "--agents", "fcfs", option, "").exit_code == 2


@pytest.mark.parametrize("seeds", ["0", "-1", "1.5", "nan", "100001", "9" * 30])
def test_how_many_seeds_there_can_be(seeds: str) -> None:
    result = invoke("compare", "--agents", "fcfs", "--seeds", seeds)
    assert result.exit_code == 2
    assert "--seeds" in words(result)


def test_without_typer_the_message_is_clear() -> None:
    code = "import sys; sys.modules['typer'] = None; from agents.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "pip install 'edgecloud-gym[agents]'" in done.stderr
    assert "Traceback" not in done.stderr


WITHOUT = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {names!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Missing())
from agents.cli import main
sys.argv = {arguments!r}
main()
"""


def test_with_the_agents_extra_alone(bare: Path, tmp_path: Path, repository: Path) -> None:
    """Of `data` none of these is there; the commands of agents work all the same."""
    names = ("transformers", "datasets", "huggingface_hub", "gguf", "httpx2", "accelerate")
    arguments = ["edgecloud", "compare", "--env", "static", "--agents", "fcfs", "--seeds", "1"]
    arguments += ["--duration", "5", "--dataset", str(bare), "--workers", "1"]
    code = WITHOUT.format(names=names, arguments=arguments)
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(repository)},
    )
    assert done.returncode == 0, done.stderr
    assert "Results in" in done.stdout


def test_a_defect_of_ours_stays_a_traceback(
    bare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ValueError("a bug")

    monkeypatch.setattr("agents.cli.compare.play_all", broken)
    result = invoke("compare", "--agents", "fcfs", "--dataset", bare, "--output", tmp_path / "out")
    assert result.exit_code == 1
    assert isinstance(result.exception, ValueError)
    assert "error:" not in words(result)
