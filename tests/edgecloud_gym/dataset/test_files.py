"""Request files: the formats, what lies beside them, and every fault by name."""

import bz2
import contextlib
import gzip
import json
import lzma
import zipfile
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.testing import assert_array_equal
from numpy.typing import NDArray

from edgecloud_gym.dataset import (
    bundled_datasets,
    dataset_machines,
    load_dataset,
    prompts_digest,
)
from edgecloud_gym.dataset.files import ASSETS, locate, split_machine
from edgecloud_gym.dataset.tables import read_table
from edgecloud_gym.files import UnreadableFileError

Row = dict[str, Any]


def reference_rows(n: int = 5) -> list[Row]:
    """Rows with the reference's seven keys."""
    return [
        {
            "request_text": f"prompt {i}",
            "model_name": "tiny",
            "response_text": "fine",
            "device": "cpu",
            "inference_time": 0.5 + i,
            "input_token_count": 3 + i,
            "output_token_count": 7 * i,
        }
        for i in range(n)
    ]


def jsonl(folder: Path, rows: list[Row | str], name: str = "data.jsonl") -> Path:
    path = folder / name
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    path.write_text("\n".join(lines) + "\n")
    return path


def parquet(folder: Path, rows: list[Row], name: str = "data.parquet") -> Path:
    path = folder / name
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def vectors(n: int = 5, d: int = 3) -> NDArray[np.float16]:
    return np.random.default_rng(1).normal(size=(n, d)).astype(np.float16)


@pytest.mark.parametrize("write", [jsonl, parquet])
def test_the_formats_hold_the_same(
    tmp_path: Path, write: Callable[[Path, list[Row]], Path]
) -> None:
    data = load_dataset(write(tmp_path, reference_rows()))
    assert_array_equal(data.base_latency, [0.5, 1.5, 2.5, 3.5, 4.5])
    assert data.prompts == tuple(f"prompt {i}" for i in range(5))
    assert data.prompt_tokens is not None
    assert data.response_tokens is not None
    assert_array_equal(data.prompt_tokens, [3, 4, 5, 6, 7])
    assert_array_equal(data.response_tokens, [0, 7, 14, 21, 28])
    assert (data.name, data.skipped, data.embeddings, data.slowdown) == ("data", 0, None, None)
    assert load_dataset(data) is data


def test_token_counts_may_be_absent_altogether(tmp_path: Path) -> None:
    rows: list[Row | str] = [{"request_text": "a", "inference_time": 1}, ""]
    data = load_dataset(jsonl(tmp_path, rows))
    assert data.prompt_tokens is None
    assert_array_equal(data.base_latency, [1.0])


def test_what_lies_beside_the_requests_is_read(tmp_path: Path) -> None:
    path = jsonl(tmp_path, [*reference_rows()])
    digest = prompts_digest([f"prompt {i}" for i in range(5)])
    np.savez(tmp_path / "data.npz", embeddings=vectors(), prompts_digest=digest, dimension=3)
    (tmp_path / "data.slowdown.json").write_text('{"slowdown": [1.0, 1.1, 1.3]}')
    data = load_dataset(str(path))
    assert data.embeddings is not None
    assert data.slowdown is not None
    assert_array_equal(data.embeddings, vectors().astype(np.float32))
    assert_array_equal(data.slowdown, [1.0, 1.1, 1.3])


def test_a_folder_is_a_dataset_too(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    parquet(folder, reference_rows(), "requests.parquet")
    np.savez(folder / "embeddings.npz", embeddings=vectors())
    (folder / "slowdown.json").write_text('{"slowdown": [1, 2]}')
    data = load_dataset(folder)
    assert data.name == "mine"
    assert data.embeddings is not None
    assert data.slowdown is not None
    (folder / "requests.parquet").unlink()
    with pytest.raises(FileNotFoundError, match="mine holds no requests"):
        load_dataset(folder)


def test_embeddings_given_take_precedence(tmp_path: Path) -> None:
    path = jsonl(tmp_path, [*reference_rows()])
    np.savez(tmp_path / "data.npz", embeddings=vectors())
    np.savez(tmp_path / "other.npz", embeddings=vectors(d=4))
    for given_embeddings in (tmp_path / "other.npz", vectors(d=4)):
        data = load_dataset(path, embeddings=given_embeddings)
        assert data.embeddings is not None
        assert data.embeddings.shape == (5, 4)
    assert load_dataset(data, embeddings=vectors(d=2)).embeddings is not data.embeddings


@pytest.mark.parametrize("name", bundled_datasets())
def test_bundled(name: str) -> None:
    data = load_dataset(name)
    assert data.name == name
    assert len(data) > 100
    assert data.skipped == 0
    assert data.prompts is not None
    assert data.prompt_tokens is not None
    assert data.embeddings is not None
    assert data.slowdown is not None
    assert len(data.rows("train")) + len(data.rows("test")) == len(data)


def test_unknown_names_and_paths(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"'no-such' is not known.*\.parquet or \.jsonl or \.csv"):
        load_dataset("no-such")
    with pytest.raises(FileNotFoundError, match=r"absent\.jsonl does not exist"):
        load_dataset(tmp_path / "absent.jsonl")
    with pytest.raises(TypeError, match="dataset=3: must be a bundled name, a path or a Req"):
        load_dataset(3)  # type: ignore[arg-type]


def changed(**fields: Any) -> Row:
    return reference_rows(1)[0] | fields


def without(key: str) -> Row:
    return {name: value for name, value in changed().items() if name != key}


BAD_LINES = [
    ("{", "not a line of JSON"),
    ("[1, 2]", "a JSON object is needed, got list"),
    (without("request_text"), "'request_text' must be a string, got nothing"),
    (without("inference_time"), "'inference_time' must be a number, got nothing"),
    (without("output_token_count"), "'output_token_count' must be a number, got nothing"),
    (changed(request_text=7), "'request_text' must be a string, got int 7"),
    (changed(inference_time="fast"), "'inference_time' must be a number, got str 'fast'"),
    (changed(inference_time=True), "'inference_time' must be a number, got bool"),
    (changed(inference_time=0.0), "'inference_time' must be finite and above 0 s, got 0.0"),
    (changed(inference_time=-1.0), "'inference_time' must be finite and above 0 s, got -1.0"),
    (changed(inference_time=float("nan")), "'inference_time' must be finite.* got nan"),
    (changed(inference_time=float("inf")), "'inference_time' must be finite.* got inf"),
    (changed(input_token_count=1.5), "'input_token_count' must be a whole number.* got 1.5"),
    (changed(input_token_count=-1), "'input_token_count' must be a whole number.* got -1"),
    (changed(input_token_count=10**12), "whole number of tokens from 0 to 2147483647, got 1000"),
    (changed(input_token_count=10**400), "'input_token_count' is out of range, got an integer of"),
    (changed(inference_time=10**400), "'inference_time' is out of range"),
    (changed(inference_time="1.5"), "'inference_time' must be a number, got str '1.5'"),
    (changed(request_text="a \ud800"), "'request_text' holds half a character"),
    (changed(input_token_count=float("nan")), "'input_token_count' must be a whole.* got nan"),
    ('{"request_text": "a", "inference_time": 1, "inference_time": 2}', "'inference_time' occurs"),
    (changed(base_latency=1.0), "fields 'inference_time' and 'base_latency' mean the same"),
]


@pytest.mark.parametrize(("line", "message"), BAD_LINES)
def test_a_malformed_line_is_named(tmp_path: Path, line: Row | str, message: str) -> None:
    path = jsonl(tmp_path, [*reference_rows(2), line, *reference_rows(2)])
    with pytest.raises(ValueError, match=rf"data\.jsonl, line 3: .*{message}"):
        load_dataset(path)
    with pytest.warns(UserWarning, match=rf"left out 1 of 5 rows; the first: line 3: .*{message}"):
        data = load_dataset(path, on_error="skip")
    assert data.skipped == 1
    assert_array_equal(data.base_latency, [0.5, 1.5, 0.5, 1.5])


def test_text_that_is_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    path.write_bytes(json.dumps(changed()).encode() + b'\n{"request_text": "\xff"}\n')
    with pytest.raises(ValueError, match=r"data\.jsonl, line 2: not a line of JSON"):
        load_dataset(path)


def test_rows_that_failed_while_measured_are_left_out(tmp_path: Path) -> None:
    failed = {"request_text": "x", "error": "out of memory"}
    path = jsonl(tmp_path, [failed, *(row | {"error": None} for row in reference_rows(3))])
    with pytest.warns(UserWarning, match="line 1: the request failed: out of memory"):
        data = load_dataset(path)
    assert (len(data), data.skipped) == (3, 1)


@pytest.mark.parametrize("error", [None, "", False, 0, float("nan"), [], {}])
def test_an_error_that_says_nothing_is_none(tmp_path: Path, error: object) -> None:
    path = jsonl(tmp_path, [row | {"error": error} for row in reference_rows(3)])
    assert (len(load_dataset(path)), load_dataset(path).skipped) == (3, 0)


@pytest.mark.parametrize("error", ["timeout", True, {"code": 500}, ["x"]])
def test_an_error_of_any_type_is_one(tmp_path: Path, error: object) -> None:
    path = jsonl(tmp_path, [changed(error=error), *reference_rows(3)])
    with pytest.warns(UserWarning, match="left out 1 of 4 rows; the first: line 1: the request"):
        assert len(load_dataset(path)) == 3


CSV = '''base_latency,prompt,response_tokens,error
0.5,"one, with
two lines",3,
1.5,five,5.0,
2.5,"seven ""quoted""",7,out of memory
'''


def test_csv_by_its_header(tmp_path: Path) -> None:
    path = tmp_path / "[mine].csv"
    path.write_text("\ufeff" + CSV)
    with pytest.warns(UserWarning, match="left out 1 of 3 rows; the first: line 5: the request"):
        data = load_dataset(path)
    assert data.prompts == ("one, with\ntwo lines", "five")
    assert_array_equal(data.base_latency, [0.5, 1.5])
    assert_array_equal(data.response_tokens, [3, 5])
    assert data.prompt_tokens is None
    assert data.name == "[mine]"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("prompt,base_latency,prompt\na,1,b\n", "column 'prompt' occurs twice"),
        ("prompt,base_latency\na,1\nb\n", "line 3: it has 1 columns, the header 2"),
        ("prompt,base_latency\na,fast\n", "line 2: .*'inference_time' must be a number, got str"),
        ("prompt,base_latency\na,\n", "line 2: .*'inference_time' must be a number, got nothing"),
        ("prompt,base_latency,latency\na,1,2\n", "'base_latency' and 'latency' mean the same"),
        ("prompt,time\na,1\n", r"column 'inference_time' \(or 'base_latency' or 'latency'\)"),
        ('prompt,base_latency\n"a,1\n', "line 2: not CSV"),
        ("prompt,base_latency\na,1_000\n", "line 2: .*must be a number, got str '1_000'"),
        ("prompt,base_latency\na,٣\n", "line 2: .*must be a number, got str '٣'"),
        ("prompt,base_latency\na,nan\n", "line 2: .*must be a number, got str 'nan'"),
        ('prompt,base_latency\na,"1,5"\n', "line 2: .*must be a number, got str '1,5'"),
        ("prompt,base_latency,prompt_tokens\na,1,1_0\n", "line 2: .*'input_token_count' must be"),
        ("prompt;base_latency\na;1,5\n", "columns must be separated by commas, not by ';'"),
        ("prompt\tbase_latency\na\t1\n", "separated by commas, not by '.*t'"),
        ("", "holds no usable request"),
    ],
)
def test_csv_faults(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "data.csv"
    path.write_text(text)
    with pytest.raises(UnreadableFileError, match=rf"data\.csv.*{message}"):
        load_dataset(path)


def test_csv_rows_that_are_no_text_are_named(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_bytes(b"prompt,base_latency\na,1\nna\xefve,1\nb \xed\xa0\x80,1\nc,2\n")
    with pytest.raises(UnreadableFileError, match=r"data\.csv, line 3: not UTF-8 text"):
        load_dataset(path)
    with pytest.warns(UserWarning, match="left out 2 of 4 rows; the first: line 3: not UTF-8"):
        assert load_dataset(path, on_error="skip").prompts == ("a", "c")
    path.write_bytes(b"prompt,base_latency,na\xefve\na,1,2\n")
    with pytest.raises(UnreadableFileError, match=r"data\.csv, line 1: not UTF-8 text"):
        load_dataset(path)


@pytest.mark.parametrize("spelt", ["", " ", "0", "False", "false", "nan", "NULL", "None", "no"])
def test_no_error_is_no_error_however_a_csv_spells_it(tmp_path: Path, spelt: str) -> None:
    path = tmp_path / "data.csv"
    path.write_text(f"prompt,base_latency,error\na,1.5,{spelt}\nb,2.0,\n")
    data = load_dataset(path)
    assert data.base_latency.tolist() == [1.5, 2.0]
    assert data.skipped == 0


def test_an_error_in_a_csv_is_one(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_text("prompt,base_latency,error\na,1.5,timeout\nb,2.0,False\n")
    with pytest.warns(UserWarning, match="the request failed: timeout"):
        data = load_dataset(path)
    assert data.base_latency.tolist() == [2.0]


def test_a_long_prompt_in_csv(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_text(f"prompt,base_latency\n{'word ' * 100_000},1\n")
    assert len(load_dataset(path).prompts[0]) == 500_000  # type: ignore[index]


@pytest.mark.parametrize("suffix", [".jsonl.gz", ".JSONL", ".jsonl.bz2", ".csv.xz", ".Parquet"])
def test_names_of_formats_and_packings(tmp_path: Path, suffix: str) -> None:
    plain = jsonl(tmp_path, [*reference_rows()], "plain.jsonl").read_bytes()
    table = "request_text,inference_time\n" + "".join(f"prompt {i},{i + 0.5}\n" for i in range(5))
    path = tmp_path / f"v1.5{suffix}"
    if suffix == ".Parquet":
        parquet(tmp_path, reference_rows(), path.name)
    else:
        pack = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}
        content = table.encode() if ".csv" in suffix else plain
        path.write_bytes(pack.get(path.suffix, bytes)(content))
    np.savez(tmp_path / "v1.5.npz", embeddings=vectors())
    (tmp_path / "v1.5.slowdown.json").write_text('{"slowdown": [1, 2]}')
    data = load_dataset(path)
    assert (data.name, len(data)) == ("v1.5", 5)
    assert data.embeddings is not None
    assert data.slowdown is not None


def zipped(folder: Path, name: str, **members: str) -> Path:
    path = folder / name
    with zipfile.ZipFile(path, "w") as archive:
        for member, text in members.items():
            archive.writestr(member.replace("__", "."), text)
    return path


def test_a_zip_is_of_the_format_of_the_file_inside(tmp_path: Path) -> None:
    table = "prompt,base_latency\na,0.5\n"
    rows = "".join(json.dumps(row) + "\n" for row in reference_rows(1))
    np.savez(tmp_path / "my.npz", embeddings=vectors(1))
    for members in ({"a__csv": table}, {"A__JSONL": rows}):
        data = load_dataset(zipped(tmp_path, "my.zip", **members))
        assert (data.name, data.base_latency.tolist()) == ("my", [0.5])
        assert data.embeddings is not None
    folder = tmp_path / "folder"
    folder.mkdir()
    zipped(folder, "requests.zip", a__csv=table)
    assert load_dataset(folder).base_latency.tolist() == [0.5]


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"a__csv": "x", "b__csv": "x"}, r"this one holds 2 \(a\.csv, b\.csv\)"),
        ({}, "this one holds none"),
        ({"a__txt": "x"}, r"must end in \.parquet, \.jsonl, \.csv, .* that of the file inside"),
        ({"a": "x"}, r"must end in \.parquet"),
    ],
)
def test_zips_that_are_no_dataset(tmp_path: Path, members: dict[str, str], message: str) -> None:
    path = zipped(tmp_path, "my.zip", **members)
    with pytest.raises(UnreadableFileError, match=rf"my\.zip.*{message}"):
        load_dataset(path)


@pytest.mark.parametrize("name", ["notes.txt", "data.json", "data", "data.gz"])
def test_a_file_of_another_format_is_there_all_the_same(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("[]")
    for read in (load_dataset, lambda path: list(read_table(path))):
        with pytest.raises(UnreadableFileError, match=rf"{name}: its name must end in \.parquet"):
            read(tmp_path / name)


def test_a_folder_with_the_name_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "folder.jsonl").mkdir()
    with pytest.raises(FileNotFoundError, match=r"folder\.jsonl holds no requests"):
        load_dataset(tmp_path / "folder.jsonl")


def test_text_in_parquet_that_is_no_text_is_named_by_row(tmp_path: Path) -> None:
    prompts = pa.array([b"a", b"na\xefve", b"c"]).view(pa.string())
    table = pa.table({"request_text": prompts, "inference_time": [1.0, 2.0, 3.0]})
    pq.write_table(table, tmp_path / "data.parquet")
    with pytest.raises(UnreadableFileError, match=r"data\.parquet, row 2: not UTF-8 text"):
        load_dataset(tmp_path / "data.parquet")
    with pytest.warns(UserWarning, match="left out 1 of 3 rows; the first: row 2: not UTF-8"):
        data = load_dataset(tmp_path / "data.parquet", on_error="skip")
    assert data.prompts == ("a", "c")


def test_parquet_with_any_byte_damaged_is_read_or_named(tmp_path: Path) -> None:
    path = parquet(tmp_path, reference_rows())
    content = path.read_bytes()
    for at in range(0, len(content), 7):
        path.write_bytes(content[:at] + bytes([content[at] ^ 0xFF]) + content[at + 1 :])
        with contextlib.suppress(UnreadableFileError):
            assert len(load_dataset(path)) == 5


def test_decimals_in_parquet_are_numbers(tmp_path: Path) -> None:
    row = {"request_text": "a", "inference_time": Decimal("1.25"), "input_token_count": Decimal(3)}
    data = load_dataset(parquet(tmp_path, [row]))
    assert data.base_latency.tolist() == [1.25]
    assert_array_equal(data.prompt_tokens, [3])


def test_masked_embeddings_are_refused_wherever_they_come_in(tmp_path: Path) -> None:
    masked = np.ma.array(vectors(), mask=False)
    masked[2, 1] = np.ma.masked
    for source in (jsonl(tmp_path, [*reference_rows()]), load_dataset(tmp_path / "data.jsonl")):
        with pytest.raises(ValueError, match=r"embeddings must be .* row 2 is masked"):
            load_dataset(source, embeddings=masked)


def test_a_gzip_cut_short_is_named(tmp_path: Path) -> None:
    content = jsonl(tmp_path, [*reference_rows(500)], "plain.jsonl").read_bytes()
    path = tmp_path / "data.jsonl.gz"
    path.write_bytes(gzip.compress(content)[:-100])
    with pytest.raises(UnreadableFileError, match=r"data\.jsonl\.gz: damaged or cut short"):
        load_dataset(path)


def test_a_column_twice_in_parquet(tmp_path: Path) -> None:
    columns = [["a"], [1.0], [2.0]]
    table = pa.Table.from_arrays(
        [pa.array(column) for column in columns],
        names=["request_text", "inference_time", "inference_time"],
    )
    pq.write_table(table, tmp_path / "data.parquet")
    with pytest.raises(UnreadableFileError, match="column 'inference_time' occurs twice"):
        load_dataset(tmp_path / "data.parquet")


def test_durations_in_parquet_count_by_their_unit(tmp_path: Path) -> None:
    table = pa.table(
        {"request_text": ["a", "b"], "inference_time": pa.array([500, 2000], pa.duration("ms"))}
    )
    pq.write_table(table, tmp_path / "data.parquet")
    assert_array_equal(load_dataset(tmp_path / "data.parquet").base_latency, [0.5, 2.0])


def test_a_packing_that_is_not_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl.7z").write_bytes(b"7z\xbc\xaf rest")
    with pytest.raises(UnreadableFileError, match=r"x\.jsonl\.7z: is packed with 7z"):
        load_dataset(tmp_path / "x.jsonl.7z")


def test_a_folder_of_two_files_of_requests_is_refused(tmp_path: Path) -> None:
    jsonl(tmp_path, [*reference_rows()], "requests.jsonl")
    (tmp_path / "requests.csv.gz").write_bytes(b"")
    with pytest.raises(ValueError, match=r"holds requests\.jsonl and requests\.csv\.gz: keep one"):
        load_dataset(tmp_path)


def test_a_folder_with_a_bundled_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (name, *_) = bundled_datasets()
    folder = tmp_path / name
    folder.mkdir()
    jsonl(folder, [*reference_rows()], "requests.jsonl")
    with pytest.warns(UserWarning, match=rf"is the bundled one; './{name}' would be what lies"):
        assert locate(name).requests.parent == ASSETS / name
    for _ in range(2):  # the dataset is kept, the remark is not
        with pytest.warns(UserWarning, match=rf"is the bundled one; './{name}' would be"):
            assert load_dataset(name).name == name
    for own in (f"./{name}", folder):  # called otherwise: agents go by the name
        dataset = load_dataset(own)
        assert (len(dataset), dataset.name) == (5, f"./{name}")
    jsonl(tmp_path, [*reference_rows()], f"{name}.jsonl")
    assert load_dataset(f"{name}.jsonl").name == f"./{name}"
    assert load_dataset(ASSETS / name).name == name


def test_times_that_look_like_milliseconds_are_remarked_on(tmp_path: Path) -> None:
    rows = [row | {"inference_time": 1834.0 + i} for i, row in enumerate(reference_rows())]
    with pytest.warns(UserWarning, match=r"data\.jsonl: the median inference time is 1,836 s"):
        load_dataset(jsonl(tmp_path, [*rows]))


def test_no_usable_row(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"data\.jsonl holds no usable request \(0 rows"):
        load_dataset(jsonl(tmp_path, []))
    path = jsonl(tmp_path, ["{", "{"])
    with (
        pytest.warns(UserWarning, match="left out 2 of 2"),
        pytest.raises(ValueError, match=r"holds no usable request \(2 rows"),
    ):
        load_dataset(path, on_error="skip")
    with pytest.raises(ValueError, match=r"on_error='ignore': must be one of 'raise', 'skip'"):
        load_dataset(path, on_error="ignore")  # type: ignore[arg-type]


def test_parquet_faults(tmp_path: Path) -> None:
    rows = [without("inference_time")]
    with pytest.raises(ValueError, match=r"column 'inference_time' \(or .*\) is missing; it has"):
        load_dataset(parquet(tmp_path, rows))
    rows = [changed(), changed(inference_time=None)]
    with pytest.raises(ValueError, match=r"data\.parquet, row 2: field 'inference_time'"):
        load_dataset(parquet(tmp_path, rows))
    (tmp_path / "data.parquet").write_text("no")
    with pytest.raises(ValueError, match=r"data\.parquet cannot be read as Parquet"):
        load_dataset(tmp_path / "data.parquet")


def test_embedding_file_faults(tmp_path: Path) -> None:
    path, npz = jsonl(tmp_path, [*reference_rows()]), tmp_path / "data.npz"
    np.savez(npz, embeddings=vectors(n=4))
    with pytest.raises(ValueError, match=r"data\.npz: embeddings must have one row .*: 5, got 4"):
        load_dataset(path)
    np.savez(npz, embeddings=np.full((5, 3), np.nan))
    with pytest.raises(ValueError, match=r"data\.npz: embeddings must be finite; row 0"):
        load_dataset(path)
    np.savez(npz, embeddings=vectors(), prompts_digest=prompts_digest(["others"]))
    with pytest.raises(ValueError, match=r"data\.npz is stale"):
        load_dataset(path)
    np.savez(npz, embeddings=vectors(), dimension=4)
    with pytest.raises(ValueError, match=r"states dimension 4, .* shape \(5, 3\)"):
        load_dataset(path)
    np.savez(npz, vectors=vectors())
    with pytest.raises(ValueError, match="key 'embeddings' is missing; it has vectors"):
        load_dataset(path)
    with npz.open("wb") as file:
        np.save(file, vectors())
    with pytest.raises(ValueError, match="is a single array"):
        load_dataset(path)
    np.savez(npz, embeddings=np.array([{}] * 5))
    with pytest.raises(UnreadableFileError, match=r"cannot be read as an \.npz file: Object"):
        load_dataset(path)
    with zipfile.ZipFile(npz, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("embeddings.npy", b"")
    with pytest.raises(UnreadableFileError, match="key 'embeddings' occurs twice"):
        load_dataset(path)
    np.savez_compressed(npz, embeddings=np.random.default_rng(0).normal(size=(5, 300)))
    npz.write_bytes(npz.read_bytes().replace(b"embeddings.npy", b"embeddings.npy", 1)[:900])
    with pytest.raises(UnreadableFileError, match=r"cannot be read as an \.npz file"):
        load_dataset(path)
    npz.write_text("no")
    with pytest.raises(ValueError, match=r"cannot be read as an \.npz file"):
        load_dataset(path)
    with pytest.raises(FileNotFoundError, match=r"absent\.npz"):
        load_dataset(path, embeddings=tmp_path / "absent.npz")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        ("[1]", "must hold a list of numbers"),
        ('{"slowdown": [1, "x"]}', "'slowdown' must hold a list of numbers"),
        ('{"slowdown": [2, 3]}', r"must start with s\(1\) = 1"),
        ('{"slowdown": [1, 2], "slowdown": [1, 3]}', "key 'slowdown' occurs twice"),
        ('{"slowdown": [1, NaN]}', "'slowdown' must hold a list of numbers"),
        ('{"slowdown": [1], "batch_sizes": [1, 2], "step_time": [1]}', "one entry per batch size"),
        ('{"slowdown": [1], "a": "x"}', "key 'a' must hold a time"),
        ('{"slowdown": [1, 0]}', "'slowdown' must hold a list of numbers above 0"),
        ('{"slowdown": []}', "'slowdown' must hold a list of numbers"),
        ('{"slowdown": [1], "batch_sizes": [1], "step_time": [0]}', "times above 0 s"),
        ('{"slowdown": [1], "batch_sizes": [1.5]}', "'batch_sizes' must hold a list of whole"),
        ('{"slowdown": [1], "a": 1%s}' % ("0" * 400), "key 'a' must hold a time"),
    ],
)
def test_slowdown_file_faults(tmp_path: Path, text: str, message: str) -> None:
    path = jsonl(tmp_path, [*reference_rows()])
    (tmp_path / "data.slowdown.json").write_text(text)
    with pytest.raises(ValueError, match=message):
        load_dataset(path)


@pytest.mark.parametrize("write", [jsonl, parquet])
def test_counts_that_are_null_throughout_are_absent(
    tmp_path: Path, write: Callable[[Path, list[Row]], Path]
) -> None:
    for nothing in (None, float("nan")):  # NaN is how pandas writes null
        rows = [{**row, "input_token_count": nothing} for row in reference_rows()]
        data = load_dataset(write(tmp_path, rows))
        assert data.prompt_tokens is None
        assert data.response_tokens is not None


def test_times_to_first_token_are_read_where_they_are_stated(tmp_path: Path) -> None:
    """One that cannot be, such as one longer than the whole, is not known."""
    stated = [0.5, None, 3.0, "soon", -1.0, True]
    rows = [
        {"prompt": f"p{i}", "base_latency": 2.0, "time_to_first_token": first}
        for i, first in enumerate(stated)
    ]
    path = tmp_path / "d.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = load_dataset(path)
    assert data.time_to_first_token is not None
    assert_array_equal(data.time_to_first_token, [0.5, *[np.nan] * 5])


def csv(folder: Path, rows: list[Row]) -> Path:
    path = folder / "data.csv"
    lines = [
        ",".join("" if value is None else str(value) for value in row.values()) for row in rows
    ]
    path.write_text("\n".join([",".join(rows[0]), *lines]) + "\n")
    return path


@pytest.mark.parametrize("write", [jsonl, parquet, csv])
def test_tokens_found_in_caches_are_read_where_they_are_stated(
    tmp_path: Path, write: Callable[[Path, list[Row]], Path]
) -> None:
    """More than the prompt has is no fault: an engine computes the last token all the same."""
    stated = [3, 0, None, float("nan"), -1, 10**6]
    rows = [row | {"cached_tokens": n} for row, n in zip(reference_rows(6), stated, strict=True)]
    found = load_dataset(write(tmp_path, rows)).cached_tokens
    assert found is not None
    assert found.dtype == np.int32
    assert_array_equal(found, [3, 0, -1, -1, -1, 10**6])
    unknown = [row | {"cached_tokens": None} for row in rows]
    assert load_dataset(write(tmp_path, unknown)).cached_tokens is None


@pytest.mark.parametrize("write", [jsonl, parquet, csv])
@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (-2, "must be a whole number of tokens from -1 to 2147483647, got -2"),
        (1.5, "must be a whole number of tokens from -1 to 2147483647, got 1.5"),
        (2**31, "must be a whole number of tokens from -1"),
        (float("inf"), "must be a"),
        ("many", "must be a number, got str 'many'"),
    ],
)
def test_tokens_found_in_caches_that_cannot_be(
    tmp_path: Path, write: Callable[[Path, list[Row]], Path], wrong: object, message: str
) -> None:
    rows = [row | {"cached_tokens": None} for row in reference_rows(3)]
    rows[1]["cached_tokens"] = wrong
    path = write(tmp_path, rows)
    with pytest.raises(
        UnreadableFileError, match=rf"(line|row) \d: field 'cached_tokens' {message}"
    ):
        load_dataset(path)
    with pytest.warns(UserWarning, match="left out 1 of 3 rows"):
        assert len(load_dataset(path, on_error="skip")) == 2


@pytest.fixture
def measured_twice(tmp_path: Path) -> Path:
    """A dataset folder with its own measurement and that of another machine."""
    folder = tmp_path / "prompts"
    other = folder / "machines" / "fast-gpu"
    other.mkdir(parents=True)
    rows = reference_rows()
    jsonl(folder, rows, "requests.jsonl")
    jsonl(other, [row | {"inference_time": 0.01} for row in rows], "requests.jsonl")
    digest = prompts_digest([row["request_text"] for row in rows])
    np.savez(folder / "embeddings.npz", embeddings=vectors(), prompts_digest=digest)
    (other / "slowdown.json").write_text('{"slowdown": [1, 1.01]}')
    return folder


def test_a_dataset_measured_on_several_machines(measured_twice: Path) -> None:
    assert dataset_machines(measured_twice) == ("fast-gpu",)
    own = load_dataset(measured_twice)
    other = load_dataset(measured_twice, machine="fast-gpu")
    assert other.name == "prompts@fast-gpu"
    assert_array_equal(other.base_latency, 0.01)
    assert other.prompts == own.prompts
    assert_array_equal(other.embeddings, own.embeddings)
    assert (own.slowdown, list(other.slowdown)) == (None, [1, 1.01])
    named = load_dataset(f"{measured_twice}@fast-gpu")
    assert_array_equal(named.base_latency, other.base_latency)
    assert load_dataset(f"{measured_twice}@fast-gpu", machine="fast-gpu").name == other.name


def test_embeddings_of_other_prompts_are_not_shared(measured_twice: Path) -> None:
    rows = [row | {"request_text": "other"} for row in reference_rows()]
    jsonl(measured_twice / "machines" / "fast-gpu", rows, "requests.jsonl")
    with pytest.raises(UnreadableFileError, match=r"embeddings\.npz"):
        load_dataset(measured_twice, machine="fast-gpu")


def test_an_unknown_machine_is_named_with_those_there_are(measured_twice: Path) -> None:
    with pytest.raises(ValueError, match=r"machine='slow' of .*: must be one of fast-gpu"):
        load_dataset(measured_twice, machine="slow")
    with pytest.raises(ValueError, match="must name one machine"):
        load_dataset(f"{measured_twice}@fast-gpu", machine="slow")
    with pytest.raises(ValueError, match="must be None for a dataset that is loaded"):
        load_dataset(load_dataset(measured_twice), machine="fast-gpu")
    bundled = bundled_datasets()[0]
    with pytest.raises(ValueError, match=f"machine='abacus' of dataset '{bundled}'"):
        load_dataset(bundled, machine="abacus")
    with pytest.raises(ValueError, match="machine='abacus'"):
        load_dataset(f"{bundled}@abacus")


def test_a_path_with_an_at_sign_is_a_path(tmp_path: Path) -> None:
    folder = tmp_path / "me@home"
    folder.mkdir()
    jsonl(folder, reference_rows(), "requests.jsonl")
    assert len(load_dataset(folder)) == 5
    assert len(load_dataset(folder / "requests.jsonl")) == 5
    assert split_machine(folder / "absent.jsonl") == (folder / "absent.jsonl", "")
    with pytest.raises(FileNotFoundError, match=r"a@b\.csv does not exist"):
        load_dataset(tmp_path / "a@b.csv")


def test_a_dataset_on_the_hub(tmp_path, monkeypatch):
    asked = []

    def snapshot_download(name, **given):
        asked.append((name, given["repo_type"], given["revision"]))
        (tmp_path / "requests.csv").write_text("request_text,inference_time\nYes?,0.5\n")
        return str(tmp_path)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    dataset = load_dataset("hf://datasets/someone/mine@v1")
    assert asked == [("someone/mine", "dataset", "v1")]
    assert (len(dataset), dataset.name) == (1, "mine@v1")
    (bundled, *_) = bundled_datasets()
    assert load_dataset(f"hf://datasets/someone/{bundled}").name == f"someone/{bundled}"


def test_a_hub_that_cannot_be_asked(monkeypatch):
    def snapshot_download(*_, **__):
        raise OSError("no network\nand more")

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    with pytest.raises(ConnectionError, match=r"someone/mine.*\(no network\)"):
        load_dataset("hf://datasets/someone/mine")
    with pytest.raises(ValueError, match="must be hf://datasets/OWNER/NAME"):
        load_dataset("hf://someone/mine")
