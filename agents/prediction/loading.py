"""Predictors by name, by file, and for a dataset."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Final

from agents.prediction.predictor import Predictor
from edgecloud_gym.checks import did_you_mean
from edgecloud_gym.dataset import RequestDataset
from edgecloud_gym.files import is_bundled_name, warn_of_namesake
from edgecloud_gym.wording import shown

PREDICTORS: Final = Path(__file__).parents[1] / "assets" / "predictors"


def bundled_predictors() -> tuple[str, ...]:
    """Names of the predictors that come with the package: of the datasets they were fitted on."""
    return tuple(sorted(path.stem for path in PREDICTORS.glob("*.npz")))


def load_predictor(name_or_path: str | Path | Predictor) -> Predictor:
    """Loads a predictor; a file only once in a process, unless it has changed.

    Args:
        name_or_path: A bundled name (see `bundled_predictors`), the path of an ``.npz`` file that
            `Predictor.save` or ``edgecloud train predictor`` wrote, or a `Predictor`, which is
            returned as it is. A bundled name goes before a file of that name here, with a warning:
            ``./name`` is the file, and so is a `Path`.

    Raises:
        FileNotFoundError: If a path leads nowhere.
        IsADirectoryError: If it leads to a folder.
        TypeError: If it is neither a name, nor a path, nor a predictor.
        ValueError: If the name is unknown, or the file holds no predictor.
    """
    if isinstance(name_or_path, Predictor):
        return name_or_path
    if not isinstance(name_or_path, str | Path):
        raise TypeError(f"predictor={shown(name_or_path)}: must be a name, a path or a Predictor")
    path = Path(name_or_path)
    names = bundled_predictors()
    if is_bundled_name(name_or_path, names):
        if path.is_file():
            warn_of_namesake("predictor", name_or_path)
        return _bundled(name_or_path)
    given = str(name_or_path)
    if path.is_dir():
        raise IsADirectoryError(f"predictor {given}: is a folder; a predictor is a file")
    if path.suffix != ".npz" and not path.exists():
        raise ValueError(
            f"predictor {shown(given)} is not known{did_you_mean(given, names)}; use one of the "
            f"bundled ones ({', '.join(names) or 'none'}), or the path of an .npz file of "
            "`edgecloud train predictor`"
        )
    return _load(path, path.stat().st_mtime_ns)


def has_bundled_predictor(dataset: RequestDataset) -> bool:
    """Whether a predictor comes with the package that was fitted on this very dataset."""
    return dataset.is_bundled and dataset.name in bundled_predictors()


@lru_cache(maxsize=8)
def predictor_for(
    dataset: RequestDataset, name_or_path: str | Path | Predictor | None = None
) -> Predictor:
    """Returns the predictor to use for a dataset.

    Args:
        dataset: The dataset.
        name_or_path: See `load_predictor`; by default that of a bundled dataset, and where there is
            none for such embeddings, one that is fitted on its train split.

    Raises:
        FileNotFoundError: See `load_predictor`.
        ValueError: See `load_predictor` and `Predictor.fit`.
    """
    if name_or_path is not None:
        return load_predictor(name_or_path)
    if has_bundled_predictor(dataset) and dataset.embeddings is not None:
        bundled = _bundled(dataset.name)
        if bundled.width == dataset.embeddings.shape[1]:
            return bundled
    return Predictor.fit(dataset)


def _bundled(name: str) -> Predictor:
    path = PREDICTORS / f"{name}.npz"
    return _load(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=8)
def _load(path: Path, changed: int) -> Predictor:
    del changed  # a part of the key
    return Predictor.load(path)
