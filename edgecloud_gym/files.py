"""Files: written whole or not at all, and read so that every fault is named.

What is packed is unpacked as it is read (see `edgecloud_gym.unpacking`).
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, Final, TypeGuard

from edgecloud_gym.checks import has_half_character
from edgecloud_gym.unpacking import UnreadableFileError, unpacking
from edgecloud_gym.wording import shown

__all__ = [
    "NamesakeWarning",
    "UnreadableFileError",
    "check_writable",
    "decoded_json",
    "duplicate",
    "is_bundled_name",
    "read_json",
    "read_jsonl",
    "read_text",
    "replacing",
    "warn_of_namesake",
    "write_json",
]

_BOM: Final = b"\xef\xbb\xbf"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a path to write to, which takes the place of ``path`` if the block succeeds.

    Args:
        path: The file to make or to replace; its folder is made if there is none. What a link
            points to is replaced, not the link; a device, such as ``/dev/null``, is written to.

    Raises:
        OSError: If nothing can be written there.
    """
    if path.is_dir():
        raise IsADirectoryError(f"{path}: it is a folder; a file is to be written")
    path = Path(os.path.realpath(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and not path.is_file():
        yield path
        return
    # The process id keeps two writers of the same file apart; the suffix keeps the file's format.
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def check_writable(path: Path, *, folder: bool = False) -> None:
    """Tries whether a file can be written, before the work that it is for.

    Folders that are missing are made, and stay.

    Args:
        path: The file, which is neither made nor changed; or a folder for files.
        folder: Whether it is a folder.

    Raises:
        OSError: If nothing can be written there.
    """
    target = Path(os.path.realpath(path))
    holder = target if folder else target.parent
    try:
        if target.is_dir() and not folder:
            raise IsADirectoryError("it is a folder; a file is to be written")
        holder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=holder):
            pass
    except OSError as error:
        reason = error.strerror or error
        raise type(error)(f"{path}: nothing can be written there ({reason})") from error


def write_json(path: Path, value: object) -> None:
    """Writes indented JSON; readers see either the old file or the whole new one."""
    with replacing(path) as temporary:
        text = json.dumps(value, indent=2, ensure_ascii=False)
        if has_half_character(text):  # as names of files may, which UTF-8 cannot write
            text = json.dumps(value, indent=2)
        temporary.write_text(text + "\n", encoding="utf-8")


def read_jsonl(path: Path) -> Iterator[tuple[int, dict[str, Any] | ValueError]]:
    """Yields each line's number, from 1, and its object or what is wrong with the line.

    Blank lines are passed over.

    Raises:
        UnreadableFileError: If the file cannot be unpacked.
        OSError: If it cannot be opened.
    """
    with unpacking(path) as lines:
        for number, line in enumerate(lines, start=1):
            if number == 1:
                line = line.removeprefix(_BOM)
            if line.strip():
                yield number, _object(line)


def _object(line: bytes) -> dict[str, Any] | ValueError:
    try:
        value = decoded_json(line)
    except _RepeatedKeyError as error:
        return error
    except ValueError as error:
        return ValueError(f"not a line of JSON: {error}")
    if not isinstance(value, dict):
        return ValueError(f"a JSON object is needed, got {type(value).__name__}")
    return value


def read_text(path: Path) -> str:
    """Reads a text file.

    Raises:
        UnreadableFileError: If it is not UTF-8.
        OSError: If it cannot be opened.
    """
    with unpacking(path) as file:
        content = file.read()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UnreadableFileError(f"{path}: not UTF-8 text: {error}") from error


def read_json(path: Path) -> Any:
    """Reads a JSON file.

    Raises:
        UnreadableFileError: If it is none, or cannot be unpacked.
        OSError: If it cannot be opened.
    """
    with unpacking(path) as file:
        content = file.read()
    try:
        return decoded_json(content)
    except _RepeatedKeyError as error:
        raise UnreadableFileError(f"{path}: {error}") from error
    except ValueError as error:
        raise UnreadableFileError(f"{path}: not JSON: {error}") from error


def decoded_json(text: bytes | str) -> Any:
    """Returns the value of a JSON text.

    Raises:
        ValueError: If it is not JSON, nested too deeply, or has an object with a key twice, of
            which one would win unseen.
    """
    try:
        if isinstance(text, bytes):
            text = text.decode("utf-8-sig")
        return json.loads(text, object_pairs_hook=_without_repetition)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


class _RepeatedKeyError(ValueError):
    """An object has a key twice."""


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        names = [name for name, _ in pairs]
        raise _RepeatedKeyError(f"key {shown(duplicate(names))} occurs twice")
    return fields


def duplicate(names: list[str]) -> str | None:
    """Returns the first name that occurs again; None if all differ."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None


def is_bundled_name(given: object, names: Collection[str]) -> TypeGuard[str]:
    """Whether a user means something that comes with the package, by its name.

    A `Path` is never a name, nor is a text with a folder in it: ``./name`` is what lies here.

    Args:
        given: A name or a path.
        names: What comes with the package.
    """
    return isinstance(given, str) and given in names


class NamesakeWarning(UserWarning):
    """A name is that of something bundled and of something that lies here."""


def warn_of_namesake(what: str, name: str) -> None:
    """Warns that a name is taken for that of something bundled, not for what lies here."""
    warnings.warn(
        f"{what} {shown(name)} is the bundled one; './{name}' would be what lies here under that "
        "name",
        NamesakeWarning,
        stacklevel=4,  # who called what asks
    )
