"""README and documentation keep their word: code runs, commands parse, what is named exists.

A page's Python blocks run in order, in one namespace and an empty folder; those of sessions
(``pycon``) are doctests. A block whose fence says ``no-run`` is left out. Learning is cut short.
"""

import doctest
import re
import shlex
import sys
import textwrap
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pytest
import typer

from agents import AGENT_NAMES
from agents.cli.app import make_app
from edgecloud_gym import ENV_IDS

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
FENCE = re.compile(r"^( *)```(.*)\n((?:.*\n)*?)\1```$", re.MULTILINE)
SHELL = ("bash", "console", "sh", "shell")
EDGECLOUD: Any = typer.main.get_command(make_app())


class Block(NamedTuple):
    """A fenced block: the words of its fence, its text, and the line at which that begins."""

    words: list[str]
    text: str
    line: int


def blocks(path: Path, *languages: str) -> Iterator[Block]:
    page = path.read_text(encoding="utf-8")
    for found in FENCE.finditer(page):
        words = re.findall(r"[\w-]+", found[2])
        if words and words[0] in languages:
            line = page.count("\n", 0, found.start(3)) + 1
            yield Block(words, textwrap.dedent(found[3]), line)


def those_with(test: Callable[[Path], Any]) -> Any:
    """Parametrises over the pages that have something to test."""
    pages = [path for path in PAGES if test(path)]
    names = [path.relative_to(ROOT).as_posix() for path in pages]
    return pytest.mark.parametrize("page", pages, ids=names)


def code(path: Path) -> list[Block]:
    return [b for b in blocks(path, "python", "py", "pycon") if "no-run" not in b.words]


@pytest.mark.usefixtures("learning_briefly")
@those_with(code)
def test_code(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("page")
    module.__file__ = str(page)
    monkeypatch.setitem(sys.modules, "page", module)
    monkeypatch.chdir(tmp_path)
    for block in code(page):
        if block.words[0] == "pycon":
            run_session(block, module, page)
        else:
            # As many empty lines before it as the page has: tracebacks then show the page.
            lines = "\n" * (block.line - 1) + block.text
            exec(compile(lines, page, "exec"), module.__dict__)


def run_session(block: Block, module: ModuleType, page: Path) -> None:
    parser = doctest.DocTestParser()
    session = parser.get_doctest(block.text, module.__dict__, page.name, str(page), block.line - 1)
    report: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    runner.run(session, out=report.append, clear_globs=False)
    assert not runner.failures, "".join(report)
    module.__dict__.update(session.globs)


def commands(path: Path) -> list[list[str]]:
    """The commands of a page's shell blocks, as words, those joined by && or | apart."""
    found: list[list[str]] = []
    for block in blocks(path, *SHELL):
        for line in block.text.replace("\\\n", "").splitlines():
            words = shlex.split(line.removeprefix("$ "), comments=True)
            found.append([])
            for word in words:
                if word in ("&&", "|"):
                    found.append([])
                else:
                    found[-1].append(word)
    return [words for words in found if words]


@those_with(commands)
def test_commands(page: Path) -> None:
    for program, *arguments in commands(page):
        if program == "edgecloud":
            check_edgecloud(arguments)
        elif program == "python" and arguments[0].endswith(".py"):
            check_script(*arguments)
        elif program == "make":
            targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
            assert {word for word in arguments if "=" not in word} <= set(targets)


def check_edgecloud(arguments: list[str]) -> None:
    """Parses a command, runs nothing, and looks up the agents and environments that it names."""
    try:
        context = EDGECLOUD.make_context("edgecloud", list(arguments))
        command = EDGECLOUD.get_command(context, arguments[0])
        assert command is not None, f"there is no command edgecloud {arguments[0]}"
        given = command.make_context(arguments[0], arguments[1:], parent=context).params
    except typer.Exit:  # --help
        return
    agents = given.get("agents") or ""
    assert {agent.split(":")[0].strip() for agent in agents.split(",")} <= {*AGENT_NAMES, ""}
    named = given.get("env") or ()
    assert {named} <= set(ENV_IDS) if isinstance(named, str) else set(named) <= set(ENV_IDS)


def check_script(path: str, *arguments: str) -> None:
    script = (ROOT / path).read_text(encoding="utf-8")
    for argument in arguments:
        if argument.startswith("--"):
            assert f'"{argument.split("=")[0]}"' in script, f"{path} has no {argument}"


OPTIONS = {
    option
    for name in EDGECLOUD.commands
    for parameter in EDGECLOUD.commands[name].params
    for option in (*parameter.opts, *parameter.secondary_opts)
}


def inline(path: Path) -> list[list[str]]:
    """The options and commands in a page's running text, as words."""
    text = FENCE.sub("", path.read_text(encoding="utf-8"))
    spans = re.findall(r"`(-[^`]+|edgecloud [^`]+)`", text)
    return [span.split() for span in spans]


@those_with(inline)
def test_options_in_running_text(page: Path) -> None:
    for words in inline(page):
        known = OPTIONS
        if words[0] == "edgecloud" and not words[1].startswith("-"):
            assert words[1] in EDGECLOUD.commands
            known = {o for p in EDGECLOUD.commands[words[1]].params for o in p.opts}
        options = {word.split("=")[0] for word in words if re.match(r"--?[a-z]", word)}
        assert options <= {*known, "--help"}


def extras(path: Path) -> list[str]:
    found = re.findall(r"(?:edgecloud-gym|\.)\[([a-z,]+)\]", path.read_text(encoding="utf-8"))
    return ",".join(found).split(",") if found else []


@those_with(extras)
def test_extras(page: Path) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert set(extras(page)) <= set(project["project"]["optional-dependencies"])


@those_with(lambda path: path.parent == ROOT)  # those of the site are checked when it is built
def test_links(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8")):
        assert re.match(r"https?:", target) or (ROOT / target).exists(), target
