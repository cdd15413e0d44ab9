"""Packed files: told by their content, read one in another, named where they are not read."""

import bz2
import gzip
import io
import lzma
import os
import tarfile
import zipfile
from pathlib import Path

import pytest

from edgecloud_gym.files import read_jsonl
from edgecloud_gym.unpacking import UnreadableFileError, unpacked_name, unpacking

TEXT = b'{"a": 1}\n{"a": 2}\n'


def tarred(content: bytes) -> bytes:
    buffer = io.BytesIO()
    member = tarfile.TarInfo("data.jsonl")
    member.size = len(content)
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def zipped(content: bytes, *names: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names or ("data.jsonl",):
            archive.writestr(name, content)
    return buffer.getvalue()


PACKERS = {
    "plain": bytes,
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "lzma": lambda content: lzma.compress(content, lzma.FORMAT_ALONE),
    "zip": zipped,
}


@pytest.mark.parametrize("kind", PACKERS)
def test_packed_files_are_told_by_their_content(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "data.any"
    path.write_bytes(PACKERS[kind](TEXT))
    assert list(read_jsonl(path)) == [(1, {"a": 1}), (2, {"a": 2})]


@pytest.mark.parametrize("kind", ["gzip", "bzip2", "xz", "lzma", "zip"])
def test_a_packed_file_cut_short_is_named(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "data.gz"
    content = PACKERS[kind](os.urandom(5000))
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(UnreadableFileError, match=r"data\.gz: damaged or cut short"):
        list(read_jsonl(path))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (zipped(TEXT, "a", "b"), r"a zip of one file is read; this one holds 2 \(a, b\)"),
        (zipped(TEXT, *"abcd"), r"a zip of one file .* holds 4 \(a, b, c, \.\.\.\)"),
        (zipped(TEXT, "folder/"), "a zip of one file is read; this one holds none"),
        (gzip.compress(zipped(TEXT, "a", "b")), "a zip of one file is read; this one holds 2"),
        (b"\x28\xb5\x2f\xfd rest", "is packed with zstd"),
        (b"\x1f\x9d\x90 rest", "is packed with compress"),
        (b"Rar!\x1a\x07 rest", "is packed with rar"),
        (b"\xff\x06\x00\x00sNaPpY rest", "is packed with snappy"),
        (tarred(TEXT), "is a tar archive, which is not read: unpack it"),
        (gzip.compress(tarred(TEXT)), "is a tar archive"),
        ('{"a": 1}'.encode("utf-16"), "is UTF-16 text; UTF-8 is needed"),
        ('{"a": 1}'.encode("utf-32"), "is UTF-32 text; UTF-8 is needed"),
    ],
)
def test_what_is_not_read_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "data.jsonl"
    path.write_bytes(content)
    with pytest.raises(UnreadableFileError, match=rf"data\.jsonl: {message}"):
        list(read_jsonl(path))


def test_one_packed_file_in_another_is_read_but_not_for_ever(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl.gz"
    content = TEXT
    for pack in (gzip.compress, zipped, bz2.compress, gzip.compress):
        content = pack(content)
        path.write_bytes(content)
        assert list(read_jsonl(path)) == [(1, {"a": 1}), (2, {"a": 2})]
    path.write_bytes(gzip.compress(content))
    with pytest.raises(UnreadableFileError, match=r"data\.jsonl\.gz: is packed more than 4 times"):
        list(read_jsonl(path))


def test_what_macos_adds_to_a_zip_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "data.zip"
    path.write_bytes(zipped(TEXT, "folder/", "folder/x.jsonl", "__MACOSX/._x.jsonl", ".DS_Store"))
    assert len(list(read_jsonl(path))) == 2
    assert unpacked_name(path) == "x.jsonl"


def test_a_zip_packed_as_nothing_here_unpacks_is_named(tmp_path: Path) -> None:
    path = tmp_path / "data.zip"
    content = bytearray(zipped(TEXT))
    for marker, offset in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):  # the method: deflate64
        content[content.index(marker) + offset] = 9
    path.write_bytes(content)
    with pytest.raises(UnreadableFileError, match=r"data\.zip: unpack it; .*not supported"):
        list(read_jsonl(path))


@pytest.mark.parametrize(
    ("name", "members", "unpacked"),
    [
        ("x.jsonl", None, "x.jsonl"),
        ("x.jsonl.gz", None, "x.jsonl"),
        ("x.jsonl.lzma", None, "x.jsonl"),
        ("X.CSV.ZIP", None, "X.CSV"),
        ("my.zip", ["folder/a.csv"], "a.csv"),
        ("my.zip", ["a.csv.gz"], "a.csv"),
        ("my.csv.zip", ["a.jsonl"], "a.jsonl"),
        ("my.csv.zip", ["data"], "my.csv"),
        ("v1.2.zip", ["a.csv"], "a.csv"),
    ],
)
def test_names_of_what_is_packed(
    tmp_path: Path, name: str, members: list[str] | None, unpacked: str
) -> None:
    path = tmp_path / name
    if members is not None:
        path.write_bytes(zipped(TEXT, *members))
    assert unpacked_name(path) == unpacked


def test_a_zip_whose_member_cannot_be_named_is(tmp_path: Path) -> None:
    path = tmp_path / "my.zip"
    faults = {zipped(TEXT)[:-9]: "damaged", zipped(TEXT, "a", "b"): "holds 2"}
    for content, message in (faults | {b"": "is empty", TEXT: "is no zip"}).items():
        path.write_bytes(content)
        with pytest.raises(UnreadableFileError, match=rf"my\.zip: .*{message}"):
            unpacked_name(path)


def test_a_pipe_is_no_file() -> None:
    reading, writing = os.pipe()
    os.write(writing, TEXT)
    os.close(writing)
    with pytest.raises(UnreadableFileError, match=rf"/dev/fd/{reading}: is a pipe"):
        list(read_jsonl(Path(f"/dev/fd/{reading}")))
    os.close(reading)


def test_errors_of_the_block_are_its_own(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"x")
    with pytest.raises(FileNotFoundError, match="other"), unpacking(path):
        Path("other").read_bytes()
    with pytest.raises(FileNotFoundError, match="absent"), unpacking(tmp_path / "absent"):
        pass
