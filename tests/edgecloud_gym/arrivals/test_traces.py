"""Workload traces: three formats, and what is wrong with a bad file."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from edgecloud_gym.arrivals.traces import check_times, read_trace

AZURE = """TIMESTAMP,ContextTokens,GeneratedTokens
2023-11-16 23:59:59.5000000,374,44
2023-11-17 00:00:00.0000001,396,109
2023-11-17 00:00:01.5000000,879,55
"""
BURSTGPT = """Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type
5,ChatGPT,472,18,490,Conversation log
5,ChatGPT,1087,230,1317,Conversation log
118,GPT-4,417,276,693,API log
"""


def written(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text)
    return path


@pytest.mark.parametrize("name", ["azure.csv", "azure.csv.gz"])
def test_azure(tmp_path: Path, name: str) -> None:
    trace = read_trace(written(tmp_path, name, AZURE))
    assert trace.format == "azure"
    assert_allclose(trace.times, [0.0, 0.5000001, 2.0], rtol=0, atol=1e-12)
    assert_array_equal(trace.input_tokens, [374, 396, 879])
    assert_array_equal(trace.output_tokens, [44, 109, 55])


def test_azure_of_2024_has_a_time_zone(tmp_path: Path) -> None:
    rows = "2024-05-10 00:00:00.009930+00:00,2162,5\n2024-05-10 00:00:00.5+00:00,2399,6\n"
    trace = read_trace(written(tmp_path, "a.csv", AZURE.splitlines()[0] + "\n" + rows))
    assert_allclose(trace.times, [0.0, 0.49007], rtol=0, atol=1e-12)


def test_burstgpt(tmp_path: Path) -> None:
    trace = read_trace(written(tmp_path, "b.csv", BURSTGPT))
    assert trace.format == "burstgpt"
    assert_array_equal(trace.times, [0.0, 0.0, 113.0])
    assert_array_equal(trace.output_tokens, [18, 230, 276])


@pytest.mark.parametrize("name", ["m.jsonl", "m.jsonl.gz"])
def test_mooncake(tmp_path: Path, name: str) -> None:
    rows = [
        {"timestamp": 27482, "input_length": 6955, "output_length": 52, "hash_ids": [46, 47]},
        {"timestamp": 30535, "input_length": 6472, "output_length": 26, "hash_ids": [46]},
    ]
    trace = read_trace(written(tmp_path, name, "\n".join(map(json.dumps, rows))))
    assert trace.format == "mooncake"
    assert_allclose(trace.times, [0.0, 3.053], rtol=0, atol=1e-12)
    assert_array_equal(trace.input_tokens, [6955, 6472])


def test_the_real_azure_trace(shared_dir: Path) -> None:
    trace = read_trace(shared_dir / "data" / "AzureLLMInferenceTrace_conv.csv.gz")
    assert len(trace) == 19366
    assert trace.times[0] == 0.0
    # From 18:15:46.6805900 to 19:14:08.4025270.
    assert trace.times[-1] == pytest.approx(3501.721937, abs=1e-9)
    assert (trace.input_tokens[-1], trace.output_tokens[-1]) == (197, 183)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b,c\n1,2,3\n", r"no known trace format: azure \(TIMESTAMP.*it starts 'a,b,c'"),
        ("", "no known trace format"),
        ("{not json\n", "no known trace format"),
        (BURSTGPT.splitlines()[0] + "\n", "holds no request"),
        (BURSTGPT + "x,GPT-4,1,1,2,API log\n", r"Row #5.*'x'"),
        (BURSTGPT + "119,GPT-4,,1,2,API log\n", "entry 3 has no 'Request tokens'"),
        (BURSTGPT + "117,GPT-4,1,1,2,API log\n", r"entry 3 \(112.0 s\) comes before entry 2"),
        (AZURE.replace("2023-11-16", "16.11.2023"), r"Row #2.*16.11.2023"),
    ],
)
def test_a_bad_file_is_named_with_its_fault(tmp_path: Path, text: str, message: str) -> None:
    path = written(tmp_path, "bad.csv", text)
    with pytest.raises(ValueError, match=rf"bad.csv.*{message}"):
        read_trace(path)


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / "bad.csv"
    path.write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(ValueError, match=r"bad\.csv cannot be read as text"):
        read_trace(path)
    packed = tmp_path / "bad.csv.gz"
    packed.write_bytes(b"TIMESTAMP")
    with pytest.raises(ValueError, match=r"bad\.csv\.gz cannot be read as text"):
        read_trace(packed)


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"absent\.csv"):
        read_trace(tmp_path / "absent.csv")


@pytest.mark.parametrize(
    ("times", "message"),
    [
        ([], "non-empty"),
        ([[1.0, 2.0]], r"shape \(1, 2\)"),
        ([0.0, np.nan], "entry 1 is nan"),
        ([0.0, np.inf], "entry 1 is inf"),
        ([-1.0, 0.0], "entry 0 is -1.0"),
        ([0.0, 2.0, 1.0, 0.5], r"entry 2 \(1.0 s\) comes before entry 1 \(2.0 s\)"),
        (["soon"], "must be numbers"),
    ],
)
def test_check_times_names_the_first_fault(times: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_times(times)


def test_check_times_copies() -> None:
    times = np.array([0.0, 1.0, 1.0])
    checked = check_times(times)
    times[0] = 5.0
    assert checked[0] == 0.0
    assert not checked.flags.writeable
