"""Files unpacked as they are read: gzip, bzip2, xz, lzma, a zip of one file; also one in another.

What a file is packed with is told by its content, not by its name.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Final

PACKED_SUFFIXES: Final = (".gz", ".bz2", ".xz", ".lzma", ".zip")
_NOT_READ: Final = {
    b"\x28\xb5\x2f\xfd": "zstd",
    b"7z\xbc\xaf": "7z",
    b"\x04\x22\x4d\x18": "lz4",
    b"\x1f\x9d": "compress",
    b"Rar!": "rar",
    b"\xff\x06\x00\x00sN": "snappy",
}
_LZMA: Final = (b"\xfd7zXZ\x00", b"\x5d\x00\x00")  # xz, and the older format by itself
_TAR: Final = (b"ustar", 257)  # what stands where
_DEEPEST: Final = 4  # one packed file in another, and so on
_ZIP: Final = (b"PK\x03\x04", b"PK\x05\x06")


class UnreadableFileError(ValueError):
    """A file does not hold what it should; the message names it, and the line where there is one.

    It is the user's to mend, wherever it is raised. A plain ``ValueError`` need not be.
    """


def check_packing(path: Path) -> None:
    """Checks that a file is packed in a way that is read, if at all.

    Raises:
        UnreadableFileError: If it is not; says how it is packed.
        OSError: If it cannot be opened.
    """
    with unpacking(path):
        pass


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
    head = raw.read(_TAR[1] + len(_TAR[0]))
    raw.seek(0)
    if head.startswith(b"\x1f\x8b"):
        return gzip.open(raw)
    if head.startswith(b"BZh"):
        return bz2.open(raw)
    if head.startswith(_LZMA):
        return lzma.open(raw)
    if head.startswith(_ZIP):
        archive = zipfile.ZipFile(raw)
        return archive.open(_only_member(path, archive))
    for magic, kind in _NOT_READ.items():
        if head.startswith(magic):
            raise UnreadableFileError(
                f"{path}: is packed with {kind}, which is not read: unpack it"
            )
    if head[_TAR[1] :] == _TAR[0]:
        raise UnreadableFileError(f"{path}: is a tar archive, which is not read: unpack it")
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
