"""``edgecloud replay``: what other agents would have made of a recorded run."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from agents.cli.shared.options import (
    PROCESSORS,
    Columns,
    Overwrite,
    Settings,
    Trust,
    Workers,
    split_columns,
)
from agents.cli.shared.playing import conclude, make_plan, play_all, read_how, say, take_folder
from agents.cli.shared.reading import (
    check_baseline,
    check_embeddings,
    read_agents,
    read_settings,
    setting_kinds,
)
from agents.experiments.design.scenario import Scenario
from agents.experiments.experiment import prepare
from data_tools.cli.console import reading_input, reporting
from data_tools.cli.options import is_given, path_option, read_path
from edgecloud_gym import CLUSTER_ID
from edgecloud_gym.node_files import load_nodes


def replay(
    context: typer.Context,
    log: Annotated[
        Path,
        typer.Argument(
            metavar="LOG",
            parser=read_path,
            help="Folder that `edgecloud serve --record` wrote.",
            show_default=False,
        ),
    ],
    nodes: Annotated[
        Path | None,
        path_option(
            "--nodes", help="File of the nodes; by default those of the log.", show_default=False
        ),
    ] = None,
    agents: Annotated[
        str, typer.Option(help="Agents, as of compare.")
    ] = "fcfs,join-shortest-queue,least-kv,sjf-oracle",
    baseline: Annotated[
        str | None,
        typer.Option(help="Baseline of the comparisons; by default the first agent."),
    ] = None,
    settings: Settings = None,
    columns: Columns = None,
    output: Annotated[Path, path_option(help="Folder of the results.")] = Path("results/replay"),
    overwrite: Overwrite = False,
    workers: Workers = PROCESSORS,
    trust: Trust = False,
) -> None:
    """Play a recorded run in simulation: what would other agents have saved?

    The same requests, of the same lengths, arrive at the same times. What was measured is printed
    below, and how far the simulation of the agent that routed is from it.
    """
    with reporting(extra="agents"), ExitStack() as stack:
        with reading_input():
            from agents.gateway.records.reading import read_record, recorded_nodes

            record = read_record(log)
            served = recorded_nodes(log) if nodes is None else load_nodes(nodes)
            specs = read_agents(agents, trust)
            check_embeddings(specs, record.dataset)
            labels = [spec.label for spec in specs]
            if baseline is not None and is_given(context, "baseline"):
                check_baseline(baseline, labels)
            given = read_settings(settings, setting_kinds())
            scenario = Scenario(CLUSTER_ID, {"nodes": served, **record.settings(), **given})
            runs = prepare([scenario], specs, 1)
            how = stack.enter_context(read_how(context, workers, None, None, False))
            plan = make_plan(runs, output, how)
            take_folder(runs, output, overwrite, how)
        left = f", {record.left_out} that were not completed left out" if record.left_out else ""
        say([f"{len(record.requests)} requests{left}.", *plan.lines()])
        result = play_all(runs, output, how, plan)
        conclude(result, baseline or labels[0], how, split_columns(columns))
        _compare(record.agent, record.measured(), result.summary)


def _compare(agent: str, measured: dict[str, float], summary: object) -> None:
    """Prints what was measured, and beside it what was simulated of the same agent."""
    import pandas as pd

    assert isinstance(summary, pd.DataFrame)
    typer.echo(f"\nMeasured live, {agent}:")
    same = summary[summary["agent"] == agent]
    for name, value in measured.items():
        beside = ""
        if len(same) and name in same and value > 0:
            simulated = float(same[name].iloc[0])
            beside = f"; simulated {simulated:.3f} s ({simulated / value - 1:+.0%})"
        typer.echo(f"  {name} {value:.3f} s{beside}")
