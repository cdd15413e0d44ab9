import gzip
import io
import json
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from rich.console import Console

from data_tools.describing.describe import Description, describe, tables
from data_tools.describing.figure import save_figure
from data_tools.describing.quantities import Arrivals, Quantity, shown
from edgecloud_gym.dataset import bundled_datasets
from edgecloud_gym.files import UnreadableFileError


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """Ten requests of 1 to 10 s, two of them cut off, a failed one, and a slowdown curve."""
    path = tmp_path / "measured.jsonl"
    rows = [
        {
            "request_text": f"prompt {i}",
            "inference_time": float(i),
            "input_token_count": 10,
            "output_token_count": 20 * i,
            "time_to_first_token": 0.1 * i,
            "finish_reason": "length" if i > 8 else "eos",
            "error": None,
        }
        for i in range(1, 11)
    ]
    failed = {"request_text": "x", "inference_time": None, "error": "out of memory"}
    path.write_text("\n".join(json.dumps(row) for row in [*rows, failed]))
    curve = {
        "batch_sizes": [1, 2, 4],
        "step_time": [0.1, 0.15, 0.26],
        "step_time_quartiles": [[0.09, 0.11], [0.14, 0.16], [0.24, 0.28]],
        "a": 0.05,
        "b": 0.05,
        "slowdown": [1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5],
    }
    path.with_suffix(".slowdown.json").write_text(json.dumps(curve))
    return path


def azure(path: Path, seconds: np.ndarray) -> Path:
    """A trace in Azure's format with requests at these times."""
    start = np.datetime64("2023-11-16T18:00:00.000000000")
    lines = ["TIMESTAMP,ContextTokens,GeneratedTokens"]
    for i, second in enumerate(seconds):
        time = start + np.timedelta64(int(second * 1e9), "ns")
        lines.append(f"{str(time).replace('T', ' ')[:-2]},{100 + i % 7},{i % 50}")
    path.write_bytes(gzip.compress("\n".join(lines).encode()))
    return path


def printed(source: Path) -> str:
    from rich.console import Console

    console = Console(width=80, file=io.StringIO())
    for table in tables(describe(source)):
        console.print(table)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_dataset_in_numbers(dataset: Path) -> None:
    with pytest.warns(UserWarning, match="out of memory"):
        description = describe(dataset)
    facts = dict(description.facts)
    assert facts["Requests"] == "10"
    assert facts["Rows left out (malformed or failed)"] == "1"
    assert facts["Distinct prompts"] == "10"
    assert facts["Answers cut off by the token limit"] == "20.0%"
    assert facts["Generated tokens per second"] == "20.0"
    assert facts["Embeddings"] == "none"
    assert facts["Slowdown of a batch of 4 (the largest measured)"] == "2.50 times"
    assert facts["Slowdown of a batch of 8 (extrapolated)"] == "4.50 times"
    by_title = {quantity.title: quantity.values for quantity in description.quantities}
    np.testing.assert_allclose(by_title["Inference time, s"], np.arange(1, 11))
    np.testing.assert_allclose(by_title["Time to first token, s"], 0.1 * np.arange(1, 11))
    np.testing.assert_allclose(by_title["Answer length, tokens"], 20 * np.arange(1, 11))


def test_slowdown_is_relative_to_the_fitted_single_step(dataset: Path) -> None:
    with pytest.warns(UserWarning, match="out of memory"):
        slowdown = describe(dataset).slowdown
    assert slowdown is not None
    np.testing.assert_allclose(slowdown.measured, [1.0, 1.5, 2.6])
    np.testing.assert_allclose(slowdown.quartiles[2], [2.4, 2.8])
    assert len(slowdown.curve) == 8

    dataset.with_suffix(".slowdown.json").write_text('{"slowdown": [1.0, 1.2]}')
    with pytest.warns(UserWarning, match="out of memory"):
        bare = describe(dataset).slowdown
    assert bare is not None
    assert len(bare.sizes) == len(bare.measured) == len(bare.quartiles) == 0


def test_parquet_and_jsonl_say_the_same(dataset: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    rows = [json.loads(line) for line in dataset.read_text().splitlines()]
    parquet.write_table(pa.Table.from_pylist(rows), dataset.with_suffix(".parquet"))
    with pytest.warns(UserWarning, match="out of memory"):
        one, other = describe(dataset), describe(dataset.with_suffix(".parquet"))
    assert one.facts == other.facts
    for a, b in zip(one.quantities, other.quantities, strict=True):
        assert a.title == b.title
        np.testing.assert_array_equal(a.values, b.values)


def test_reference_rows_need_no_more_than_the_seven_keys(tmp_path: Path) -> None:
    path = tmp_path / "reference.jsonl"
    row = {
        "request_text": "Hi",
        "model_name": "m",
        "response_text": "Hello",
        "device": "cuda",
        "inference_time": 1.5,
        "input_token_count": 3,
        "output_token_count": 2,
    }
    path.write_text(json.dumps(row) + "\n")
    labels = [quantity.label for quantity in describe(path).quantities]
    assert labels == ["Inference time", "Prompt length", "Answer length"]
    save_figure(describe(path), tmp_path / "reference.png")


@pytest.mark.parametrize("name", bundled_datasets())
def test_bundled_datasets(name: str, tmp_path: Path) -> None:
    description = describe(name)
    assert description.slowdown is not None
    assert dict(description.facts)["Embeddings"] == "384-d"
    save_figure(description, tmp_path / "bundled.png")


def test_poisson_arrivals_look_like_poisson() -> None:
    gaps = np.random.default_rng(1).exponential(0.5, size=100_000)
    arrivals = Arrivals(np.concatenate([[0.0], gaps.cumsum()]))
    assert arrivals.rate == pytest.approx(2.0, rel=0.02)
    assert arrivals.variation == pytest.approx(1.0, abs=0.02)
    for window in (1.0, 10.0, 60.0):
        assert arrivals.dispersion(window) == pytest.approx(1.0, abs=0.15)


def test_dispersion_of_known_arrivals() -> None:
    regular = Arrivals(np.arange(0.0, 100.5, 0.5))
    assert regular.variation == 0.0
    assert regular.dispersion(1.0) == 0.0
    assert (regular.counts(1.0) == 2).all()
    assert len(regular.counts(1.0)) == 100

    # Ten together every ten seconds: windows of 1 s hold 10, 0, 0, ...
    bursts = Arrivals(np.repeat(np.arange(0.0, 1001.0, 10.0), 10))
    counts = np.tile([10] + [0] * 9, 100)
    np.testing.assert_array_equal(bursts.counts(1.0), counts)
    assert bursts.dispersion(1.0) == pytest.approx(counts.var(ddof=1) / counts.mean())
    assert bursts.dispersion(10.0) == 0.0
    assert bursts.variation == pytest.approx(3.0, abs=0.1)


def test_a_gap_of_ages_takes_no_memory() -> None:
    arrivals = Arrivals(np.array([0.0, 0.5, 1e12, 1e12 + 1.5]))
    assert arrivals.peak(1.0) == 2.0
    # Counts of 2 and 1 in a million million windows: variance over mean is 5 / 3.
    assert arrivals.dispersion(1.0) == pytest.approx(5 / 3)


def test_too_short_a_trace_says_nothing_about_bursts() -> None:
    assert np.isnan(Arrivals(np.array([0.0, 1.0, 5.0])).dispersion(1.0))
    single = Arrivals(np.array([0.0]))
    assert np.isnan(single.rate)
    assert np.isnan(single.variation)


def test_traces_of_every_format(tmp_path: Path) -> None:
    azure_trace = azure(tmp_path / "trace.csv.gz", np.arange(0.0, 30.0, 0.5))
    facts = dict(describe(azure_trace).facts)
    assert facts["Requests"] == "60"
    assert facts["Mean arrival rate"] == "2.00 requests/s"
    assert facts["Dispersion of counts, 1 s (Poisson: 1)"] == "0"
    assert facts["Dispersion of counts, 60 s (Poisson: 1)"] == "–"

    burst = tmp_path / "burst.csv"
    header = "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n"
    burst.write_text(header + "5,ChatGPT,10,20,30,x\n5,ChatGPT,11,21,32,x\n7,GPT-4,1,2,3,x\n")
    description = describe(burst)
    assert description.kind == "workload trace, burstgpt format"
    assert dict(description.facts)["Simultaneous arrivals"] == "50.0%"

    mooncake = tmp_path / "mooncake.jsonl"
    line = '{"timestamp": %d, "input_length": 6, "output_length": 3, "hash_ids": [1]}'
    mooncake.write_text("\n".join(line % t for t in (0, 1000, 3000)))
    description = describe(mooncake)
    assert description.arrivals is not None
    np.testing.assert_allclose(description.arrivals.times, [0.0, 1.0, 3.0])


def test_the_clock_of_a_trace_is_said_and_can_be_given(tmp_path: Path) -> None:
    path = tmp_path / "plain.jsonl"
    line = '{"timestamp": %g, "input_length": 6, "output_length": 3}'
    path.write_text("\n".join(line % t for t in (0, 0.5, 2)))
    facts = dict(describe(path, unit="s").facts)
    assert facts["Clock of the file"] == "s"
    assert facts["Mean arrival rate"] == "1.00 requests/s"
    with pytest.raises(UnreadableFileError, match="give unit='s' or unit='ms'"):
        describe(path)
    with pytest.raises(ValueError, match="unit='s': must be None for a dataset"):
        describe(bundled_datasets()[0], unit="s")
    with pytest.raises(ValueError, match=r"on_error='skip' .--skip-malformed.: must be 'raise'"):
        describe(path, unit="s", on_error="skip")


def test_a_dataset_in_csv_is_no_trace(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv.gz"
    path.write_bytes(gzip.compress(b"prompt,latency,time_to_first_token\na,1.5,0.5\nb,2.5,\n"))
    description = describe(path)
    assert description.kind == "dataset"
    assert {q.label: q.values.tolist() for q in description.quantities} == {
        "Inference time": [1.5, 2.5],
        "Time to first token": [0.5],
    }


def test_sizes_that_did_not_fit_are_said(dataset: Path) -> None:
    path = dataset.with_suffix(".slowdown.json")
    curve = json.loads(path.read_text()) | {"did_not_fit": {"512": "out of memory: x"}}
    path.write_text(json.dumps(curve))
    with pytest.warns(UserWarning, match="left out"):
        facts = dict(describe(dataset).facts)
    assert facts["Slowdown of a batch of 512"] == "not measured: out of memory: x"


@pytest.mark.parametrize("value", [0.1, 1 / 3, 1e-9, 12345.678])
def test_equal_values_do_not_vary(value: float) -> None:
    assert Quantity.of("x", "s", [value] * 1000).variation == 0.0
    assert Quantity.of("x", "s", [value] * 999 + [value * 1.001]).variation > 0


@pytest.mark.parametrize("odd", ["fast", [1], {"a": 1}, True, -1.0, 10**400, float("inf")])
def test_odd_extras_are_left_out(tmp_path: Path, odd: object) -> None:
    row = {"request_text": "a", "inference_time": 1.0}
    rows = [row | {"time_to_first_token": odd, "finish_reason": [odd]}, row]
    path = tmp_path / "odd.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    assert [quantity.label for quantity in describe(path).quantities] == ["Inference time"]


def test_brackets_and_dollars_in_names(tmp_path: Path) -> None:
    path = tmp_path / "a[bold]$x_1$b.jsonl"
    path.write_text('{"request_text": "a", "inference_time": 1.0}\n' * 2)
    assert "a[bold]$x_1$b: dataset" in printed(path)
    save_figure(describe(path), tmp_path / "[new]" / "p[1].png")
    assert png_size(tmp_path / "[new]" / "p[1].png")


def test_neither_dataset_nor_trace(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not known"):
        describe("no-such-name")
    for name in ("nowhere.csv", "nowhere.jsonl"):
        with pytest.raises(FileNotFoundError, match="does not exist"):
            describe(tmp_path / name)


def test_tables_fit_a_terminal(dataset: Path, shared_dir: Path) -> None:
    with pytest.warns(UserWarning, match="out of memory"):
        text = printed(dataset)
    text += printed(shared_dir / "data" / "AzureLLMInferenceTrace_conv.csv.gz")
    assert "19,366" in text
    assert max(len(line) for line in text.splitlines()) <= 80
    rows = [line for line in text.splitlines() if "Prompt length, tokens" in line]
    assert all("…" not in row and len(row.split()) == 10 for row in rows)  # one line each, uncut


def png_size(path: Path) -> tuple[int, int]:
    head = path.read_bytes()[:24]
    assert head[:8] == b"\x89PNG\r\n\x1a\n"
    return int.from_bytes(head[16:20], "big"), int.from_bytes(head[20:24], "big")


def test_picture_of_a_dataset(dataset: Path, tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="out of memory"):
        description = describe(dataset)
    path = tmp_path / "picture.png"
    save_figure(description, path)
    width, height = png_size(path)
    assert (width, height) == (1200, 1200)  # three rows of two
    assert [file.name for file in tmp_path.iterdir() if file.name.startswith(".")] == []


def test_picture_of_a_trace(tmp_path: Path) -> None:
    seconds = np.random.default_rng(0).exponential(0.5, 400).cumsum()
    trace = azure(tmp_path / "trace.csv.gz", seconds)
    save_figure(describe(trace), tmp_path / "picture.png")
    assert png_size(tmp_path / "picture.png") == (1200, 1200)


def test_picture_of_a_very_short_trace(tmp_path: Path) -> None:
    trace = azure(tmp_path / "trace.csv.gz", np.array([0.0, 0.5, 2.0]))
    save_figure(describe(trace), tmp_path / "picture.png")
    assert png_size(tmp_path / "picture.png")[1] < 1200  # no panels on the rate


@pytest.mark.parametrize(
    ("unit", "values", "outliers"),
    [
        ("tokens", [0.0, 3.0, 90.0], 0),
        ("tokens", [0.0, *range(1, 2000)], 20),
        ("s", [1e-6, *np.geomspace(0.1, 100, 999)], 10),
        ("s", [2.0, 2.0], 0),
    ],
)
def test_histograms_hold_all_but_outliers(
    unit: str,
    values: list[float],
    outliers: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    counted: list[float] = []
    hist = Axes.hist

    def counting(axes: Axes, *arguments: object, **options: object) -> object:
        drawn = hist(axes, *arguments, **options)
        counted.append(drawn[0].sum())
        return drawn

    monkeypatch.setattr(Axes, "hist", counting)
    quantity = Quantity.of("x", unit, values)
    save_figure(Description("x", "dataset", (), (quantity,)), tmp_path / "x.png")
    assert len(counted) == 1
    assert len(values) - outliers <= counted[0] <= len(values)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.000123456, "0.000123"),
        (-1.5, "-1.50"),
        (999.6, "1,000"),
        (1e6, "1,000,000"),
        (9_999_999, "9,999,999"),
        (1.5e7, "1.5e+07"),
        (1e308, "1e+308"),
        (10**20, "1e+20"),
        (2.25e-14, "2.25e-14"),
        (float("inf"), "inf"),
    ],
)
def test_numbers_are_short(value: float, text: str) -> None:
    assert shown(value) == text


@pytest.mark.filterwarnings("error::RuntimeWarning", "ignore:.*milliseconds")
@pytest.mark.parametrize(
    "times", [[0.5, 1e308, 1.0], [1.7e308] * 3, [5e-324, 1e-320, 1.0], [9876543.1] * 3]
)
def test_numbers_beyond_all_measure_fit_the_tables(times: list[float], tmp_path: Path) -> None:
    path = tmp_path / "far.jsonl"
    rows = [{"request_text": f"{i}", "inference_time": time} for i, time in enumerate(times)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    description = describe(path)
    assert all(len(value) <= 22 for _, value in description.facts)
    printed = io.StringIO()
    console = Console(file=printed, width=80)
    for table in tables(description):
        console.print(table)
    assert shown(max(times)) in printed.getvalue()
    assert "…" not in printed.getvalue()
    assert all(len(line) <= 80 for line in printed.getvalue().splitlines())
    (quantity,) = description.quantities
    largest = max(times)
    expected = sum(time / largest for time in times) / 3 * largest
    assert quantity.mean == pytest.approx(expected)
    save_figure(description, tmp_path / "far.png")
    assert (tmp_path / "far.png").stat().st_size > 0
