"""``edgecloud bench-suite``, as a user meets it."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from agents.cli.app import make_app

AGENT = '''
from typing import ClassVar

import numpy as np

from agents import Agent


class Mine(Agent):
    """Fills idle places in order of arrival."""

    name: ClassVar[str] = "mine"
    work_conserving = True

    def act(self, observation, info, explore=True):
        return np.zeros(len(observation["candidates"]), np.int64)
'''


def suite(*arguments: Any) -> Any:
    return CliRunner().invoke(make_app(), ["bench-suite", *map(str, arguments)])


@pytest.fixture
def my_agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "agent_of_a_contributor.py"
    path.write_text(AGENT)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield path
    sys.modules.pop(path.stem, None)


def test_one_file_brings_an_agent_onto_the_leaderboard(my_agent: Path, tmp_path: Path) -> None:
    output, docs = tmp_path / "out", tmp_path / "docs"
    for name in ("data", "assets"):
        (docs / name).mkdir(parents=True)
    options = ("--quick", "--agents", "fcfs", "--scenario", "new-frozen", "--seeds", 2)
    result = suite(*options, "--agent-file", my_agent, "--output", output, "--publish", docs)
    assert result.exit_code == 0, result.output
    assert "`mine`" in result.output
    assert "compare with nothing" in " ".join(result.output.split())
    board = json.loads((output / "leaderboard.json").read_text())
    assert [*board["agents"]] == [board["suite"]["one"], "fcfs", "mine"]
    assert board["made"]["dataset"]["dataset"] == "smollm2-135m"
    assert (docs / "leaderboard.md").read_text().count("assets/leaderboard_") == 2
    assert (docs / "data" / "leaderboard.json").read_text() == json.dumps(
        board, separators=(",", ":")
    ) + "\n"
    again = suite("verify", output / "leaderboard.json", "--agent-file", my_agent, "--rows", 2,
                  "--agent", "mine", "--output", output)  # fmt: skip
    assert again.exit_code == 0, again.output
    assert again.output.count("bit for bit") == 2
    board["results"]["new-frozen/static-0.95"]["mine"]["mean"][0] *= 1.01
    (output / "leaderboard.json").write_text(json.dumps(board))
    forged = suite("verify", output / "leaderboard.json", "--agent-file", my_agent, "--rows", 9,
                   "--agent", "mine", "--output", output)  # fmt: skip
    assert forged.exit_code == 1
    assert "DIFFERS" in forged.output


def test_nothing_is_played_for_a_look(tmp_path: Path) -> None:
    output = tmp_path / "out"
    dry = suite("--dry-run", "--agents", "fcfs,c2ucb", "--scenario", "drift", "--output", output)
    assert dry.exit_code == 0
    assert "4 agents, 6 scenarios, 120 runs" in dry.output
    listed = suite("--list")
    assert "drift/static-speed (EdgeCloud-Static-v0, 5 seeds)" in listed.output
    assert "azure: not played, replays a trace that is not part of the package" in listed.output
    assert not output.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--scenario", "drfit"), "scenario 'drfit': must be one of the groups"),
        (("--scenario", "azure"), "nothing to play: replays a trace that is not part"),
        (("--version", "9"), "version=9: must be one of v1"),
        (("--agents", "fcfs,longest-frist"), "unknown agent 'longest-frist'"),
        (("--agents", "fcfs,fcfs"), "'fcfs' is given twice"),
        (("--agent-file", "nothing.py"), "there is no such file"),
        (("--agent-file", "my-agent.txt"), "must be a Python file"),
        (("verify", "nothing.json"), "nothing.json"),
    ],
)
def test_what_is_wrong_is_named(arguments: tuple[str, ...], message: str) -> None:
    result = suite(*arguments)
    assert result.exit_code == 2
    assert message in " ".join(result.output.split())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--list", "--output", "x"), "--output has no effect with --list"),
        (("--seeds", 3, "verify", "x.json"), "--seeds has no effect before verify"),
        (("--quick", "--list", "--azure", "trace.csv"), "none of the scenarios replays it"),
    ],
)
def test_options_without_effect_are_refused(
    arguments: tuple[Any, ...], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("trace.csv").write_text(
        "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:04.0,40,3\n"
    )
    result = suite(*arguments)
    assert result.exit_code == 2
    assert message in " ".join(result.output.split())
