"""Functions of torch as files of ONNX and TorchScript, and these files as functions of arrays."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

SUFFIXES: Final[Mapping[str, str]] = {"onnx": ".onnx", "torchscript": ".pt"}
FACTS: Final = "edgecloud"  # the key of the facts in a file's metadata

Arrays = dict[str, NDArray[Any]]
Run = Callable[[Arrays], list[NDArray[Any]]]


@dataclass(frozen=True)
class Function:
    """What is to be written.

    Attributes:
        module: The function.
        inputs: Samples of its arguments by name, in their order, with a leading axis of a batch.
        outputs: The names of its results.
        facts: What the file's metadata say, JSON values.
    """

    module: torch.nn.Module
    inputs: Arrays
    outputs: Sequence[str]
    facts: Mapping[str, Any]

    @property
    def tensors(self) -> tuple[torch.Tensor, ...]:
        """The samples as torch has them."""
        return tuple(torch.from_numpy(part) for part in self.inputs.values())


def write(function: Function, path: Path, form: str) -> None:
    """Writes a function to a file.

    Raises:
        ModuleNotFoundError: If what the format needs is not installed.
    """
    (_write_onnx if form == "onnx" else _write_script)(function, path)


def read(path: Path, form: str) -> Run:
    """Returns the function in a file: from arrays by name to its results."""
    return (_read_onnx if form == "onnx" else _read_script)(path)


def _write_onnx(function: Function, path: Path) -> None:
    import onnx
    import onnxscript  # noqa: F401 # torch needs it

    batch = torch.export.Dim("batch", min=1)
    with warnings.catch_warnings(), _quiet():
        warnings.simplefilter("ignore")  # what torch's own code is told to mend
        program = torch.onnx.export(
            function.module,
            function.tensors,
            input_names=list(function.inputs),
            output_names=list(function.outputs),
            dynamic_shapes={"inputs": tuple({0: batch} for _ in function.inputs)},
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    entry = model.metadata_props.add()
    entry.key, entry.value = FACTS, json.dumps(function.facts)
    onnx.save(model, str(path))


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps torch from listing what it would export if other packages were there."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _read_onnx(path: Path) -> Run:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    taken = {item.name for item in session.get_inputs()}

    def run(inputs: Arrays) -> list[NDArray[Any]]:
        given = {name: part for name, part in inputs.items() if name in taken}
        return [np.asarray(part) for part in session.run(None, given)]

    return run


def _write_script(function: Function, path: Path) -> None:
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # TorchScript is deprecated, and tells of constants
        traced = torch.jit.trace(  # type: ignore[no-untyped-call]
            function.module, function.tensors, check_trace=False
        )
        torch.jit.save(traced, str(path), _extra_files={FACTS: json.dumps(function.facts)})


def _read_script(path: Path) -> Run:
    kept = {FACTS: ""}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is deprecated
        module = torch.jit.load(str(path), _extra_files=kept)  # type: ignore[no-untyped-call]
    names = list(json.loads(kept[FACTS])["inputs"])

    def run(inputs: Arrays) -> list[NDArray[Any]]:
        with torch.no_grad():
            found = module(
                *(torch.tensor(inputs[name]) for name in names)
            )  # the arrays may be read-only
        parts = found if isinstance(found, tuple) else (found,)
        return [np.asarray(part) for part in parts]

    return run
