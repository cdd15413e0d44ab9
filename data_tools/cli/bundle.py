"""``edgecloud bundle``: a finished measurement as a dataset folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from data_tools.cli.console import quieten_transformers, reading_input, reporting


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
    with reporting("No file was written or changed."), reading_input():
        text = "" if notes is None else notes.read_text(encoding="utf-8").strip()
        if not rows.is_file():
            raise FileNotFoundError(f"measurement {rows} does not exist")
        quieten_transformers()
        from data_tools.bundling.bundle import build_dataset
        from data_tools.bundling.embed import Embedder
        from data_tools.describing.quantities import shown

        embedder = Embedder(model, device=device)
        figures = build_dataset(rows, output, embedder, licence=licence, notes=text)
        typer.echo(
            f"{output}: {figures.requests:,} requests, mean latency {figures.mean:.3g} s, "
            f"coefficient of variation {figures.variation:.2f}, {figures.cut_off:.1%} cut off, "
            f"R² of log latency from the embedding {shown(figures.explained)}"
        )
