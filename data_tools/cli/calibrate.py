"""``edgecloud calibrate``: an engine model from logs of a real server."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from data_tools.cli.console import counting_bar, reading_input, reporting
from data_tools.cli.options import path_option

if TYPE_CHECKING:
    from rich.table import Table

    from data_tools.calibration.calibrate import Calibration

_HEADS = {
    "e2e_mean": "E2E mean",
    "e2e_mape": "MAPE",
    "e2e_p50": "p50",
    "e2e_p99": "p99",
    "ttft_mean": "TTFT mean",
    "ttft_p50": "p50",
    "tpot_mean": "TPOT mean",
}


def calibrate(
    logs: Annotated[
        list[Path],
        typer.Argument(
            help="Logs of one server, each at its load: vLLM, LLMServingSim, vllm bench serve, "
            "GuideLLM, AIPerf, BLIS, Dynamo, llama.cpp, Ollama, edgecloud profile --rate, or any "
            "CSV with --column. A sweep of edgecloud profile among them counts as --sweep."
        ),
    ],
    output: Annotated[Path, path_option("--output", "-o", help="Engine model (.json) to write.")],
    sequences: Annotated[
        int | None, typer.Option(help="Sequences at a time; read from the log where it says.")
    ] = None,
    kv_tokens: Annotated[
        int | None, typer.Option(help="Tokens that the cache holds; without it, no limit.")
    ] = None,
    batched_tokens: Annotated[
        int | None, typer.Option(help="Tokens that a step computes at most. (2048)")
    ] = None,
    block_size: Annotated[int | None, typer.Option(help="Tokens per block. (16)")] = None,
    lookahead: Annotated[
        bool | None,
        typer.Option(help="A step is composed while the one before it runs; else chosen by fit."),
    ] = None,
    reserve_prompt: Annotated[
        bool | None,
        typer.Option(help="Admitted only if the whole prompt fits; else chosen by fit."),
    ] = None,
    prefix_caching: Annotated[
        bool | None,
        typer.Option(help="Blocks of the preempted stay readable; else chosen by fit."),
    ] = None,
    shared_prefix: Annotated[
        int | None,
        typer.Option(
            help="Tokens at the head of every prompt that the server has in its cache; else as in "
            "the sweep, or what 90 % of the requests found."
        ),
    ] = None,
    mixed_batches: Annotated[
        bool | None,
        typer.Option(
            help="Prompts are read in one batch with the tokens of those that decode; else as in "
            "the sweep, or yes."
        ),
    ] = None,
    sweep: Annotated[
        Path | None,
        path_option(
            help="Step times at fixed concurrencies: of edgecloud profile --concurrency, or a CSV "
            "(tokens, seconds). Fits nothing."
        ),
    ] = None,
    column: Annotated[
        list[str] | None,
        typer.Option(help="FIELD=COLUMN of a table: sent, first, finish, prompt, output, ..."),
    ] = None,
    name: Annotated[str, typer.Option(help="Name of the model; by default of the file.")] = "",
    model: Annotated[str, typer.Option(help="The language model that was served.")] = "",
    hardware: Annotated[str, typer.Option(help="What it ran on.")] = "",
    png: Annotated[
        Path | None, path_option(help="Picture to write; by default beside the output.")
    ] = None,
    no_png: Annotated[bool, typer.Option("--no-png", help="Draw no picture.")] = False,
) -> None:
    """Fit an engine model to logs of a real server.

    One log is fitted on its odd requests and judged on the even ones; of
    several, each is also judged by a fit of the others. Prints the numbers with
    95 % intervals and a table of errors, draws simulated against measured
    times, and says what the logs cannot tell.
    """
    with reporting("No file was written."):
        with reading_input():
            from data_tools.calibration.calibrate import calibrate as calibrate_logs
            from data_tools.calibration.identify import RESAMPLES
            from data_tools.calibration.logs import read_log
            from data_tools.calibration.sweep import is_sweep_file, read_steps
            from edgecloud_gym.files import check_writable

            if png is not None and no_png:
                raise ValueError("--png and --no-png exclude each other")
            if output.suffix != ".json":
                raise ValueError(f"--output={output}: must end in .json")
            check_writable(output)
            columns = _columns(column or [])
            sweeps = [path for path in logs if is_sweep_file(path)]
            sweeps += [] if sweep is None else [sweep]
            if len(sweeps) > 1:
                raise ValueError(f"one sweep is needed, got {', '.join(map(str, sweeps))}")
            read = [read_log(path, columns) for path in logs if path not in sweeps]
            if not read:
                raise ValueError("a log of requests is needed beside the sweep, to test it")
            steps = read_steps(sweeps[0]) if sweeps else None
            settings: dict[str, Any] = {
                "sequences": sequences,
                "kv_tokens": kv_tokens,
                "batched_tokens": batched_tokens,
                "block_size": block_size,
                "lookahead": lookahead,
                "reserve_prompt": reserve_prompt,
                "prefix_caching": prefix_caching,
                "shared_prefix": shared_prefix,
                "mixed_batches": mixed_batches,
            }
            with counting_bar("Fitting") as (start, advance):
                start(RESAMPLES)
                result = calibrate_logs(
                    read,
                    name=name or output.stem,
                    served_model=model,
                    hardware=hardware,
                    sweep=steps,
                    resamples=RESAMPLES,
                    progress=advance,
                    **settings,
                )
        show(result)
        result.model.save(output)
        typer.echo(f"Engine model: {output}")
        if not no_png:
            from data_tools.calibration.figure import save_figure

            picture = png or output.with_suffix(".png")
            save_figure(result, picture)
            typer.echo(f"Picture: {picture}")


def _columns(given: list[str]) -> dict[str, str] | None:
    pairs = [text.partition("=") for text in given]
    for name, sign, column in pairs:
        if not (name and sign and column):
            raise ValueError(f"--column={name}{sign}{column}: must be FIELD=COLUMN")
    return {name: column for name, _, column in pairs} or None


def show(result: Calibration) -> None:
    """Prints numbers, errors and notes."""
    from rich.console import Console

    console = Console()
    console.print(_numbers(result))
    console.print(_errors(result))
    for note in result.notes:
        console.print(f"- {note}", markup=False, highlight=False)


def _numbers(result: Calibration) -> Table:
    from rich.table import Table

    from edgecloud_gym.engines import TIMES

    table = Table(title=f"{result.model.name}: numbers (ms)")
    for head in ("", "value", "95 % interval"):
        table.add_column(head, justify="left" if not head else "right")
    for name in TIMES:
        span = result.model.intervals.get(name)
        if span is None and result.model.step_times is not None:
            if getattr(result.model, name) > 0:
                table.add_row(name, f"{1000 * getattr(result.model, name):.4g}", "measured")
        elif span is None:
            table.add_row(name, "-", "not identified")
        else:
            low, high = (f"{1000 * bound:.4g}" for bound in span)
            table.add_row(name, f"{1000 * getattr(result.model, name):.4g}", f"{low} to {high}")
    for tokens, seconds in result.model.step_times or ():
        table.add_row(f"step of {tokens:g} tokens", f"{1000 * seconds:.4g}", "measured")
    return table


def _errors(result: Calibration) -> Table:
    from rich.table import Table

    table = Table(title="Errors (%), simulated less measured")
    table.add_column("fitted on", overflow="fold")
    table.add_column("judged on", overflow="fold")
    for head in _HEADS.values():
        table.add_column(head, justify="right")
    for row in result.judgements:
        shown = [
            f"{100 * row.errors[key]:{'.1f' if key == 'e2e_mape' else '+.1f'}}" for key in _HEADS
        ]
        table.add_row(row.fitted_on, row.judged_on, *shown)
    return table
