"""A run as a unit of work that travels to workers which share neither disk nor memory.

What a run needs goes along by value: its settings, the classes of the user's own modules, the
dataset unless it is a bundled one, and the files that its settings name. What it yields comes back
as the content of the files that a run consists of.
"""

from __future__ import annotations

import json
import pickle
import socket
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from os import getpid
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any, Final, NamedTuple

import cloudpickle  # type: ignore[import-untyped, unused-ignore]

from agents.experiments.design.scenario import Scenario
from agents.experiments.identity.code import code_behind, digest
from agents.experiments.identity.fingerprint import files_in
from agents.experiments.identity.source import source_digest
from agents.experiments.identity.versions import versions
from agents.experiments.runs.errors import RunError, error_of, writing
from agents.experiments.runs.run import Run
from agents.experiments.runs.store import PLAYED_FILE, RUN_FILES, read_played
from edgecloud_gym.config import SystemConfig
from edgecloud_gym.dataset import RequestDataset, bundled_datasets

_ONE_AT_A_TIME: Final = threading.Lock()  # torch's threads are set for a process, not for a run
_DATASET: Final = "dataset"


@dataclass(frozen=True)
class Parcel:
    """A run on its way to a worker.

    Attributes:
        content: Its scenario and agent, pickled; dataset and files are left out.
        seed: Its seed.
        dataset: What the cargo calls its dataset; empty if the worker knows it by name.
        files: What the cargo calls the files that its settings name, by path.
        code: The code that it must be played with; see `code_here`.
    """

    content: bytes
    seed: int
    dataset: str
    files: Mapping[str, str]
    code: Mapping[str, str]


class Answer(NamedTuple):
    """What comes back for a parcel.

    Attributes:
        files: The files of the finished run; ``None`` if it did not finish.
        error: What went wrong in it, if anything did.
        refused: Why the worker could not take it, if it could not.
    """

    files: Mapping[str, bytes] | None = None
    error: RunError | None = None
    refused: str = ""


class Packer:
    """Makes runs ready to travel; those of one agent in one scenario are packed once."""

    def __init__(self) -> None:
        self._packed: dict[tuple[str, str], tuple[Parcel, dict[str, bytes]]] = {}

    def pack(self, run: Run) -> tuple[Parcel, dict[str, bytes]]:
        """Makes a run ready to travel.

        Returns:
            The parcel, and its cargo: what other runs may need as well, by a digest of its content.

        Raises:
            Exception: Whatever pickling raises if something in the settings cannot travel.
        """
        cell = run.scenario.label, run.spec.label
        if cell not in self._packed:
            self._packed[cell] = _pack(run)
        parcel, cargo = self._packed[cell]
        return replace(parcel, seed=run.seed), cargo


def _pack(run: Run) -> tuple[Parcel, dict[str, bytes]]:
    scenario, dataset, cargo = detached(run.scenario)
    files = {}
    for path in files_in([run.spec.checkpoint, run.spec.settings, scenario.settings]):
        content = Path(path).read_bytes()
        files[path] = digest(content)
        cargo[files[path]] = content
    light = replace(run, scenario=scenario)
    settings = (*run.spec.settings.values(), *scenario.settings.values())
    content = dumped(light, run.spec.agent, *settings)
    return Parcel(content, run.seed, dataset, files, code_here()), cargo


def detached(scenario: Scenario) -> tuple[Scenario, str, dict[str, bytes]]:
    """Returns a scenario without its dataset, what the cargo calls that, and the cargo.

    A bundled dataset stays: workers have it.
    """
    named = scenario.settings.get(_DATASET, SystemConfig.dataset)
    if isinstance(named, str) and named in bundled_datasets():
        return scenario, "", {}
    settings = {name: value for name, value in scenario.settings.items() if name != _DATASET}
    content = _packed_dataset(scenario.dataset)
    name = digest(content)
    return replace(scenario, settings=settings), name, {name: content}


def attached(scenario: Scenario, dataset: str, cargo: Mapping[str, bytes]) -> Scenario:
    """Returns a scenario with its dataset again; see `detached`."""
    if not dataset:
        return scenario
    loaded = _unpacked_dataset(cargo[dataset])
    return replace(scenario, settings={**scenario.settings, _DATASET: loaded})


def play_parcel(parcel: Parcel, cargo: Mapping[str, bytes]) -> Answer:
    """Plays a run on a worker.

    Args:
        parcel: The run.
        cargo: What it needs, by name.
    """
    return answered(
        parcel.code,
        lambda place: _play(parcel, cargo, place, place / "run"),
        {name: f"run/{name}" for name in RUN_FILES},
    )


def answered(
    code: Mapping[str, str], work: Callable[[Path], None], files: Mapping[str, str]
) -> Answer:
    """Does work on a worker, unless its code is other than it must be.

    Args:
        code: What the code must be; see `code_here`.
        work: Does it in a folder of its own.
        files: The files that the work leaves in that folder, by what the answer calls them.
    """
    other = differing_code(code, code_here())
    if other:
        return Answer(refused=f"{worker_name()}: {other}")
    with _ONE_AT_A_TIME, TemporaryDirectory(prefix="edgecloud-") as name:
        place = Path(name)
        error = error_of(lambda: work(place))
        if error is not None:
            return Answer(error=error)
        return Answer(files={name: (place / file).read_bytes() for name, file in files.items()})


def code_here() -> dict[str, str]:
    """Returns what results depend on besides the run: versions, and the source of this package."""
    return {**versions(), "source of edgecloud-gym": source_digest()}


def differing_code(wanted: Mapping[str, str], there: Mapping[str, str]) -> str:
    """Returns in what a worker's code differs from what is wanted, or nothing."""
    found = [
        f"{name} {there.get(name, 'missing')} instead of {wanted.get(name, 'none')}"
        for name in sorted(wanted.keys() | there.keys())
        if wanted.get(name) != there.get(name)
    ]
    return f"it has {', '.join(found)}" if found else ""


def worker_name() -> str:
    """Returns what messages call the process that this is."""
    return f"{socket.gethostname()}, process {getpid()}"


def _play(parcel: Parcel, cargo: Mapping[str, bytes], place: Path, folder: Path) -> None:
    """Plays a run whose files are unpacked to a place of its own."""
    run: Run = replace(pickle.loads(parcel.content), seed=parcel.seed)
    here = {}
    for number, (path, name) in enumerate(parcel.files.items()):
        here[path] = str(place / str(number) / Path(path).name)
        with writing(place):
            Path(here[path]).parent.mkdir()
            Path(here[path]).write_bytes(cargo[name])
    settings = _renamed(dict(run.scenario.settings), here)
    scenario = attached(replace(run.scenario, settings=settings), parcel.dataset, cargo)
    spec = replace(
        run.spec,
        settings=_renamed(dict(run.spec.settings), here),
        checkpoint=_renamed(run.spec.checkpoint, here),
    )
    replace(run, scenario=scenario, spec=spec).play(folder)
    if here:  # where the files lay here is nobody's business
        back = {mine: path for path, mine in here.items()}
        (folder / PLAYED_FILE).write_text(json.dumps(_renamed(read_played(folder), back)))


def _renamed(value: Any, names: Mapping[str, str]) -> Any:
    """Returns a value in which paths are replaced, however deep in plain containers."""
    if isinstance(value, (str, Path)):
        new = names.get(str(value))
        return value if new is None else type(value)(new)
    if isinstance(value, dict):
        return {name: _renamed(item, names) for name, item in value.items()}
    if isinstance(value, (list, tuple)) and not hasattr(value, "_fields"):
        return type(value)(_renamed(item, names) for item in value)
    return value


@lru_cache(maxsize=4)
def _packed_dataset(dataset: RequestDataset) -> bytes:
    return pickle.dumps(dataset, protocol=5)


@lru_cache(maxsize=4)
def _unpacked_dataset(content: bytes) -> RequestDataset:
    dataset: RequestDataset = pickle.loads(content)
    return dataset


def dumped(thing: Any, *parts: Any) -> bytes:
    """Pickles something; classes and functions of modules that are not installed go by value.

    Args:
        thing: What to pickle.
        parts: What in it may have code of the user's.
    """
    packed: bytes
    try:
        with _by_value(_own_modules(parts)):
            packed = cloudpickle.dumps(thing)
    except (pickle.PicklingError, TypeError):  # a module that holds a lock or a file, say
        packed = cloudpickle.dumps(thing)  # by name, which may be known there
    return packed


def _own_modules(parts: Iterable[Any]) -> list[ModuleType]:
    """Returns the modules behind things that workers may lack."""
    kinds = [part if isinstance(part, type) or callable(part) else type(part) for part in parts]
    watched = set(code_behind(*kinds).files)
    return [
        module
        for module in list(sys.modules.values())
        if getattr(module, "__file__", None)
        and str(Path(str(module.__file__)).resolve()) in watched
    ]


@contextmanager
def _by_value(modules: list[ModuleType]) -> Iterator[None]:
    known = cloudpickle.list_registry_pickle_by_value()
    chosen = [module for module in modules if module.__name__ not in known]
    for module in chosen:
        cloudpickle.register_pickle_by_value(module)
    try:
        yield
    finally:
        for module in chosen:
            cloudpickle.unregister_pickle_by_value(module)
