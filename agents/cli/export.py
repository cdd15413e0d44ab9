"""``edgecloud export``: a trained model as ONNX or TorchScript."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from agents.experiments.model_file import ModelFile, read_model_file
from agents.schedulers.policy_file import POLICIES
from data_tools.cli.console import reading_input, reporting
from data_tools.cli.options import path_option, read_path
from edgecloud_gym.files import check_writable

_SUFFIXES = {"onnx": ".onnx", "torchscript": ".pt"}


def export(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="MODEL",
            parser=read_path,
            help="Model that `agents.save_model` or Stable-Baselines3 saved; those of `edgecloud "
            "train` cannot be exported. It holds pickled objects: take only those you trust.",
            show_default=False,
        ),
    ],
    form: Annotated[str, typer.Option("--format", help="onnx or torchscript.")] = "onnx",
    output: Annotated[
        Path | None,
        path_option(help="The file; by default MODEL.onnx or MODEL.pt.", show_default=False),
    ] = None,
    vec_normalize: Annotated[
        Path | None,
        path_option(help="Statistics of VecNormalize, where the model's file has none."),
    ] = None,
) -> None:
    """Export a trained model, to be played without this package.

    The file takes raw observations and the mask, and returns a score per choice; normalisation is
    inside. It is kept only if it chooses as the model does on 200 observations.

    For example:

    edgecloud export model.zip --format onnx
    """
    with reporting(extra="onnx"):
        with reading_input():
            if form not in _SUFFIXES:
                raise ValueError(f"--format {form}: must be one of {', '.join(_SUFFIXES)}")
            _check_exportable(read_model_file(file))
            path = output or file.with_suffix(_SUFFIXES[form])
            if path.resolve() == file.resolve():
                raise ValueError(f"--output {path}: is the model itself; name another file")
            check_writable(path)
            from agents.export.files import export_model
            from agents.schedulers.sb3_agent import SB3Agent

            agent = SB3Agent(file, vec_normalize=vec_normalize)
            facts = export_model(agent, path, form)
        inputs = ", ".join(f"{name} {tuple(shape)}" for name, shape in facts["inputs"].items())
        typer.echo(f"Saved to {path}: logits of {inputs}")


def _check_exportable(model: ModelFile) -> None:
    """Refuses what `edgecloud train` wrote: it does not choose from raw observations alone."""
    if model.agent == "sb3":
        return
    why = (
        "a network over what QueueHead shows, which this package computes from its predictions"
        if model.agent in POLICIES
        else "a bandit, which goes on learning"
    )
    raise ValueError(
        f"{model.path}: holds {model.agent!r} of edgecloud train, {why}; models of "
        "Stable-Baselines3 over the environments' own observations can be exported"
    )
