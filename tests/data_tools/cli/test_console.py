"""One form for everything that a command says when something is wrong."""

import io
import sys
import warnings
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from agents.cli.app import make_app
from data_tools.cli.console import (
    Command,
    Group,
    counting_bar,
    fail,
    reading_input,
    reporting,
    warn,
)
from edgecloud_gym.files import UnreadableFileError


def run(body, *arguments: str):
    """Runs `body` as a command `do` of an application, with an option of each kind."""
    app = typer.Typer(cls=Group, no_args_is_help=True)

    @app.callback()
    def _root() -> None:
        """An application."""

    @app.command(cls=Command)
    def do(
        size: Annotated[int, typer.Option("--size", "-s")] = 1,
        model: Annotated[list[str] | None, typer.Option("--model", "-m")] = None,
        fast: Annotated[bool, typer.Option("--fast")] = False,
    ) -> None:
        del size, model, fast
        body()

    return CliRunner().invoke(app, ["do", *arguments] if arguments != ("",) else [])


def raising(error: BaseException, *managers):
    """A body that raises inside of the managers."""

    def body() -> None:
        from contextlib import ExitStack

        with ExitStack() as stack:
            for manager in managers:
                stack.enter_context(manager)
            raise error

    return body


@pytest.mark.parametrize(
    "error",
    [
        UnreadableFileError("f.jsonl, line 3: no JSON"),
        OSError("the disk is full"),
        ConnectionError("the server is gone"),
        MemoryError("the model does not fit"),
    ],
)
def test_trouble_outside_is_one_line(error: Exception) -> None:
    result = run(raising(error, reporting()))
    assert result.exit_code == 2
    assert result.stderr == f"error: {error}\n"
    assert result.stdout == ""


@pytest.mark.parametrize("error", [ValueError("x"), TypeError("x"), KeyError("x"), IndexError("x")])
def test_a_defect_of_ours_is_a_traceback(error: Exception) -> None:
    result = run(raising(error, reporting()))
    assert result.exit_code == 1
    assert result.exception is error


@pytest.mark.parametrize("error", [ValueError("x"), TypeError("x"), OSError("x"), KeyError("x")])
def test_while_input_is_read_errors_are_the_users(error: Exception) -> None:
    result = run(raising(error, reporting(), reading_input(KeyError)))
    assert result.exit_code == 2
    assert result.stderr == f"error: {error}\n"


def test_ctrl_c() -> None:
    result = run(raising(KeyboardInterrupt(), reporting("Nothing was written.")))
    assert result.exit_code == 130
    assert result.stderr == "\nInterrupted. Nothing was written.\n"


def test_missing_packages() -> None:
    missing = ModuleNotFoundError("No module named 'torch'", name="torch")
    result = run(raising(missing, reporting(extra="agents")))
    assert result.exit_code == 2
    assert result.stderr == "error: torch is not installed: pip install 'edgecloud-gym[agents]'\n"

    ours = ModuleNotFoundError("No module named 'data_tools.x'", name="data_tools.x")
    assert run(raising(ours, reporting())).exception is ours


def test_brackets_and_long_lines_are_printed_as_they_are() -> None:
    message = "no[/such]/d.jsonl [bold]x[/bold] " + "word " * 60 + "\n  second line"
    assert run(lambda: fail(message)).stderr == f"error: {message}\n"
    assert run(lambda: warn(message)).stderr == f"warning: {message}\n"


@pytest.mark.parametrize("encoding", ["ascii", "cp437", "latin-1"])
def test_a_terminal_that_is_not_utf_8(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    streams = {name: io.TextIOWrapper(io.BytesIO(), encoding) for name in ("stdout", "stderr")}
    for name, stream in streams.items():
        monkeypatch.setattr(sys, name, stream)
    with reporting():
        typer.echo("1–2 ≤ 3 日本")
        with pytest.raises(typer.Exit):
            fail("1–2 ≤ 3 日本 \udc80")
        print("1–2 ≤ 3 日本")
    for stream in streams.values():
        stream.flush()
        assert b"?" in stream.buffer.getvalue()


def test_warnings_are_shown_once() -> None:
    def body() -> None:
        with reporting():
            for _ in range(3):
                warnings.warn("f.jsonl: [odd]", UserWarning, stacklevel=1)
            warnings.warn("another", UserWarning, stacklevel=1)

    result = run(body)
    assert result.exit_code == 0
    assert result.stderr == "warning: f.jsonl: [odd]\nwarning: another\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--no-such"], "No such option"),
        (["--size", "x"], "Invalid value for '--size'"),
        (["--size", "1", "--size", "2"], "it is given twice"),
        (["--size", "1", "-s", "2"], "it is given twice"),
        (["--fast", "--fast"], "it is given twice"),
        (["surplus"], "unexpected extra argument"),
    ],
)
def test_usage_errors_have_the_same_form(arguments: list[str], message: str) -> None:
    result = run(lambda: None, *arguments)
    assert result.exit_code == 2
    assert result.stderr.startswith("error: ")
    assert message in result.stderr
    assert "do --help'\n" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_options_that_may_be_repeated() -> None:
    assert run(lambda: None, "-m", "a", "-m", "b", "--fast", "--size", "2").exit_code == 0


def test_an_unknown_command_and_none_at_all() -> None:
    app = typer.Typer(cls=Group, no_args_is_help=True)
    app.command("one", cls=Command)(lambda: None)
    app.command("two", cls=Command)(lambda: None)
    result = CliRunner().invoke(app, ["three"])
    assert result.exit_code == 2
    assert result.stderr.startswith("error: No such command 'three'")
    assert "error" not in CliRunner().invoke(app, []).stderr


def test_the_bar_counts(capfd: pytest.CaptureFixture[str]) -> None:
    with counting_bar("Embedding") as (start, advance):
        start(3)
        advance(2)
        advance(1)
    assert "3/3" in capfd.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ("describe", "smollm2-135m", "--png", ""),
        ("bundle", "rows.jsonl", " "),
        ("calibrate", "log.jsonl", "--sequences", "4", "--output", ""),
    ],
)
def test_an_empty_path_is_not_the_current_folder(arguments: tuple[str, ...]) -> None:
    result = CliRunner().invoke(make_app(), arguments)
    assert result.exit_code == 2
    assert "the path is empty; '.' is the current folder" in " ".join(result.output.split())
