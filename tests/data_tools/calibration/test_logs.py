"""Logs of every format give the same requests; what is faulty is refused by name."""

import json
import zipfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data_tools.calibration.formats import expanded
from data_tools.calibration.logs import read_log
from data_tools.calibration.sweep import read_sweep
from edgecloud_gym.files import UnreadableFileError
from tests.data_tools.calibration.support import LEFT_OUT, WRITERS, lines, requests, table, vllm


@cache
def served() -> list[Any]:
    """What the server did; made when first asked for, as that compiles it."""
    return requests(6.0, n=24)


@pytest.mark.parametrize("kind", WRITERS)
def test_every_format_gives_the_same_requests(kind: str, tmp_path: Path) -> None:
    log = read_log(WRITERS[kind](tmp_path, served()))
    sent, _, first, finish, prompt, output = np.array(served()).T
    assert log.kind == kind
    assert log.left_out == LEFT_OUT.get(kind, {})
    for name, values in {"sent": sent, "first": first, "finish": finish}.items():
        np.testing.assert_allclose(getattr(log, name), values - sent[0], atol=2e-6, err_msg=name)
    np.testing.assert_array_equal(log.computed, prompt)
    found = 64 if kind == "Dynamo request trace" else -1  # the others do not say
    np.testing.assert_array_equal(log.cached, found)
    np.testing.assert_array_equal(log.prompt, prompt + max(found, 0))
    np.testing.assert_array_equal(log.output, output)


def test_columns_of_ones_own_with_units(tmp_path: Path) -> None:
    rows = [
        {"t_ms": s * 1e3, "ft_us": f * 1e6, "end": e, "in": p, "out": o}
        for s, _, f, e, p, o in served()
    ]
    columns = {"sent": "t_ms", "first": "ft_us", "finish": "end", "prompt": "in", "output": "out"}
    log = read_log(table(tmp_path / "mine.csv", rows), columns)
    np.testing.assert_allclose(log.finish, np.array(served())[:, 3] - served()[0][0], atol=1e-6)
    with pytest.raises(ValueError, match="columns: 'output' is missing"):
        read_log(tmp_path / "mine.csv", {k: v for k, v in columns.items() if k != "output"})


def test_durations_alone_are_one_request_after_another(tmp_path: Path) -> None:
    timings = {"prompt_n": 40, "prompt_ms": 300.0, "predicted_n": 9, "predicted_ms": 900.0}
    for record in (
        {"timings": timings | {"cache_n": 5}},
        timings,
        {
            "prompt_eval_count": 40,
            "prompt_eval_duration": 300_000_000,
            "eval_count": 9,
            "eval_duration": 900_000_000,
            "total_duration": 1_300_000_000,
        },
    ):
        log = read_log(lines(tmp_path / "single.jsonl", [record] * 12))
        assert log.most_at_once == 1
        assert (log.finish - log.sent)[3] == pytest.approx(1.2)
        assert (log.first - log.sent)[3] == pytest.approx(0.3)
        assert log.computed[0] == 40


def test_settings_are_read_where_the_log_has_them(tmp_path: Path) -> None:
    more = {"max_num_seqs": 64, "kv_blocks": 100, "block_size": 32, "max_num_batched_tokens": 512}
    assert read_log(vllm(tmp_path, served(), **more)).settings == {
        "sequences": 64,
        "kv_tokens": 3200,
        "block_size": 32,
        "batched_tokens": 512,
    }


def test_unsorted_is_sorted_and_said(tmp_path: Path) -> None:
    log = read_log(vllm(tmp_path, served()[::-1]))
    assert (np.diff(log.sent) >= 0).all()
    assert any("sorted" in note for note in log.notes)


def test_two_clocks_are_brought_together_and_said(tmp_path: Path) -> None:
    path = vllm(tmp_path, served())
    records: list[dict[str, Any]] = [json.loads(line) for line in path.read_text().splitlines()]
    delays = np.linspace(0.002, 0.05, len(records))
    for record, delay in zip(records, delays, strict=True):
        record["arrival_time"] = record["queued_ts"] - delay + 1.7e9
    log = read_log(lines(path, records))
    assert any("two clocks" in note for note in log.notes)
    assert log.front_end == 0
    np.testing.assert_allclose(
        (log.finish - log.sent)[5],
        served()[5][3] - served()[5][0] + delays[5] - 0.002,
        atol=1e-5,
    )
    for record, drift in zip(records, np.linspace(0, 90, len(records)), strict=True):
        record["arrival_time"] += drift
    log = read_log(lines(path, records))
    assert any("drift" in note for note in log.notes)
    np.testing.assert_allclose(
        (log.finish - log.sent)[5], served()[5][3] - served()[5][0], atol=1e-6
    )


def test_times_of_two_clocks_that_nothing_joins_are_refused(tmp_path: Path) -> None:
    rows = [(s + 1.7e9, a, f, e, p, o) for s, a, f, e, p, o in served()]
    with pytest.raises(UnreadableFileError, match=r"24 of 24 requests .* two clocks"):
        read_log(vllm(tmp_path, rows))


def test_the_front_end_is_told_apart_from_the_engine(tmp_path: Path) -> None:
    path = vllm(tmp_path, served())
    records = [json.loads(line) for line in path.read_text().splitlines()]
    for record in records:
        record["client_sent"] = record["queued_ts"] - 0.004
    log = read_log(lines(path, records))
    assert log.front_end == pytest.approx(0.004)
    np.testing.assert_allclose(log.arrival - log.sent, 0.004)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"first_token_ts": None}, "line 4 .*first_token_ts is missing"),
        ({"output_toks": 2.5}, "line 4 .*output tokens 2.5: must be a whole number"),
        ({"output_toks": 10**12}, r"line 4 .*output tokens 1e\+12: must be .* to 2147483647"),
        ({"input_toks": 10**30}, r"line 4 .*prompt tokens 1e\+30: must be .* to 2147483647"),
        ({"max_num_seqs": 10**12}, "line 4: max_num_seqs=1000000000000: must be .* to 2147483647"),
        ({"input_toks": 0}, "line 4 .*prompt tokens 0"),
        ({"last_token_ts": "soon"}, "line 4 .*last_token_ts='soon': must be a number"),
        ({"last_token_ts": "1_0"}, "line 4 .*last_token_ts='1_0': must be a number"),
        ({"last_token_ts": "٣"}, "line 4 .*last_token_ts='٣': must be a number"),
        ({"last_token_ts": 10**400}, "line 4 .*last_token_ts=.*: must be a finite number"),
        ({"max_num_seqs": "many"}, "line 4: max_num_seqs='many': must be a number"),
        ({"block_size": 1.5}, "line 4: block_size=1.5: must be a whole number from 1"),
        ({"last_token_ts": 0.0}, "line 4 .*the last token came before the first"),
    ],
)
def test_a_faulty_record_is_named(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    path = vllm(tmp_path, served())
    records = [json.loads(line) for line in path.read_text().splitlines()]
    records[3] |= change
    with pytest.raises(UnreadableFileError, match=message):
        read_log(lines(path, records))


ODD = (None, "x", 5, True, [5], {"a": 1}, [None], 10**400, float("nan"))


@pytest.mark.parametrize("kind", WRITERS)
def test_odd_values_anywhere_are_named_or_passed_over(kind: str, tmp_path: Path) -> None:
    path = WRITERS[kind](tmp_path, served())
    if path.suffix == ".csv":
        return
    text = path.read_text()
    whole = path.suffix == ".json"
    records = [json.loads(part) for part in ([text] if whole else text.splitlines())]
    for place in places(records[-1]):
        for odd in ODD:
            changed = [*records[:-1], replaced(records[-1], place, odd)]
            path.write_text("\n".join(map(json.dumps, changed)))
            assert str(path) in fault_of(path)


def fault_of(path: Path) -> str:
    """Returns the path of a log that can be read, or what is wrong with it."""
    try:
        return f"{path}" if len(read_log(path)) >= 10 else "too few"
    except UnreadableFileError as error:
        return str(error)


def places(value: Any) -> list[tuple[Any, ...]]:
    """Returns the places of what lies in a JSON value; of lists, in the first entry."""
    inside: dict[Any, Any] = {}
    if isinstance(value, dict):
        inside = value
    elif isinstance(value, list):
        inside = dict(enumerate(value[:1]))
    return [(key, *rest) for key in inside for rest in ((), *places(inside[key]))]


def replaced(value: Any, place: tuple[Any, ...], new: Any) -> Any:
    if not place:
        return new
    copy = value.copy()
    copy[place[0]] = replaced(value[place[0]], place[1:], new)
    return copy


def test_requests_without_output_are_left_out_and_counted(tmp_path: Path) -> None:
    rows = [(*row[:5], 0) if i < 3 else row for i, row in enumerate(served())]
    log = read_log(vllm(tmp_path, rows))
    assert log.left_out == {"without output tokens": 3}
    assert len(log) == len(served()) - 3


def test_aggregates_and_strangers_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_text(json.dumps({"completed": 100, "mean_ttft_ms": 3.0, "p99_tpot_ms": 2.0}))
    with pytest.raises(UnreadableFileError, match=r"aggregates only .mean_ttft_ms, p99_tpot_ms"):
        read_log(path)
    path.write_text(json.dumps([{"a": 1, "b": 2}]))
    with pytest.raises(UnreadableFileError, match="no known log format; its first record has a, b"):
        read_log(path)
    path.write_text("[]")
    with pytest.raises(UnreadableFileError, match="holds no record"):
        read_log(path)
    with pytest.raises(UnreadableFileError, match="10 finished requests or more are needed, got 5"):
        read_log(vllm(tmp_path, served()[:5]))


def test_a_zip_is_of_the_format_of_the_file_inside(tmp_path: Path) -> None:
    rows = [
        {"s": s, "f": f, "e": e, "in": prompt, "out": output}
        for s, _, f, e, prompt, output in served()
    ]
    plain = table(tmp_path / "mine.csv", rows)
    columns = {"sent": "s", "first": "f", "finish": "e", "prompt": "in", "output": "out"}
    with zipfile.ZipFile(tmp_path / "log.zip", "w") as archive:
        archive.write(plain, "mine.csv")
    assert len(read_log(tmp_path / "log.zip", columns)) == len(served())


@pytest.mark.parametrize("seconds", ["1_0", "٣", "soon", "inf", "-1", "0"])
def test_a_sweep_holds_numbers(seconds: str, tmp_path: Path) -> None:
    path = table(tmp_path / "sweep.csv", [{"tokens": 1, "seconds": seconds}])
    with pytest.raises(
        UnreadableFileError, match=rf"sweep\.csv, line 2: seconds.*{seconds}'?: must be"
    ):
        read_sweep(path)


def test_lists_of_unequal_length_are_named() -> None:
    record = {"input_lens": [1, 2], "output_lens": [1, 2], "ttfts": [0.1]}
    with pytest.raises(ValueError, match="input_lens 2, output_lens 2, ttfts 1"):
        list(expanded(record))
