"""The episodes of a recording that is not complete yet: each in files that are whole or absent.

They lie in a folder beside the recording to be, ``NAME.partial``: what was played stays if the
recording is broken off, and the same command goes on after the last finished episode. What the
agent had learnt by then is there as well, so that the rest is the same bit for bit.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from edgecloud_gym.files import UnreadableFileError, read_json, replacing, write_json

if TYPE_CHECKING:
    from edgecloud_gym.wrappers.recorded import EpisodeOrder

_BEGUN: Final = "recording.json"
_LOCK: Final = "lock"
_NESTED: Final = ("observations", "infos")

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Finished:
    """An episode that was played to its end.

    Attributes:
        seed: That it was reset with.
        columns: What Minari keeps of it, by name; observations and infos are mappings.
        facts: Its summary and return.
        order: How its queue was ranked.
    """

    seed: int
    columns: Mapping[str, Any]
    facts: Mapping[str, float]
    order: EpisodeOrder


class Unfinished:
    """The folder of a recording in the making.

    Attributes:
        folder: Where it lies.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def count(self) -> int:
        """How many episodes are finished, from the first one on."""
        count = 0
        while self._episode(count).exists():
            count += 1
        return count

    def require_same(self, begun: Mapping[str, Any]) -> None:
        """Begins a recording, or checks that what is there was begun with the same.

        Args:
            begun: All that the episodes depend on, JSON values by name.

        Raises:
            FileExistsError: If it was begun with something else; the difference is named.
            UnreadableFileError: If the folder's record is damaged.
        """
        path = self.folder / _BEGUN
        wanted = json.loads(json.dumps(begun))
        if not self.count:
            write_json(path, wanted)
            return
        found = read_json(path)
        if not isinstance(found, dict):
            raise UnreadableFileError(f"{path}: does not say what was recorded")
        if found != wanted:
            raise FileExistsError(
                f"{self.folder}: holds {self.count} finished episodes of a recording with "
                f"{_difference(found, wanted)}; go on with what it was begun with, name another "
                "folder or id, or remove it"
            )

    def keep(self, episode: Finished, learnt: Arrays | None) -> None:
        """Keeps an episode, and what the agent has learnt up to its end."""
        from edgecloud_gym.wrappers.recorded import write_order  # numba, which takes a while

        number = self.count
        write_order(self._order(number), [episode.order])
        if learnt is not None:
            _write(self._learnt(number), learnt)
        # Last, as this is the file that says that the episode is finished.
        _write(self._episode(number), _flat(episode))
        self._learnt(number - 1).unlink(missing_ok=True)

    def episodes(self) -> Iterator[Finished]:
        """Yields the finished episodes, in order.

        Raises:
            UnreadableFileError: If a file is damaged.
        """
        from edgecloud_gym.wrappers.recorded import read_order

        for number in range(self.count):
            arrays = _read(self._episode(number))
            names = json.loads(str(arrays.pop("names")))
            facts = dict(zip(names, arrays.pop("facts").tolist(), strict=True))
            seed = int(arrays.pop("seed"))
            _, orders = read_order(self._order(number))
            yield Finished(seed, _nested(arrays), facts, orders[seed])

    def learnt(self) -> Arrays:
        """Returns what the agent had learnt by the end of the last finished episode."""
        return _read(self._learnt(self.count - 1))

    def discard(self) -> None:
        """Removes the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _episode(self, number: int) -> Path:
        return self.folder / f"episode-{number:06d}.npz"

    def _order(self, number: int) -> Path:
        return self.folder / f"queue-{number:06d}.npz"

    def _learnt(self, number: int) -> Path:
        return self.folder / f"learnt-{number:06d}.npz"


def partial_folder(place: Path) -> Path:
    """Returns where the finished episodes lie of a recording that will lie at ``place``."""
    return place.with_name(f"{place.name}.partial")


@contextmanager
def unfinished(place: Path) -> Iterator[Unfinished]:
    """Opens a recording in the making, for this process alone.

    If the block fails before an episode is finished, nothing is left.

    Args:
        place: Where the recording will lie.

    Raises:
        FileExistsError: If it is there already, or another process is recording it.
    """
    if place.exists():
        raise FileExistsError(f"{place}: exists already; name another folder, id or version")
    found = Unfinished(partial_folder(place))
    found.folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(found.folder / _LOCK)
    try:
        lock.acquire(blocking=False)
    except Timeout as error:
        raise FileExistsError(f"{place}: another process is recording it") from error
    try:
        yield found
    finally:
        over = place.exists() or not found.count
        lock.release()
        if over:
            found.discard()


def _flat(episode: Finished) -> dict[str, NDArray[Any]]:
    arrays: dict[str, Any] = {
        "seed": np.array(episode.seed),
        "names": np.array(json.dumps([*episode.facts])),
        "facts": np.array([*episode.facts.values()], np.float64),
    }
    for name, column in episode.columns.items():
        if name in _NESTED:
            arrays |= {f"{name}/{key}": np.array(rows) for key, rows in column.items()}
        else:
            arrays[name] = np.array(column)
    return arrays


def _nested(arrays: Arrays) -> dict[str, Any]:
    columns: dict[str, Any] = {name: {} for name in _NESTED}
    for name, rows in arrays.items():
        outer, nested, key = name.partition("/")
        if nested:
            columns[outer][key] = rows
        else:
            columns[name] = rows
    return columns


def _write(path: Path, arrays: Arrays) -> None:
    given: dict[str, Any] = dict(arrays)
    with replacing(path) as temporary, temporary.open("wb") as stream:
        np.savez(stream, **given)


def _read(path: Path) -> dict[str, NDArray[Any]]:
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (ValueError, EOFError, OSError) as error:
        raise UnreadableFileError(f"{path}: no episode of a recording, or damaged") from error


def _difference(found: Mapping[str, Any], wanted: Mapping[str, Any], prefix: str = "") -> str:
    """Returns the first thing in which two records differ, and how."""
    for name in (*wanted, *(name for name in found if name not in wanted)):
        one, other = found.get(name), wanted.get(name)
        if one == other:
            continue
        if isinstance(one, dict) and isinstance(other, dict):
            return _difference(one, other, f"{prefix}{name}.")
        return f"{prefix}{name}={_short(one)}, not {_short(other)}"
    return ""


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
