"""The files of a dataset: where they lie, and the embeddings among them.

Everything here returns plain values; `edgecloud_gym.dataset` makes a `RequestDataset` of them.
"""

from __future__ import annotations

import os
import re
import zipfile
import zlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from edgecloud_gym.dataset.recorded import is_recorded, recorded_path
from edgecloud_gym.dataset.slowdown import slowdown_path
from edgecloud_gym.dataset.tables import READERS, beside, require_format, table_name, table_suffix
from edgecloud_gym.files import (
    UnreadableFileError,
    duplicate,
    is_bundled_name,
    warn_of_namesake,
)
from edgecloud_gym.unpacking import PACKED_SUFFIXES
from edgecloud_gym.wording import listed, shown

_HUB: Final = "hf://"
ASSETS: Final = Path(__file__).parents[1] / "assets"
MACHINES: Final = "machines"  # the folder of a dataset with its other measurements


@dataclass(frozen=True)
class Source:
    """The files of one dataset; the two optional ones are None where they do not exist."""

    name: str
    requests: Path
    embeddings: Path | None
    slowdown: Path | None


def bundled_datasets() -> tuple[str, ...]:
    """Names of the datasets that come with the package."""
    return tuple(sorted(file.parent.name for file in ASSETS.glob("*/requests.parquet")))


def dataset_machines(name_or_path: str | os.PathLike[str]) -> tuple[str, ...]:
    """Names of the machines and servers that a dataset was measured on besides its own.

    Args:
        name_or_path: A bundled name, or a folder; each folder in ``machines`` in it is one.
    """
    bundled = is_bundled_name(name_or_path, bundled_datasets())
    folder = (ASSETS / name_or_path if bundled else Path(name_or_path)) / MACHINES
    return tuple(sorted(path.name for path in folder.iterdir())) if folder.is_dir() else ()


def split_machine(name_or_path: str | os.PathLike[str]) -> tuple[str | os.PathLike[str], str]:
    """Returns a dataset and the machine that stands behind an @ in it; empty if none does.

    >>> split_machine("smollm2-135m@llamacpp-cpu")
    ('smollm2-135m', 'llamacpp-cpu')

    What exists under the whole name is meant by it.
    """
    name, at, machine = str(name_or_path).rpartition("@")
    if not at or not name or Path(name_or_path).exists() or os.sep in machine:
        return name_or_path, ""
    if Path(machine).suffix in READERS:  # a file that is not there: a slip of its own
        return name_or_path, ""
    return name, machine


def locate(name_or_path: str | os.PathLike[str], machine: str | None = None) -> Source:
    """Finds the files of a dataset.

    Args:
        name_or_path: A bundled name; a folder with `requests.parquet`, `requests.jsonl` or
            `requests.csv` in it (beside it `embeddings.npz` and `slowdown.json`); or a file
            `foo.jsonl`, `foo.parquet` or `foo.csv` (beside it `foo.npz` or `foo.embeddings.npz`,
            and `foo.slowdown.json`), packed or not; or `hf://datasets/OWNER/NAME`, perhaps with
            `@REVISION`, such a folder on the Hugging Face hub; or `minari://ID/FOLDER`, one in the
            dataset of Minari with that id. A bundled name goes before a folder of that name here,
            with a warning: `./name` is the folder, and so it is called, for agents go by names. A
            name or folder here may end in `@MACHINE`.
        machine: Which of several measurements of the dataset is meant, a folder of that name in its
            folder `machines`, laid out like the dataset itself; without embeddings it shares the
            dataset's. None for the dataset's own, the only one of a dataset on the hub.

    Raises:
        ValueError: If there is no such machine, or it is neither a known name nor a path that could
            be a dataset.
        UnreadableFileError: If it is a file of another format, or a zip that is damaged or not of
            one file.
        FileNotFoundError: If it looks like a path, but nothing is there.
        ConnectionError: If it is on the hub, neither there to be fetched nor in the cache.
        ModuleNotFoundError: If it is on the hub and `huggingface_hub` is not installed.
    """
    if is_on_hub(name_or_path) or is_recorded(name_or_path):
        if machine is not None:
            raise ValueError(
                f"machine={shown(machine)} of dataset {shown(str(name_or_path))}: must be None"
            )
        return _addressed(str(name_or_path))
    dataset, named = split_machine(name_or_path)
    if named or machine is not None:
        return _variant(name_or_path, dataset, named, machine)
    path = Path(name_or_path)
    if not str(name_or_path).strip():
        raise ValueError(
            f"dataset {shown(str(name_or_path))}: the name is empty; '.' is this folder"
        )
    if is_bundled_name(name_or_path, bundled_datasets()):
        if path.exists():
            warn_of_namesake("dataset", name_or_path)
        return _folder(ASSETS / name_or_path)
    if path.is_dir():
        return _told_apart(_folder(path, str(name_or_path)), ".")
    if path.exists():
        require_format(path)
    if table_suffix(path) not in READERS:
        if os.sep in str(name_or_path):
            raise FileNotFoundError(f"dataset folder {name_or_path} does not exist")
        raise ValueError(
            f"dataset {shown(str(name_or_path))} is not known; use one of the bundled ones "
            f"({', '.join(bundled_datasets()) or 'none'}), or the path of a "
            f"{' or '.join(READERS)} file"
        )
    if not path.is_file():
        raise FileNotFoundError(f"dataset file {name_or_path} does not exist")
    found = Source(
        name=table_name(path),
        requests=path,
        embeddings=_existing(beside(path, ".npz"), beside(path, ".embeddings.npz")),
        slowdown=_existing(slowdown_path(path)),
    )
    return _told_apart(found, ".")


class BundledName(str):
    """What a dataset is called that comes with the package, as its loader calls it.

    Whoever stands for its requests passes the name on: a replay of a trace, a live system. The same
    text as anybody else writes it is no such name.
    """

    __slots__ = ()


def is_of_package(source: Source) -> bool:
    """Whether the files are those that come with the package."""
    return source.requests.resolve().is_relative_to(ASSETS.resolve())


def _told_apart(source: Source, owner: str) -> Source:
    """Calls a dataset ``owner/name`` that has a bundled one's name and is not it."""
    if source.name not in bundled_datasets() or is_of_package(source):
        return source
    return replace(source, name=f"{owner}/{source.name}")


def _variant(
    given: str | os.PathLike[str],
    dataset: str | os.PathLike[str],
    named: str,
    machine: str | None,
) -> Source:
    """Finds the measurement of a dataset on one machine."""
    if named and machine is not None and machine != named:
        raise ValueError(
            f"dataset {shown(str(given))} and machine={shown(machine)}: must name one machine"
        )
    wanted = named or machine
    known = dataset_machines(dataset)
    if wanted not in known:
        allowed = f"must be one of {listed(known)}" if known else "it was measured on its own"
        raise ValueError(f"machine={shown(wanted)} of dataset {shown(str(dataset))}: {allowed}")
    base = locate(dataset)
    found = _folder(base.requests.parent / MACHINES / wanted)
    # The same prompts have the same embeddings: one file does for all measurements of them.
    embeddings = found.embeddings or base.embeddings
    return replace(found, name=f"{base.name}@{wanted}", embeddings=embeddings)


def is_on_hub(name_or_path: object) -> bool:
    """Whether a dataset's name says that it is on the Hugging Face hub."""
    return isinstance(name_or_path, str) and name_or_path.startswith(_HUB)


def fetched(address: str) -> Path:
    """Fetches a dataset's folder from the hub, or finds it in the cache.

    Args:
        address: `hf://datasets/OWNER/NAME` or `hf://datasets/OWNER/NAME@REVISION`.

    Raises:
        ConnectionError: If it can neither be fetched nor is in the cache; the reason is told.
        ModuleNotFoundError: If `huggingface_hub` is not installed; the extra is named.
        ValueError: If the address has another form.
    """
    form = re.fullmatch(r"hf://datasets/([\w.-]+/[\w.-]+)(?:@([\w./-]+))?/?", address)
    if form is None:
        raise ValueError(
            f"dataset {shown(address)}: must be hf://datasets/OWNER/NAME, perhaps with @REVISION"
        )
    try:
        from huggingface_hub import snapshot_download
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"dataset {shown(address)}: {error.name} is not installed: "
            "pip install 'edgecloud-gym[data]'",
            name=error.name,
        ) from error
    name, revision = form.groups()
    wanted = ["requests*", "embeddings.npz", "slowdown.json"]
    try:
        return Path(
            snapshot_download(name, repo_type="dataset", revision=revision, allow_patterns=wanted)
        )
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise ConnectionError(
            f"dataset {shown(address)} could not be fetched from the Hugging Face hub ({reason})"
        ) from error


def _addressed(address: str) -> Source:
    """Finds a dataset on the hub or in a recording."""
    if is_on_hub(address):
        owner, name = address.rstrip("/").split("/")[-2:]
        return _told_apart(replace(_folder(fetched(address)), name=name), owner)
    folder = recorded_path(address)
    if not folder.is_dir():
        raise FileNotFoundError(
            f"dataset {shown(address)}: there is no {folder}; the recording that holds it is not "
            "where Minari keeps its datasets (agents.load_recording reads one that lies elsewhere)"
        )
    return _folder(folder)


def _folder(folder: Path, given: str = "") -> Source:
    """Finds the files of a dataset in a folder, which messages call as it was given."""
    called = f"dataset folder {given or folder}"
    names = (f"requests{suffix}{packed}" for suffix in READERS for packed in ("", *PACKED_SUFFIXES))
    found = [name for name in (*names, "requests.zip") if (folder / name).is_file()]
    if len(found) > 1:
        raise UnreadableFileError(f"{called} holds {' and '.join(found)}: keep one")
    if not found:
        raise FileNotFoundError(f"{called} holds no requests{'/'.join(READERS)}")
    return Source(
        name=folder.name,
        requests=folder / found[0],
        embeddings=_existing(folder / "embeddings.npz"),
        slowdown=_existing(folder / "slowdown.json"),
    )


def _existing(*candidates: Path) -> Path | None:
    return next((path for path in candidates if path.is_file()), None)


_UNREADABLE: Final = (
    *(ValueError, TypeError, OverflowError, EOFError, NotImplementedError),
    *(zipfile.BadZipFile, zlib.error),
)


def read_embeddings(path: Path) -> tuple[NDArray[np.floating[Any]], str | None]:
    """Reads an embeddings file.

    Returns:
        The vectors (n, d), in the precision they were stored in, and the digest of the prompts they
        were computed from, or None where the file does not say.

    Raises:
        UnreadableFileError: If it is not such a file, or its stated dimension is not that of its
            vectors.
    """
    try:
        with path.open("rb") as file:
            archive = np.load(file, allow_pickle=False)
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise UnreadableFileError(
                    f"{path} is a single array; an .npz file with the key 'embeddings' is needed"
                )
            if repeated := duplicate(archive.files):
                raise UnreadableFileError(f"{path}: key {shown(repeated)} occurs twice")
            if "embeddings" not in archive:
                raise UnreadableFileError(
                    f"{path}: key 'embeddings' is missing; it has {listed(archive.files)}"
                )
            vectors = archive["embeddings"]
            digest = str(archive["prompts_digest"]) if "prompts_digest" in archive else None
            dimension = int(archive["dimension"]) if "dimension" in archive else None
    except UnreadableFileError:
        raise
    except _UNREADABLE as error:
        raise UnreadableFileError(f"{path} cannot be read as an .npz file: {error}") from error
    if dimension is not None and vectors.shape[1:] != (dimension,):
        raise UnreadableFileError(
            f"{path}: states dimension {dimension}, but its vectors have shape {vectors.shape}"
        )
    return vectors, digest
