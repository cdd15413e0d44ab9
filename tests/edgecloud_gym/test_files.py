"""Files that are whole or absent, and the one reader of JSON lines."""

import json
from pathlib import Path

import pytest

from edgecloud_gym.files import (
    UnreadableFileError,
    check_writable,
    read_json,
    read_jsonl,
    read_text,
    replacing,
    write_json,
)

TEXT = b'{"a": 1}\n{"a": 2}\n'


def names_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def test_a_block_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "new" / "f.txt"
    with replacing(path) as temporary:
        temporary.write_text("old")
        assert not path.exists()
    with pytest.raises(TypeError), replacing(path) as temporary, temporary.open("w") as file:
        json.dump({"half": object()}, file)
    assert path.read_text() == "old"
    assert names_in(path.parent) == ["f.txt"]


def test_what_a_link_points_to_is_replaced(tmp_path: Path) -> None:
    link = tmp_path / "link.txt"
    link.symlink_to(tmp_path / "elsewhere" / "f.txt")
    for text in ("dangling", "again"):
        with replacing(link) as temporary:
            temporary.write_text(text)
        assert link.is_symlink()
        assert link.read_text() == text


def test_a_device_stays_one() -> None:
    with replacing(Path("/dev/null")) as path:
        path.write_text("gone")
    assert not Path("/dev/null").is_file()


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError, match="is a folder"), replacing(tmp_path):
        pass


def test_places_are_tried_before_the_work(tmp_path: Path) -> None:
    check_writable(tmp_path / "new" / "f.npz")
    assert names_in(tmp_path / "new") == []
    (tmp_path / "f").write_text("x")
    check_writable(tmp_path / "f")
    check_writable(tmp_path / "folder", folder=True)
    assert (tmp_path / "f").read_text() == "x"
    for path, folder in ((tmp_path / "f" / "g", False), (tmp_path / "f", True), (tmp_path, False)):
        with pytest.raises(OSError, match="nothing can be written there"):
            check_writable(path, folder=folder)


def test_json_is_replaced_as_a_whole(tmp_path: Path) -> None:
    target = tmp_path / "x.json"
    write_json(target, {"a": 1})
    with pytest.raises(TypeError):
        write_json(target, {"a": object()})
    assert read_json(target) == {"a": 1}
    assert names_in(tmp_path) == ["x.json"]


def test_blank_lines_and_a_byte_order_mark_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    path.write_bytes(b"\xef\xbb\xbf\n\r\n" + TEXT)
    assert list(read_jsonl(path)) == [(3, {"a": 1}), (4, {"a": 2})]
    path.write_bytes(b"\xef\xbb\xbf" + TEXT)
    assert next(read_jsonl(path)) == (1, {"a": 1})
    path.write_bytes(b"\xef\xbb\xbf" + b"[1]")
    assert read_json(path) == [1]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"{half", "not a line of JSON"),
        (b'{"a": "\xff"}', "not a line of JSON: 'utf-8'"),
        (b"[1]", "a JSON object is needed, got list"),
        (b"\0" * 40, "not a line of JSON: Expecting value"),
        (b'{"a": 1, "b": 2, "a": 3}', "key 'a' occurs twice"),
        (b'{"b": {"a": 1, "a": 1}}', "key 'a' occurs twice"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a": ' + b"1" * 5000 + b"}", "not a line of JSON: Exceeds the limit"),
    ],
)
def test_a_bad_line_comes_with_its_fault(tmp_path: Path, line: bytes, message: str) -> None:
    path = tmp_path / "data.jsonl"
    path.write_bytes(TEXT + line)
    number, fault = list(read_jsonl(path))[2]
    assert number == 3
    assert isinstance(fault, ValueError)
    assert message in str(fault)


def test_json_files_are_read_as_strictly(tmp_path: Path) -> None:
    path = tmp_path / "[x].json"
    for text, message in (("{", "not JSON"), ('{"a": 1, "a": 1}', "key 'a' occurs twice")):
        path.write_text(text)
        with pytest.raises(UnreadableFileError, match=rf"\[x\]\.json: .*{message}"):
            read_json(path)
    path.write_text(json.dumps({"a": "\ud83d"}))
    assert read_json(path) == {"a": "\ud83d"}


def test_text_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_bytes(b"\xef\xbb\xbfna\xc3\xafve")
    assert read_text(path) == "naïve"
    path.write_bytes(b"na\xefve")
    with pytest.raises(UnreadableFileError, match=r"notes\.txt: not UTF-8 text"):
        read_text(path)
