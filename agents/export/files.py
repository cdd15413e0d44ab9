"""A trained model as ONNX or TorchScript, compared with the model before it is kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from agents.export.formats import SUFFIXES, Arrays, Function, read, write
from agents.export.policy import ExportedPolicy, Normalisation
from agents.export.walk import ExportedPredictor, ExportedWalk, columns
from agents.prediction.forecasts import as_forecast
from agents.schedulers.policy_agent import PolicyAgent
from agents.schedulers.policy_file import PolicyFile
from agents.schedulers.sb3_agent import SB3Agent
from edgecloud_gym import __version__
from edgecloud_gym.checks import check_choice, check_integer
from edgecloud_gym.files import replacing
from edgecloud_gym.simulator.observation import CANDIDATES
from edgecloud_gym.wording import shown

__all__ = ["CHECKED", "FORMAT", "SUFFIXES", "export_model", "predictor_path"]

FORMAT: Final = "edgecloud-policy/1"
PREDICTOR_FORMAT: Final = "edgecloud-predictor/1"
CHECKED: Final = 200  # observations
MASK: Final = "action_mask"
_FLAGS: Final = ("assigned", "legal")  # keys whose values are 0 or 1
_CLOSE: Final = 1e-5  # relative, of predictions

Choose = Callable[[Arrays, NDArray[Any]], NDArray[Any]]


def export_model(
    agent: SB3Agent | PolicyAgent,
    path: str | Path,
    format: str = "onnx",  # noqa: A002 # the option's name
    nodes: int | None = None,
) -> dict[str, Any]:
    """Writes a trained model as a file that needs neither this package nor Stable-Baselines3.

    Its inputs are what the model is shown, by key, raw, and ``action_mask`` (bool), each with a
    leading axis of any length; its output, ``logits``, has a score per choice, the largest of which
    is what the model does. Normalisation is inside. The file's metadata, under ``edgecloud``, say
    in JSON what the inputs are, in the order in which TorchScript takes them, and how the model was
    trained to play.

    A model of ``edgecloud train`` is shown what `edgecloud_gym.wrappers.QueueHead` shows, which
    follows from predictions: what predicts them is written beside it (`predictor_path`).

    Args:
        agent: The model: of Stable-Baselines3, or of ``edgecloud train``.
        path: The file, complete or absent.
        format: ``"onnx"`` or ``"torchscript"``.
        nodes: How many nodes a model of ``edgecloud train`` is to play; by default those that it
            learnt on.

    Returns:
        The metadata.

    Raises:
        ModuleNotFoundError: If what the format needs is not installed.
        TypeError: If it is another agent.
        RuntimeError: If the file would choose otherwise than the model on any of `CHECKED`
            observations, or predict otherwise; nothing is written then.
        ValueError: If the format is unknown, the model's actions are no choices, or it cannot play
            so many nodes.
    """
    check_choice("format", format, tuple(SUFFIXES))
    if isinstance(agent, PolicyAgent):
        count = None if nodes is None else check_integer("nodes", nodes, least=1)
        return _export_walk(agent.file, Path(path), format, count)
    if not isinstance(agent, SB3Agent):
        raise TypeError(
            f"agent={shown(agent)}: must be an SB3Agent, such as SB3Agent('model.zip'), or a "
            "network of `edgecloud train`, such as make_agent('ppo', model='ppo.npz')"
        )
    if nodes is not None:
        raise ValueError(
            f"nodes={shown(nodes)}: a model of Stable-Baselines3 plays those it learnt on"
        )
    return _export_sb3(agent, Path(path), format)


def predictor_path(path: str | Path) -> Path:
    """Returns where the predictor of an exported model lies: ``m.predictor.onnx`` of ``m.onnx``."""
    return Path(path).with_suffix(f".predictor{Path(path).suffix}")


def _export_sb3(agent: SB3Agent, path: Path, form: str) -> dict[str, Any]:
    statistics = agent.statistics
    stages = [] if statistics is None else [Normalisation(statistics)]
    policy = ExportedPolicy(agent.model.policy, stages).eval()
    space = agent.model.observation_space
    assert isinstance(space, spaces.Dict)  # as of every EdgeCloud environment
    facts = {
        "format": FORMAT,
        "version": __version__,
        "inputs": {name: _shape(space[name]) for name in policy.keys} | {MASK: list(policy.shape)},
        "actions": "sequential" if len(policy.shape) == 1 else "candidates",
        "work_conserving": agent.work_conserving,
        "allow_stop": agent.allows_stop,
    }
    samples = _observations(space, CHECKED)
    masks = _masks(policy.shape)
    function = Function(policy, {**samples, MASK: masks}, ["logits"], facts)

    def choose(shown: Arrays, allowed: NDArray[Any]) -> NDArray[Any]:
        return agent.predict(shown, allowed.reshape(len(allowed), -1))

    # One that knows of no masks is given none.
    checked = function.inputs if agent.is_masked else {**samples, MASK: np.ones_like(masks)}
    with replacing(path) as temporary:
        write(function, temporary, form)
        _compare_choices(choose, read(temporary, form), checked, path)
    return facts


def _export_walk(file: PolicyFile, path: Path, form: str, nodes: int | None) -> dict[str, Any]:
    network = ExportedWalk(file, nodes).eval()
    beside = predictor_path(path)
    facts = {
        "format": FORMAT,
        "version": __version__,
        "inputs": {n: _shape(network.space[n]) for n in network.keys} | {MASK: [*network.shape]},
        "actions": "walk",
        "columns": columns(),
        "work_conserving": file.walk.work_conserving,
        "skips": file.walk.skips,
        "predictor": beside.name,
    }
    shown = _observations(network.space, CHECKED)
    samples = {name: shown[name] for name in network.keys}
    function = Function(network, {**samples, MASK: _masks(network.shape)}, ["logits"], facts)

    def choose(parts: Arrays, allowed: NDArray[Any]) -> NDArray[Any]:
        seen = {**parts, "legal": allowed.astype(np.float32)}
        return np.asarray(network.policy.predict(seen, deterministic=True)[0])

    with replacing(path) as temporary, replacing(beside) as other:
        write(function, temporary, form)
        _compare_choices(choose, read(temporary, form), function.inputs, path)
        _write_predictor(file, other, form, beside)
    return facts


def _write_predictor(file: PolicyFile, path: Path, form: str, named: Path) -> None:
    """Writes the function that predicts for a model, and compares it with the predictor."""
    predictor = file.predictor()
    rng = np.random.default_rng(0)
    samples: Arrays = {
        "embeddings": rng.standard_normal((CHECKED, predictor.width)).astype(np.float32),
        "prompt_tokens": rng.integers(0, 4096, CHECKED).astype(np.float64),
    }
    # Some that it knows well, as those have the smallest spread.
    known = predictor.features.kernel.embeddings[: CHECKED // 2]
    samples["embeddings"][: len(known)] = known
    inputs = {name: list(part.shape[1:]) for name, part in samples.items()}
    facts = {"format": PREDICTOR_FORMAT, "version": __version__, "inputs": inputs}
    module = ExportedPredictor(predictor).eval()
    write(Function(module, samples, module.outputs, facts), path, form)
    found = dict(zip(module.outputs, read(path, form)(samples), strict=True))
    forecast = as_forecast(predictor.predict(**samples))
    expected = {"time": forecast.time, "output_tokens": forecast.output_tokens, **forecast.features}
    for name, values in expected.items():
        if values is not None and not np.allclose(found[name], values, rtol=_CLOSE, atol=1e-6):
            apart = float(np.abs(found[name] - values).max())
            raise RuntimeError(
                f"{named}: would predict otherwise, {name} by up to {apart:g}; nothing was written"
            )


def _shape(space: spaces.Space[Any]) -> list[int]:
    return list(space.shape or ())


def _masks(shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Returns masks drawn at random that allow something (count, ...)."""
    masks = np.random.default_rng(1).random((CHECKED, *shape)) < 0.7
    masks[..., -1] = True
    return masks


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


def _compare_choices(choose: Choose, run: Any, inputs: Arrays, path: Path) -> None:
    """Compares what a file and its model choose, of a batch and of one observation alone."""
    for rows in (slice(None), slice(0, 1)):
        given = {name: part[rows] for name, part in inputs.items()}
        (logits,) = run(given)
        allowed = given.pop(MASK)
        count = len(logits)
        chosen, expected = logits.argmax(axis=-1), choose(given, allowed)
        differs = np.any(chosen.reshape(count, -1) != expected.reshape(count, -1), axis=1)
        if differs.any() or not np.isfinite(logits).all():
            raise RuntimeError(
                f"{path}: would choose otherwise than the model on {int(differs.sum())} of {count} "
                "observations; nothing was written"
            )
