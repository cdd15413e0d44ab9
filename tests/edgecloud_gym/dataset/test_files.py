"""Request files: the formats, what lies beside them, and every fault by name."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.testing import assert_array_equal
from numpy.typing import NDArray

from edgecloud_gym.dataset import bundled_datasets, load_dataset, prompts_digest

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
    with pytest.raises(ValueError, match=r"'no-such' is not known.*\.parquet or \.jsonl file"):
        load_dataset("no-such")
    with pytest.raises(FileNotFoundError, match=r"absent\.jsonl does not exist"):
        load_dataset(tmp_path / "absent.jsonl")
    with pytest.raises(TypeError, match="must be a name, a path or a RequestDataset, got int"):
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


def test_no_usable_row(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"data\.jsonl holds no usable request \(0 rows"):
        load_dataset(jsonl(tmp_path, []))
    path = jsonl(tmp_path, ["{", "{"])
    with (
        pytest.warns(UserWarning, match="left out 2 of 2"),
        pytest.raises(ValueError, match=r"holds no usable request \(2 rows"),
    ):
        load_dataset(path, on_error="skip")
    with pytest.raises(ValueError, match=r"on_error must be 'raise' or 'skip', got 'ignore'"):
        load_dataset(path, on_error="ignore")  # type: ignore[arg-type]


def test_parquet_faults(tmp_path: Path) -> None:
    rows = [without("inference_time")]
    with pytest.raises(ValueError, match=r"column 'inference_time' is missing; it has request"):
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
    with pytest.raises(ValueError, match="embeddings must have one row per request: 5, got 4"):
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
    npz.write_text("no")
    with pytest.raises(ValueError, match=r"cannot be read as an \.npz file"):
        load_dataset(path)
    with pytest.raises(FileNotFoundError, match=r"absent\.npz"):
        load_dataset(path, embeddings=tmp_path / "absent.npz")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "cannot be read as JSON"),
        ("[1]", "must hold a list of numbers"),
        ('{"slowdown": [1, "x"]}', "'slowdown' must be a number"),
        ('{"slowdown": [2, 3]}', r"must start with s\(1\) = 1"),
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
    rows = [{**row, "input_token_count": None} for row in reference_rows()]
    data = load_dataset(write(tmp_path, rows))
    assert data.prompt_tokens is None
    assert data.response_tokens is not None
