"""``edgecloud bench-suite``: frozen scenarios, a leaderboard, and rows played again."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from agents.base import Agent
from agents.cli.shared.options import (
    PROCESSORS,
    Azure,
    DryRun,
    RetryFailed,
    Trust,
    Workers,
    suite_traces,
)
from agents.cli.shared.reading import read_agents, split_outside
from agents.experiments.design.spec import AgentSpec
from agents.experiments.play import ExperimentProgress
from agents.registry import AGENT_NAMES
from agents.report.words import counted
from agents.suite.board import Board, make_board
from agents.suite.definition import VERSION, Suite, load_suite
from agents.suite.entrants import BAD, Stable, default_entrants, with_yardsticks
from agents.suite.markdown import render
from agents.suite.playing import PreparationError, play_suite
from agents.suite.verify import choose, verify
from data_tools.cli.console import Command, Group, fail, reading_input, reporting, warn
from data_tools.cli.options import path_option, read_path, refuse_given
from edgecloud_gym.files import duplicate, replacing
from edgecloud_gym.wording import shown

OUTPUT: Final = Path("results/suite")
BOARD: Final = "leaderboard.json"
PAGE: Final = "leaderboard.md"

AgentsOption = Annotated[
    str | None,
    typer.Option(
        help="Agents, as of compare; also those that are bad on purpose: "
        f"{', '.join(BAD)}. By default the suite's own, those of --agent-file besides."
    ),
]
AgentFile = Annotated[
    Path | None,
    path_option(
        "--agent-file",
        help="Python file of your own agents: every subclass of agents.Agent in it plays.",
        show_default=False,
    ),
]
Scenarios = Annotated[
    list[str] | None,
    typer.Option("--scenario", help="Scenario or group of them; repeat for several."),
]

_OF_PLAYING: Final = (
    *("agents", "agent_file", "trust"),
    *("output", "publish", "workers", "retry_failed", "dry_run"),
)

app = typer.Typer(cls=Group, invoke_without_command=True)


@app.callback()
def bench_suite(
    context: typer.Context,
    agents: AgentsOption = None,
    agent_file: AgentFile = None,
    scenario: Scenarios = None,
    azure: Azure = None,
    version: Annotated[int, typer.Option(help="Version of the suite.")] = VERSION,
    quick: Annotated[
        bool, typer.Option("--quick", help="A trial of seconds, which compares with nothing.")
    ] = False,
    seeds: Annotated[
        int | None,
        typer.Option(min=1, help="Only the first so many seeds of each scenario; all by default."),
    ] = None,
    output: Annotated[Path, path_option(help="Folder of raw runs and leaderboard.")] = OUTPUT,
    publish: Annotated[
        Path | None,
        path_option(
            help="Folder of documentation that gets the leaderboard too: leaderboard.md, "
            "data/leaderboard.json and the pictures in assets.",
            show_default=False,
        ),
    ] = None,
    workers: Workers = PROCESSORS,
    retry_failed: RetryFailed = False,
    dry_run: DryRun = False,
    show: Annotated[bool, typer.Option("--list", help="Only list the scenarios.")] = False,
    trust: Trust = False,
) -> None:
    """Play the benchmark suite and write a leaderboard.

    Frozen scenarios, the same requests for every agent. Agents that start from zero are trained
    first. A second call repeats nothing that is finished and makes the leaderboard anew. Ends with
    1 if an agent could not play any scenario.

    For example:

    edgecloud bench-suite --quick

    edgecloud bench-suite --agents fcfs,c2ucb --scenario drift --scenario new-frozen/static-0.95

    edgecloud bench-suite --agent-file my_agent.py

    edgecloud bench-suite verify results/suite/leaderboard.json
    """
    if context.invoked_subcommand is not None:
        with reading_input():
            everything = [str(parameter.name) for parameter in context.command.params]
            refuse_given(context, everything, f"before {context.invoked_subcommand}: put it after")
        return
    with reporting("The same command goes on from there.", extra="agents"):
        with reading_input():
            if show:
                refuse_given(context, _OF_PLAYING, "with --list")
            traces = suite_traces(azure)
            suite = load_suite(version, quick=quick).with_traces(traces).select(scenario or [])
            if not suite.cells:
                why = "; ".join(suite.skipped.values()) or "--quick has no such scenario"
                raise ValueError(f"there is nothing to play: {why}")
            if traces and not any(cell.trace for cell in suite.cells):
                raise ValueError("--azure has no effect: none of the scenarios replays it")
            suite = suite if seeds is None else suite.first_seeds(seeds)
            specs = with_yardsticks(suite, _entrants(suite, agents, agent_file, trust))
        if show:
            _list(suite)
            return
        stable = Stable(suite, specs, output)
        labels = [spec.label for spec in specs]
        for line in _plan(stable, output):
            typer.echo(line)
        if dry_run:
            return
        board = _play(stable, traces, output, workers, retry_failed)
        _publish(board, output, publish)
        Console().print(render(board).partition("## Tails")[0], markup=False, highlight=False)
        typer.echo(f"Leaderboard in {output}: {BOARD} {PAGE} and pictures")
        if any(not any(label in played for played in board.results.values()) for label in labels):
            raise typer.Exit(1)


@app.command("verify", cls=Command)
def verify_rows(
    file: Annotated[
        Path,
        typer.Argument(parser=read_path, metavar="LEADERBOARD", help="A leaderboard.json."),
    ],
    scenario: Scenarios = None,
    agent: Annotated[
        list[str] | None, typer.Option("--agent", help="Agent; repeat for several.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed.")] = None,
    rows: Annotated[int, typer.Option(help="How many rows at most, drawn at random.")] = 5,
    agent_file: AgentFile = None,
    azure: Azure = None,
    output: Annotated[Path, path_option(help="Folder of what agents were trained on.")] = OUTPUT,
    trust: Trust = False,
) -> None:
    """Play rows of a leaderboard again, and compare.

    Ends with 1 if a metric differs by more than rounding (1e-6 of its value).

    For example:

    edgecloud bench-suite verify results/suite/leaderboard.json --agent fcfs --rows 3
    """
    with reporting(extra="agents"):
        with reading_input():
            board = Board.read(file)
            suite = load_suite(int(board.suite["version"]))
            specs = {s.label: s for s in _entrants(suite, None, agent_file, trust)}
            for label in board.agents:
                if label not in specs and label.partition(":")[0] in AGENT_NAMES:
                    specs[label] = read_agents(label, trust)[0]
            chosen = choose(board, scenario or [], agent or [], seed, rows)
            traces = suite_traces(azure)
            lacking = [row for row in chosen if suite.cell(row.cell).trace and not traces]
            for row in lacking:
                warn(f"{row}: replays a trace; --azure FILE gives it")
        verdicts = verify(
            board,
            [row for row in chosen if row not in lacking],
            list(specs.values()),
            traces,
            output,
            typer.echo,
        )
        if not all(verdict.holds for verdict in verdicts):
            raise typer.Exit(1)


def _entrants(suite: Suite, agents: str | None, file: Path | None, trust: bool) -> list[AgentSpec]:
    """Returns who plays.

    Raises:
        ValueError: If an agent is unknown or given twice, or a file has none.
    """
    if agents is None:
        specs = default_entrants(suite)
    else:
        names = [name.strip() for name in split_outside(agents, ",")]
        bad = [AgentSpec(BAD[name]) for name in names if name in BAD]
        others = ",".join(name for name in names if name not in BAD)
        specs = [*(read_agents(others, trust) if others else []), *bad]
    if file is not None:
        specs += [AgentSpec(made) for made in _agents_in(file)]
    twice = duplicate([spec.label for spec in specs])
    if twice is not None:
        raise ValueError(
            f"{shown(twice)}: two agents have this name; an agent's `name` tells it apart"
        )
    return specs


def _agents_in(file: Path) -> list[type[Agent]]:
    """Imports a file, so that other processes can as well, and returns the agents in it.

    Raises:
        OSError: If there is no such file.
        ValueError: If it is no Python file, or has no agent.
    """
    if file.suffix != ".py" or not file.stem.isidentifier():
        raise ValueError(f"--agent-file {file}: must be a Python file, named as a module is")
    if not file.is_file():
        raise FileNotFoundError(f"--agent-file {file}: there is no such file")
    sys.path.insert(0, str(file.resolve().parent))
    module = importlib.import_module(file.stem)
    found = [
        made
        for made in vars(module).values()
        if inspect.isclass(made)
        and issubclass(made, Agent)
        and made.__module__ == file.stem
        and not inspect.isabstract(made)
    ]
    if not found:
        raise ValueError(f"--agent-file {file}: defines no subclass of agents.Agent")
    return found


def _list(suite: Suite) -> None:
    for group, about in suite.about.items():
        cells = [cell for cell in suite.cells if cell.group == group]
        if cells:
            typer.echo(f"{group}: {about}")
        for cell in cells:
            typer.echo(f"  {cell.name} ({cell.env_id}, {counted(len(cell.seeds), 'seed')})")
    for group, why in suite.skipped.items():
        typer.echo(f"{group}: not played, {why}")


def _plan(stable: Stable, output: Path) -> list[str]:
    suite = stable.suite
    runs = len(stable.specs) * sum(len(cell.seeds) for cell in suite.cells)
    lines = [
        f"Suite {suite.label}: {counted(len(stable.specs), 'agent')}, "
        f"{counted(len(suite.cells), 'scenario')}, {counted(runs, 'run')}; kept in {output}"
    ]
    lines += [f"{group}: not played, {why}" for group, why in suite.skipped.items()]
    return lines


def _play(
    stable: Stable, traces: dict[str, Path], output: Path, workers: int, retry_failed: bool
) -> Board:
    with _bar() as show:
        try:
            entries, result = play_suite(
                stable,
                traces,
                output,
                workers,
                tell=lambda text: typer.echo(text, err=True),
                progress=show,
                retry_failed=retry_failed,
            )
        except PreparationError as error:
            fail(error, error)
    for failure in result.failures:
        warn(failure)
    return make_board(stable, entries, output, result.failures)


@contextmanager
def _bar() -> Iterator[Any]:
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[count]}"))
    console = Console(stderr=True)
    with Progress(
        *columns, TimeRemainingColumn(), console=console, transient=True,
        disable=not console.is_terminal,
    ) as bar:  # fmt: skip
        task = bar.add_task("runs", count="")

        def show(progress: ExperimentProgress) -> None:
            if progress.note is not None:
                warn(progress.note)
            count = f"{progress.done}/{progress.total}"
            bar.update(task, total=progress.total, completed=progress.done, count=count)

        yield show


def _publish(board: Board, output: Path, docs: Path | None) -> None:
    from agents.suite.plots import draw

    board.write(output / BOARD)
    draw(board, output)
    _write(output / PAGE, render(board, "./"))
    if docs is not None:
        board.write(docs / "data" / BOARD)
        draw(board, docs / "assets")
        _write(docs / PAGE, render(board, "assets/", "suite.md"))


def _write(path: Path, text: str) -> None:
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
