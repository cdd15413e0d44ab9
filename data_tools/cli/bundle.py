"""``edgecloud bundle``: a finished measurement as a dataset folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from data_tools.cli.console import quieten_transformers, reading_input, reporting
from data_tools.cli.options import SkipMalformed, on_error, path_option, read_path
from edgecloud_gym.files import read_text


def bundle(
    rows: Annotated[
        Path,
        typer.Argument(
            parser=read_path,
            help="An inference_data_NAME.jsonl that `edgecloud profile` wrote. Its metadata and "
            "its slowdown curve are read if they lie beside it.",
        ),
    ],
    output: Annotated[
        Path, typer.Argument(parser=read_path, help="Dataset folder; its name is the dataset's.")
    ],
    license: Annotated[  # noqa: A002 # the option's name
        str | None,
        typer.Option("--license", help="License of the model's answers, for the card. Required."),
    ] = None,
    licence: Annotated[str | None, typer.Option("--licence", hidden=True)] = None,
    notes: Annotated[
        Path | None, path_option(help="Text file with further remarks on the measurement.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option("--model", "-m", help="BERT for the embeddings, as in `edgecloud embed`."),
    ] = None,
    device: Annotated[
        str, typer.Option(help="Device of the BERT: auto, cpu, cuda, cuda:1, ...")
    ] = "auto",
    skip_malformed: SkipMalformed = False,
) -> None:
    """Make a compact dataset folder of a finished measurement.

    It holds the requests as Parquet, their embeddings, the slowdown curve and
    a card, README.md, that says how everything was measured and how well. Give
    the folder wherever a dataset is asked for. For example:

    edgecloud bundle inference_data_m.jsonl my-model --license Apache-2.0

    edgecloud bundle inference_data_m.jsonl my-model --license MIT --notes notes.txt
    """
    with reporting("No file was written or changed."):
        with reading_input():
            stated = _license(license, licence)
            text = "" if notes is None else read_text(notes).strip()
            if rows.is_dir():
                raise IsADirectoryError(f"{rows} is a folder; a measurement is a file")
            if not rows.is_file():
                raise FileNotFoundError(f"measurement {rows} does not exist")
            quieten_transformers()
            from data_tools.bundling.bundle import build_dataset
            from data_tools.bundling.embed import Embedder
            from data_tools.describing.quantities import shown

            embedder = Embedder(model, device=device)
        figures = build_dataset(
            rows, output, embedder, license=stated, notes=text, on_error=on_error(skip_malformed)
        )
        typer.echo(
            f"{output}: {figures.requests:,} requests, mean latency {figures.mean:.3g} s, "
            f"coefficient of variation {figures.variation:.2f}, "
            f"{shown(100 * figures.cut_off)}% cut off, "
            f"R² of log latency from the embedding {shown(figures.explained)}"
        )


def _license(*spellings: str | None) -> str:
    given = [text for text in spellings if text is not None]
    if len(given) > 1:
        raise ValueError("--license and --licence are the same: give one")
    if not given or not given[0].strip():
        raise ValueError("--license is missing: name the license of the model's answers")
    return given[0]
