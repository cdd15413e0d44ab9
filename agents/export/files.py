"""A trained model as ONNX or TorchScript, compared with the model before it is kept."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray

from agents.export.policy import ExportedPolicy, Normalisation
from agents.schedulers.sb3_agent import SB3Agent
from edgecloud_gym import __version__
from edgecloud_gym.checks import check_choice
from edgecloud_gym.files import replacing
from edgecloud_gym.simulator.observation import CANDIDATES

FORMAT: Final = "edgecloud-policy/1"
SUFFIXES: Final[Mapping[str, str]] = {"onnx": ".onnx", "torchscript": ".pt"}
CHECKED: Final = 200  # observations
_MASK: Final = "action_mask"
_FACTS: Final = "edgecloud"  # the key of the facts in a file's metadata
_FLAGS: Final = ("assigned", "legal")  # keys whose values are 0 or 1

Arrays = dict[str, NDArray[Any]]


def export_model(
    agent: SB3Agent,
    path: str | Path,
    format: str = "onnx",  # noqa: A002 # the option's name
) -> dict[str, Any]:
    """Writes a trained model as a file that needs neither this package nor Stable-Baselines3.

    Its inputs are the keys of the observation by name, raw, and ``action_mask`` (bool), each with a
    leading axis of any length; its output, ``logits``, has a score per choice, the largest of which
    is what the model does. Normalisation is inside. The file's metadata, under ``edgecloud``, say
    in JSON what the inputs are, in the order in which TorchScript takes them, and how the model was
    trained to play.

    Args:
        agent: The model.
        path: The file, complete or absent.
        format: ``"onnx"`` or ``"torchscript"``.

    Returns:
        The metadata.

    Raises:
        ModuleNotFoundError: If what the format needs is not installed.
        TypeError: If it is no `SB3Agent`.
        RuntimeError: If the file would choose otherwise than the model on any of `CHECKED`
            observations; nothing is written then.
        ValueError: If the format is unknown, or the model's actions are no choices.
    """
    check_choice("format", format, tuple(SUFFIXES))
    if not isinstance(agent, SB3Agent):
        raise TypeError(f"agent={agent!r}: must be an SB3Agent, such as SB3Agent('model.zip')")
    statistics = agent.statistics
    stages = [] if statistics is None else [Normalisation(statistics)]
    policy = ExportedPolicy(agent.model.policy, stages).eval()
    space = agent.model.observation_space
    assert isinstance(space, spaces.Dict)  # as of every EdgeCloud environment
    facts = {
        "format": FORMAT,
        "version": __version__,
        "inputs": {name: _shape(space[name]) for name in policy.keys} | {_MASK: list(policy.shape)},
        "actions": "sequential" if len(policy.shape) == 1 else "candidates",
        "work_conserving": agent.work_conserving,
        "allow_stop": agent.allows_stop,
    }
    samples = _observations(space, CHECKED)
    masks = np.random.default_rng(1).random((CHECKED, *policy.shape)) < 0.7
    masks[..., -1] = True
    inputs = tuple(torch.from_numpy(part) for part in (*samples.values(), masks))
    write, read = (_write_onnx, _read_onnx) if format == "onnx" else (_write_script, _read_script)
    with replacing(Path(path)) as temporary:
        write(policy, inputs, temporary, json.dumps(facts))
        for rows in (slice(None), slice(0, 1)):
            chosen = {name: part[rows] for name, part in samples.items()}
            _check(agent, read(temporary), chosen, masks[rows], path)
    return facts


def _shape(space: spaces.Space[Any]) -> list[int]:
    return list(space.shape or ())


def _observations(space: spaces.Dict, count: int) -> Arrays:
    """Returns observations drawn within their bounds (count, ...)."""
    rng = np.random.default_rng(0)
    found: Arrays = {}
    for name, part in space.items():
        assert isinstance(part, spaces.Box)
        shape = (count, *part.shape)
        if part.dtype.kind == "i":
            found[name] = rng.integers(part.low, part.high + 1, shape).astype(part.dtype)
            continue
        low, high = np.clip(part.low, -3.0, 3.0), np.clip(part.high, -3.0, 3.0)
        values = low + (high - low) * rng.random(shape)
        found[name] = (np.round(values) if name in _FLAGS else values).astype(part.dtype)
    if "candidates" in found:
        present = found["candidates"][:, :, CANDIDATES.positions.present]
        found["candidates"][:, :, CANDIDATES.positions.present] = np.round(present)
    return found


def _check(agent: SB3Agent, run: Any, samples: Arrays, masks: NDArray[Any], path: Any) -> None:
    """Compares what a file and its model choose; one that knows of no masks is given none."""
    given = masks if agent.is_masked else np.ones_like(masks)
    logits = run({**samples, _MASK: given})
    chosen = logits.argmax(axis=-1)
    expected = agent.predict(samples, given.reshape(len(given), -1))
    different = int(
        np.any(chosen.reshape(len(chosen), -1) != expected.reshape(len(chosen), -1), 1).sum()
    )
    if different or not np.isfinite(logits).all():
        raise RuntimeError(
            f"{path}: would choose otherwise than the model on {different} of {len(chosen)} "
            "observations; nothing was written"
        )


def _write_onnx(policy: ExportedPolicy, inputs: Any, path: Path, facts: str) -> None:
    import onnx
    import onnxscript  # noqa: F401 # torch needs it

    names = [*policy.keys, _MASK]
    batch = torch.export.Dim("batch", min=1)
    with warnings.catch_warnings(), _quiet():
        warnings.simplefilter("ignore")  # what torch's own code is told to mend
        program = torch.onnx.export(
            policy,
            inputs,
            input_names=names,
            output_names=["logits"],
            dynamic_shapes={"inputs": tuple({0: batch} for _ in names)},
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    entry = model.metadata_props.add()
    entry.key, entry.value = _FACTS, facts
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


def _read_onnx(path: Path) -> Any:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    taken = {item.name for item in session.get_inputs()}

    def run(inputs: Arrays) -> NDArray[Any]:
        given = {name: part for name, part in inputs.items() if name in taken}
        return np.asarray(session.run(["logits"], given)[0])

    return run


def _write_script(policy: ExportedPolicy, inputs: Any, path: Path, facts: str) -> None:
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # TorchScript is deprecated, and tells of constants
        traced = torch.jit.trace(  # type: ignore[no-untyped-call]
            policy, inputs, check_trace=False
        )
        torch.jit.save(traced, str(path), _extra_files={_FACTS: facts})


def _read_script(path: Path) -> Any:
    kept = {_FACTS: ""}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is deprecated
        module = torch.jit.load(str(path), _extra_files=kept)  # type: ignore[no-untyped-call]
    names = list(json.loads(kept[_FACTS])["inputs"])

    def run(inputs: Arrays) -> NDArray[Any]:
        with torch.no_grad():
            return np.asarray(module(*(torch.from_numpy(inputs[name]) for name in names)))

    return run
