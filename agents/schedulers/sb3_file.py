"""Files of Stable-Baselines3: which algorithm saved one, and what was saved beside the model.

A model plays as it was trained only with what surrounded it there: whether idle places were filled,
whether a decision could be stopped, the statistics by which `VecNormalize` scaled observations.
SB3 saves none of these. `save_model` puts them into the same zip, as entries that SB3 reads past.
"""

from __future__ import annotations

import json
import pickle
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from edgecloud_gym.files import UnreadableFileError, replacing

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm
    from stable_baselines3.common.vec_env import VecNormalize

_RECORD: Final = "edgecloud.json"
_STATISTICS: Final = "vec_normalize.pkl"
_ENTRIES: Final = {"data", "policy.pth"}
# What tells the algorithms apart: an attribute that only the one has, the most special first.
_MARKS: Final = {
    "n_quantiles": "QRDQN",
    "exploration_fraction": "DQN",
    "top_quantiles_to_drop_per_net": "TQC",
    "target_entropy": "SAC",
    "policy_delay": "TD3",
    "cg_max_steps": "TRPO",
    "clip_range": "PPO",
    "rollout_buffer_class": "A2C",
}


@dataclass(frozen=True)
class SB3File:
    """What a file of Stable-Baselines3 says of itself, without unpickling anything.

    Attributes:
        path: The file.
        algorithm: The algorithm's name; empty if it is none that can be told.
        training: How the model was trained, if the file has a record of it.
        normalized: Whether it holds the statistics of a `VecNormalize`.
    """

    path: Path
    algorithm: str
    training: Mapping[str, Any] | None
    normalized: bool

    def statistics(self) -> VecNormalize | None:
        """Returns the statistics that it holds, unpickled, if it holds any."""
        if not self.normalized:
            return None
        with zipfile.ZipFile(self.path) as archive:
            return _statistics(archive.read(_STATISTICS), self.path)


def read_sb3_file(path: Path) -> SB3File | None:
    """Tells what a file of Stable-Baselines3 holds; ``None`` if it is a zip of something else.

    Raises:
        FileNotFoundError: If there is no such file.
        UnreadableFileError: If it is no zip, or damaged.
    """
    try:
        with path.open("rb") as stream, zipfile.ZipFile(stream) as archive:
            entries = set(archive.namelist())
            if not entries >= _ENTRIES:
                return None
            data = json.loads(archive.read("data"))
            record = json.loads(archive.read(_RECORD)) if _RECORD in entries else None
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise UnreadableFileError(f"{path}: no trained model, or damaged ({error})") from error
    algorithm = _algorithm(data) if isinstance(data, dict) else ""
    return SB3File(path, algorithm, record, _STATISTICS in entries)


def _algorithm(data: Mapping[str, Any]) -> str:
    """Returns which algorithm has such attributes."""
    classes = (data.get("policy_class"), data.get("rollout_buffer_class"))
    modules = [str(cls.get("__module__", "")) for cls in classes if isinstance(cls, Mapping)]
    if any(".maskable." in module for module in modules):
        return "MaskablePPO"
    if any(".recurrent." in module for module in modules):
        return "RecurrentPPO"
    if "target_entropy" in data and "policy_delay" in data:
        return "CrossQ"
    return next((name for mark, name in _MARKS.items() if mark in data), "")


def save_model(
    model: BaseAlgorithm, path: str | Path, training: Mapping[str, Any] | None = None
) -> None:
    """Saves a model of Stable-Baselines3 with what it needs to play as it was trained.

    That is ``work_conserving``, ``allow_stop``, and the statistics of a `VecNormalize`, as the
    environment has them that the model was trained in. SB3's own ``load`` reads the file as well.

    Args:
        model: The model, with its environment.
        path: The file, complete or absent.
        training: More to say of the training, as JSON values.
    """
    path = Path(path)
    env = model.get_env()
    facts = {"algorithm": type(model).__name__, **_surroundings(env)}
    told = training or {}
    settings = {**facts.pop("settings"), **told.get("settings", {})}
    record = {**facts, **told, "settings": settings}
    statistics = model.get_vec_normalize_env()
    with replacing(path) as temporary:
        with temporary.open("wb") as stream:
            model.save(stream)
        with zipfile.ZipFile(temporary, "a") as archive:
            archive.writestr(_RECORD, json.dumps(record, sort_keys=True))
            if statistics is not None and statistics.norm_obs:
                archive.writestr(_STATISTICS, pickle.dumps(statistics))


def _surroundings(env: Any) -> dict[str, Any]:
    """Returns how an environment lets a model play; ``env`` may be wrapped in any way."""
    while hasattr(env, "venv"):
        env = env.venv
    envs = getattr(env, "envs", None)
    lane = envs[0] if isinstance(envs, list) else envs
    if lane is None:
        return {"settings": {}}
    settings = {"work_conserving": bool(lane.unwrapped.config.work_conserving)}
    allowed = False
    while lane is not lane.unwrapped:
        # Of a `SequentialAssignment`, single or vector.
        allowed = allowed or bool(vars(lane).get("allow_stop", False))
        lane = lane.env
    return {"settings": settings, "allow_stop": allowed}


def read_statistics(path: Path) -> VecNormalize:
    """Reads what ``VecNormalize.save`` wrote. It is a pickle: take only those you trust.

    Raises:
        FileNotFoundError: If there is no such file.
        UnreadableFileError: If it holds something else.
    """
    return _statistics(path.read_bytes(), path)


def _statistics(pickled: bytes, path: Path) -> VecNormalize:
    from stable_baselines3.common.vec_env import VecNormalize

    try:
        found = pickle.loads(pickled)
    except (pickle.UnpicklingError, EOFError, AttributeError, ImportError, ValueError) as error:
        raise UnreadableFileError(f"{path}: no statistics of VecNormalize ({error})") from error
    if not isinstance(found, VecNormalize):
        raise UnreadableFileError(
            f"{path}: no statistics of VecNormalize, but a {type(found).__name__}"
        )
    return found
