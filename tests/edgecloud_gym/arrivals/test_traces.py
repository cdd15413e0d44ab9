"""Workload traces: three formats, and what is wrong with a bad file."""

import bz2
import gzip
import json
import lzma
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from edgecloud_gym.arrivals import Trace
from edgecloud_gym.arrivals.traces import check_times, read_trace
from edgecloud_gym.files import UnreadableFileError

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


def lines_of(*rows: dict[str, object]) -> str:
    return "\n".join(map(json.dumps, rows))


BAILIAN = [
    {"chat_id": 1, "parent_chat_id": -1, "timestamp": 61.114, "input_length": 2048,
     "output_length": 256, "type": "text", "turn": 1, "hash_ids": [1, 2]},
    {"chat_id": 2, "parent_chat_id": -1, "timestamp": 61.5, "input_length": 10,
     "output_length": 5.0, "type": "text", "turn": 1, "hash_ids": [3]},
]  # fmt: skip
PLAIN = [
    {"timestamp": time, "input_length": 6, "output_length": 3} for time in (61.114, 61.5, 63.25)
]


def test_bailian_counts_seconds(tmp_path: Path) -> None:
    trace = read_trace(written(tmp_path, "b.jsonl", lines_of(*BAILIAN)))
    assert (trace.format, trace.unit) == ("bailian", "s")
    assert_allclose(trace.times, [0.0, 0.386])
    assert_array_equal(trace.output_tokens, [256, 5])


def test_the_unit_can_be_given(tmp_path: Path) -> None:
    path = written(tmp_path, "p.jsonl", lines_of(*PLAIN))
    assert_allclose(read_trace(path, unit="s").times, [0.0, 0.386, 2.136])
    assert_allclose(read_trace(path, unit="ms").times, [0.0, 0.386e-3, 2.136e-3])
    assert_allclose(Trace(path, unit="s").times, [0.0, 0.386, 2.136])
    with pytest.raises(ValueError, match=r"line 1: .* 61\.114 is no whole number of ms.*unit='s'"):
        read_trace(path)
    with pytest.raises(ValueError, match="unit='h': must be one of 's', 'ms', 'us', 'ns'"):
        read_trace(path, unit="h")


def test_an_unlikely_rate_is_remarked_on(tmp_path: Path) -> None:
    seconds = [{**row, "timestamp": i} for i, row in enumerate(PLAIN * 3)]  # read as ms
    path = written(tmp_path, "p.jsonl", lines_of(*seconds))
    with pytest.warns(UserWarning, match=r"p\.jsonl: 1,000 requests/s, if its times count ms"):
        assert read_trace(path).rate == pytest.approx(1000.0)
    assert read_trace(path, unit="s").rate == pytest.approx(1.0)


@pytest.mark.parametrize(
    "text",
    [
        '"TIMESTAMP","ContextTokens","GeneratedTokens"\n"2024-05-10 00:00:00","1","2"\n',
        "\ufeffTIMESTAMP,ContextTokens,GeneratedTokens\n2024-05-10 00:00:00,1,2\n",
        "\n\nTIMESTAMP,ContextTokens,GeneratedTokens\n2024-05-10 00:00:00,1,2\n",
        "TIMESTAMP, ContextTokens, GeneratedTokens\n2024-05-10 00:00:00,1,2\n",
        "TIMESTAMP,ContextTokens,GeneratedTokens\n2024-05-10 00:00:00+00,1,2\n",
        "TIMESTAMP,ContextTokens,GeneratedTokens\n2024-05-10 00:00:00.25Z,1,2\n",
        "TIMESTAMP,ContextTokens,GeneratedTokens\n2024-05-10T00:00:00.25+0200,1,2\n",
        "TIMESTAMP,ContextTokens,GeneratedTokens\n2024-05-10,1,2\n",
        "TIMESTAMP,ContextTokens,GeneratedTokens\r\n2024-05-10 00:00:00,1.0,2.0\r\n",
        "timestamp,input_length,output_length\n5000,1,2\n",
        '\ufeff{"timestamp": 5, "input_length": 1, "output_length": 2.0}',
        '\n{"Timestamp": 5, "Request tokens": 1, "Response tokens": 2}',
        '{"timestamp": 5.0, "input_length": 1, "output_length": 2, "hash_ids": []}\n\n',
    ],
)
def test_ways_to_write_the_same(tmp_path: Path, text: str) -> None:
    trace = read_trace(written(tmp_path, "[any].csv", text))
    assert_array_equal(trace.times, [0.0])
    assert (trace.input_tokens[0], trace.output_tokens[0]) == (1, 2)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"timestamp": 1, "input_length": 1}', "it has no 'output_length'"),
        ('{"timestamp": 1, "input_length": -1, "output_length": 1}', "'input_length' must be"),
        (
            '{"timestamp": 1, "input_length": true, "output_length": 1}',
            "must be a number, got bool",
        ),
        ('{"timestamp": "x", "input_length": 1, "output_length": 1}', "must be a number, got str"),
        ('{"timestamp": 1, "input_length": 1, "output_length": 1e999}', "'output_length' must be"),
        ('{"timestamp": 1, "input_length": 1, "output_length": 1, "timestamp": 2}', "twice"),
        ('{"timestamp": -7, "input_length": 1, "output_length": 1}', "-7 comes before"),
        ("{half", "not a line of JSON"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: str, message: str) -> None:
    good = '{"timestamp": 0, "input_length": 1, "output_length": 1}'
    path = written(tmp_path, "m.jsonl", f"{good}\n\n{line}\n")
    with pytest.raises(UnreadableFileError, match=rf"m\.jsonl, line 3: .*{message}"):
        read_trace(path)


def test_integers_beyond_any_range_are_named(tmp_path: Path) -> None:
    line = '{"timestamp": 0, "input_length": 1, "output_length": %s}' % ("9" * 400)
    with pytest.raises(UnreadableFileError, match="line 1: 'output_length' is out of range"):
        read_trace(written(tmp_path, "m.jsonl", line))


@pytest.mark.parametrize(
    ("first", "second", "has"),
    [(PLAIN[0], BAILIAN[1], "has"), (BAILIAN[0], PLAIN[1], "lacks")],
)
def test_two_formats_in_one_file_are_refused(
    tmp_path: Path, first: dict[str, object], second: dict[str, object], has: str
) -> None:
    path = written(tmp_path, "mixed.jsonl", lines_of({**first, "timestamp": 5}, second))
    for unit in (None, "s"):
        with pytest.raises(UnreadableFileError, match=rf"line 2: it {has} 'chat_id', .* first"):
            read_trace(path, unit=unit)


def test_a_zip_needs_no_suffix_inside_its_name(tmp_path: Path) -> None:
    path = tmp_path / "my.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("folder/azure.csv", AZURE)
    assert len(read_trace(path)) == 3
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("b.csv", AZURE)
    with pytest.raises(UnreadableFileError, match=r"my\.zip: .* holds 2 \(folder/azure.csv, b"):
        read_trace(path)


@pytest.mark.parametrize("number", ["1_0", "٣", "1;5"])
def test_numerals_in_a_csv_are_ascii_digits(tmp_path: Path, number: str) -> None:
    path = written(tmp_path, "b.csv", BURSTGPT + f"119,GPT-4,{number},1,2,API log\n")
    with pytest.raises(UnreadableFileError, match=r"b\.csv.*Row #5"):
        read_trace(path)


@pytest.mark.parametrize("text", [AZURE, BURSTGPT, lines_of(*BAILIAN)])
@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_packed_traces_and_those_cut_short(
    tmp_path: Path, text: str, pack: Callable[[bytes], bytes]
) -> None:
    path = tmp_path / "packed.any"
    path.write_bytes(pack(text.encode()))
    whole = read_trace(path)
    assert len(whole) >= 2
    path.write_bytes(pack(text.encode() * 50)[:-20])
    with pytest.raises(UnreadableFileError, match=r"packed\.any"):
        read_trace(path)


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
        (BURSTGPT + "119,GPT-4,,1,2,API log\n", "row 5: it has no 'Request tokens'"),
        (
            BURSTGPT + "117,GPT-4,1,1,2,API log\n",
            "row 5: 'Timestamp' 117 comes before .* row 4, 118",
        ),
        (BURSTGPT + "119,GPT-4,-1,1,2,API log\n", "row 5: 'Request tokens' must be .* got -1"),
        (BURSTGPT + "119,GPT-4,1,1.5,2,API log\n", "row 5: 'Response tokens' must be .* got 1.5"),
        (
            BURSTGPT + "119,GPT-4,1,1000000000000,2,x\n",
            "row 5: .* 0 to 2147483647, got 1000000000000",
        ),
        (BURSTGPT + "inf,GPT-4,1,1,2,x\n", "row 5: 'Timestamp' is inf"),
        (BURSTGPT.replace("Model", "Timestamp"), "column 'Timestamp' occurs twice"),
        (AZURE + "2023-11-16 23:59:59,1,1\n", "row 5: 'TIMESTAMP' 2023-11-16T23:59:59.* before"),
        (AZURE.replace("2023-11-16", "16.11.2023"), r"Row #2.*16.11.2023"),
        (
            AZURE.splitlines()[0] + "\n1715299200000,1,1\n",
            r"Row #2.*'1715299200000'.*give unit= if its times are numbers",
        ),
    ],
)
def test_a_bad_file_is_named_with_its_fault(tmp_path: Path, text: str, message: str) -> None:
    path = written(tmp_path, "bad.csv", text)
    with pytest.raises(ValueError, match=rf"bad.csv.*{message}"):
        read_trace(path)


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / "bad.csv"
    path.write_bytes(b"\xe9\xfe\x00\x80")
    with pytest.raises(ValueError, match=r"bad\.csv cannot be read as text"):
        read_trace(path)
    packed = tmp_path / "bad.csv.gz"
    packed.write_bytes(b"TIMESTAMP")
    with pytest.raises(ValueError, match=r"bad\.csv\.gz is of no known trace format"):
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
        (["soon"], "must be an array of numbers"),
        (["1", "2"], "entry 0 is str '1'"),
        ([0.0, True], "entry 1 is bool True"),
        (np.array([0.0, 1j]), "entry 0 is complex"),
        (np.ma.array([0.0, 1.0], mask=[False, True]), "entry 1 is masked"),
    ],
)
def test_check_times_names_the_first_fault(times: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_times(times)


def test_check_times_copies() -> None:
    times = np.array([0.0, 1.0, 1.0])
    checked = check_times(times)
    times[0] = 5.0
    assert checked[0] == 0.0
    assert not checked.flags.writeable
