"""Files: written whole or not at all, and read so that every fault is named.

Reading unpacks gzip, bzip2, xz and a zip of one file, told by their content, not by their name;
also one in another.
"""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import os
import shutil
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from tempfile import TemporaryFile
from typing import IO, Any, Final

from edgecloud_gym.checks import has_half_character

PACKED_SUFFIXES: Final = (".gz", ".bz2", ".xz", ".zip")
_NOT_READ: Final = {b"\x28\xb5\x2f\xfd": "zstd", b"7z\xbc\xaf": "7z", b"\x04\x22\x4d\x18": "lz4"}
_DEEPEST: Final = 4  # one packed file in another, and so on
_ZIP: Final = (b"PK\x03\x04", b"PK\x05\x06")
_BOM: Final = b"\xef\xbb\xbf"


class UnreadableFileError(ValueError):
    """A file does not hold what it should; the message names it, and the line where there is one.

    It is the user's to mend, wherever it is raised. A plain ``ValueError`` need not be.
    """


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a path to write to, which takes the place of ``path`` if the block succeeds.

    Args:
        path: The file to make or to replace; its folder is made if there is none. What a link
            points to is replaced, not the link; a device, such as ``/dev/null``, is written to.

    Raises:
        OSError: If nothing can be written there.
    """
    path = Path(os.path.realpath(path))
    if path.is_dir():
        raise IsADirectoryError(f"{path}: it is a folder; a file is to be written")
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


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """Yields a folder to fill, which becomes ``path`` if the block succeeds.

    If ``path`` exists already, it stays as it is.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.mkdir(parents=True)
    try:
        yield temporary
        if not path.exists():
            temporary.replace(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


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


@contextmanager
def unpacking(path: Path) -> Iterator[IO[bytes] | gzip.GzipFile]:
    """Opens a file to read, unpacked if it is packed.

    Raises:
        UnreadableFileError: If it is packed in a way that is not read, damaged or cut short; also
            while it is read in the block.
        OSError: If it cannot be opened.
    """
    with _naming_damage(path), path.open("rb") as raw:
        if not raw.seekable():
            raise UnreadableFileError(f"{path}: is a pipe; a file is needed")
        yield _unpacked(path, raw)


@contextmanager
def _naming_damage(path: Path) -> Iterator[None]:
    try:
        yield
    except _DAMAGES as error:
        raise UnreadableFileError(f"{path}: damaged or cut short: {error}") from error
    except NotImplementedError as error:  # of zip
        raise UnreadableFileError(f"{path}: unpack it; {error}") from error
    except OSError as error:
        if error.errno is not None:
            raise
        raise UnreadableFileError(f"{path}: damaged or cut short: {error}") from error  # of bz2


_DAMAGES: Final = (
    EOFError, zlib.error, gzip.BadGzipFile, lzma.LZMAError, zipfile.BadZipFile, struct.error,
)  # fmt: skip


def _unpacked(path: Path, raw: IO[bytes], depth: int = 0) -> IO[bytes] | gzip.GzipFile:
    content = _opened(path, raw)
    if content is raw:
        return raw
    if depth == _DEEPEST:
        raise UnreadableFileError(f"{path}: is packed more than {_DEEPEST} times: unpack it")
    return _unpacked(path, content, depth + 1)  # type: ignore[arg-type]


def _opened(path: Path, raw: IO[bytes]) -> IO[bytes] | gzip.GzipFile:
    head = raw.read(6)
    raw.seek(0)
    if head.startswith(b"\x1f\x8b"):
        return gzip.open(raw)
    if head.startswith(b"BZh"):
        return bz2.open(raw)
    if head.startswith(b"\xfd7zXZ\x00"):
        return lzma.open(raw)
    if head.startswith(_ZIP):
        archive = zipfile.ZipFile(raw)
        return archive.open(_only_member(path, archive))
    for magic, kind in _NOT_READ.items():
        if head.startswith(magic):
            raise UnreadableFileError(
                f"{path}: is packed with {kind}, which is not read: unpack it"
            )
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        wide = "UTF-32" if head[2:4] == b"\0\0" else "UTF-16"
        raise UnreadableFileError(f"{path}: is {wide} text; UTF-8 is needed")
    return raw


def _only_member(path: Path, archive: zipfile.ZipFile) -> zipfile.ZipInfo:
    members = [member for member in archive.infolist() if not _is_by_the_way(member)]
    if len(members) != 1:
        names = ", ".join(member.filename for member in members[:3])
        more = ", ..." if len(members) > 3 else ""
        held = f"{len(members)} ({names}{more})" if members else "none"
        raise UnreadableFileError(f"{path}: a zip of one file is read; this one holds {held}")
    if members[0].flag_bits & 1:
        raise UnreadableFileError(f"{path}: is encrypted")
    return members[0]


def _is_by_the_way(member: zipfile.ZipInfo) -> bool:
    """Whether a member is a folder, or what macOS adds to zips."""
    name = PurePosixPath(member.filename)
    return member.is_dir() or name.parts[:1] == ("__MACOSX",) or name.name == ".DS_Store"


def unpacked_name(path: Path) -> str:
    """Returns the name of what a file holds: that of a zip's only member, else without packing.

    A zip that is not there, and one whose member's name has no suffix, go by their own name.

    Raises:
        UnreadableFileError: If it is a zip that is damaged, or not of one file.

    >>> unpacked_name(Path("data/x.jsonl.gz"))
    'x.jsonl'
    """
    if path.suffix.lower() not in PACKED_SUFFIXES:
        return path.name
    if path.suffix.lower() == ".zip" and path.is_file():
        with _naming_damage(path), path.open("rb") as raw:
            head = raw.read(4)
            if not head.startswith(_ZIP) and not Path(path.stem).suffix:
                raise UnreadableFileError(f"{path}: is {'no zip' if head else 'empty'}")
            if head.startswith(_ZIP):
                member = Path(_only_member(path, zipfile.ZipFile(raw)).filename)
                if member.suffix:
                    packed = member.suffix.lower() in PACKED_SUFFIXES
                    return member.stem if packed else member.name
    return path.stem


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
        raise _RepeatedKeyError(f"key {duplicate(names)!r} occurs twice")
    return fields


def duplicate(names: list[str]) -> str | None:
    """Returns the first name that occurs again; None if all differ."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None
