"""``edgecloud export``: a trained model as ONNX or TorchScript."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agents.cli.shared.models import read_model
from agents.cli.shared.options import Nodes, Trust
from agents.cli.shared.reading import check_trust
from agents.experiments.training.model_file import ModelFile
from agents.registry import make_agent
from agents.schedulers.policy_file import MODELS, POLICIES
from data_tools.cli.console import reading_input, reporting
from data_tools.cli.options import path_option
from edgecloud_gym.files import check_writable
from edgecloud_gym.node_files import load_nodes

if TYPE_CHECKING:
    from agents.base import Agent

_SUFFIXES = {"onnx": ".onnx", "torchscript": ".pt"}


def export(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="File of a trained model, or the name of one that comes with the package, such as "
            "ppo-static. A file of Stable-Baselines3 (.zip) holds pickled objects: --trust.",
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
        path_option(
            help="Statistics of VecNormalize, where the file of Stable-Baselines3 has none."
        ),
    ] = None,
    nodes: Nodes = None,
    trust: Trust = False,
) -> None:
    """Export a trained model, to be played without this package.

    The file takes what the model is shown, raw, and the mask, and returns a score per choice;
    normalisation is inside. It is kept only if it chooses as the model does on 200 observations. A
    model of `edgecloud train` chooses for one request at a time; what predicts for it is written
    beside it, MODEL.predictor.onnx. With --nodes it plays as many nodes as that file has.

    For example:

    edgecloud export model.zip --trust --format onnx

    edgecloud export ppo-continuous --format torchscript
    """
    with reporting(extra="onnx"):
        with reading_input():
            if form not in _SUFFIXES:
                raise ValueError(f"--format {form}: must be one of {', '.join(_SUFFIXES)}")
            found = read_model(model)
            file = found.path
            _check_exportable(found)
            check_trust([found], trust)
            own = file.parent == MODELS
            path = output or (Path(file.name) if own else file).with_suffix(_SUFFIXES[form])
            if path.resolve() == file.resolve():
                raise ValueError(f"--output {path}: is the model itself; name another file")
            check_writable(path)
            count = None if nodes is None else len(load_nodes(nodes))
            from agents.export.files import export_model, predictor_path

            facts = export_model(_agent(found, vec_normalize), path, form, count)
        inputs = ", ".join(f"{name} {tuple(shape)}" for name, shape in facts["inputs"].items())
        typer.echo(f"Saved to {path}: logits of {inputs}")
        if "predictor" in facts:
            typer.echo(f"Saved to {predictor_path(path)}: what predicts requests for it")


def _check_exportable(model: ModelFile) -> None:
    """Refuses bandits: they go on learning."""
    if model.agent != "sb3" and model.agent not in POLICIES:
        raise ValueError(
            f"{model.path}: holds {model.agent!r}, which goes on learning while it plays; networks "
            f"can be exported: {', '.join(POLICIES)} of edgecloud train, and models of "
            "Stable-Baselines3"
        )


def _agent(model: ModelFile, vec_normalize: Path | None) -> Any:
    if model.agent == "sb3":
        from agents.schedulers.sb3_agent import SB3Agent

        return SB3Agent(model.path, vec_normalize=vec_normalize)
    if vec_normalize is not None:
        raise ValueError(f"--vec-normalize: {model.path} is not of Stable-Baselines3")
    agent: Agent = make_agent(model.agent, model=model.path)
    return agent
