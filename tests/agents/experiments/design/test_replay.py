"""Replaying a workload trace: its times, and answers as long as its own."""

import json
import pickle
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from agents.experiments.design.replay import ReplayedDataset, match_lengths, replay
from edgecloud_gym import RequestDataset
from tests.agents.cli.conftest import invoke, words

RNG = np.random.default_rng(0)
DATA = RequestDataset.from_arrays(
    base_latency=np.linspace(0.1, 4.0, 40),
    embeddings=RNG.normal(size=(40, 5)),
    prompts=[f"prompt {number}" for number in range(40)],
    prompt_tokens=np.arange(40),
    response_tokens=np.arange(40) * 10,
)
TIMES = (0.0, 0.5, 2.0, 6.0)
LENGTHS = (101, 5, 101, 999)


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    path = tmp_path / "trace.jsonl"
    lines = [
        {"timestamp": int(1000 * time), "input_length": 7, "output_length": length}
        for time, length in zip(TIMES, LENGTHS, strict=True)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """The same dataset as a file."""
    path = tmp_path / "data.jsonl"
    lines = [
        {
            "request_text": prompt,
            "inference_time": float(latency),
            "input_token_count": 3,
            "output_token_count": int(tokens),
        }
        for prompt, latency, tokens in zip(
            DATA.prompts or (), DATA.base_latency, DATA.response_tokens, strict=True
        )
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def compare(tmp_path: Path, *arguments: object) -> Any:
    fixed = ("--env", "static", "--agents", "fcfs,random", "--workers", 1, "--seeds", 2)
    return invoke("compare", *fixed, "--output", tmp_path / "out", *arguments)


def test_the_nearest_length_and_each_in_its_turn() -> None:
    tokens = np.array([10, 30, 10, 20, 10])
    found = match_lengths(np.array([11, 9, 26, 10, 0, 99, 15]), tokens, np.arange(5))
    assert found.tolist() == [0, 2, 1, 4, 0, 1, 2]  # of two as near, the shorter
    only = match_lengths(np.array([1, 99]), tokens, np.array([3]))
    assert only.tolist() == [3, 3]


def test_times_and_lengths_of_the_trace_are_played(
    trace: Path, dataset: Path, tmp_path: Path
) -> None:
    result = compare(tmp_path, "--trace", trace, "--dataset", dataset)
    assert result.exit_code == 0, result.output
    assert "Replaying 4 of the 4 requests" in words(result)
    assert "the same requests on every seed" in words(result)
    log = pd.read_csv(tmp_path / "out" / "requests.csv")
    for _, run in log.groupby(["agent", "seed"]):
        assert run["arrival_time"].tolist() == list(TIMES)
        lengths = np.rint(run["base_latency"].to_numpy() * 10 - 1) * 10  # see DATA
        assert lengths.tolist() == [100, 0, 100, 390]


def test_faster_stretched_and_cut_short(trace: Path, dataset: Path, tmp_path: Path) -> None:
    fixed = ("--trace", trace, "--dataset", dataset, "--overwrite")
    assert compare(tmp_path, *fixed, "--rate-scale", 2).exit_code == 0
    log = pd.read_csv(tmp_path / "out" / "requests.csv").query("agent == 'fcfs' and seed == 0")
    assert log["arrival_time"].tolist() == [time / 2 for time in TIMES]
    assert compare(tmp_path, *fixed, "--arrival-rate", 1).exit_code == 0
    log = pd.read_csv(tmp_path / "out" / "requests.csv").query("agent == 'fcfs' and seed == 0")
    assert log["arrival_time"].tolist() == pytest.approx([time / 2 for time in TIMES])
    result = compare(tmp_path, *fixed, "--duration", 3)
    assert "Replaying 3 of the 4 requests" in words(result)
    assert len(pd.read_csv(tmp_path / "out" / "requests.csv")) == 3 * 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "arrivals=poisson"], "--set arrivals=poisson: give one of them"),
        (["--set", "prompt_order=shuffle"], "--set prompt_order=shuffle"),
        (["--rate-scale", 2, "--load", 0.5], "--rate-scale and a load"),
        (["--rate-scale", 0], "rate_scale=0.0: must be a finite number > 0"),
    ],
)
def test_contradictions(
    arguments: list[object], message: str, trace: Path, dataset: Path, tmp_path: Path
) -> None:
    result = compare(tmp_path, "--trace", trace, "--dataset", dataset, *arguments)
    assert result.exit_code == 2, result.output
    assert message in words(result)


def test_a_dataset_without_lengths_is_told(trace: Path) -> None:
    lengths = RequestDataset.from_arrays(base_latency=np.ones(5))
    found = replay(trace, lengths, duration=10.0)
    assert "does not say how long its answers are" in " ".join(found.notes)
    assert found.dataset is lengths


def test_agents_see_what_they_see_of_the_dataset_itself() -> None:
    rows = np.array([3, 3, 39, 0])
    asked = ReplayedDataset.of(DATA, rows)
    for again in (asked, pickle.loads(pickle.dumps(asked))):
        np.testing.assert_array_equal(again.base_latency, DATA.base_latency[rows])
        for dim in (2, None):
            np.testing.assert_array_equal(
                again.embedding_table(dim), DATA.embedding_table(dim)[rows]
            )
        assert again.prompts == tuple(f"prompt {row}" for row in rows)


def test_all_that_the_dataset_knows_of_a_prompt_goes_along() -> None:
    rows = np.array([1, 0, 1])
    known = {
        "embeddings": np.eye(2), "prompts": ["a", "b"], "prompt_tokens": [5, 6],
        "response_tokens": [7, 8], "slowdown": [1.0, 1.5], "time_to_first_token": [0.1, 0.2],
        "families": ["x", "y"], "cached_tokens": [1, -1],
    }  # fmt: skip
    data = RequestDataset.from_arrays([1.0, 2.0], name="known", **known)  # type: ignore[arg-type]
    asked = ReplayedDataset.of(data, rows)
    for name in (field.name for field in fields(RequestDataset) if field.init):
        whole, part = getattr(data, name), getattr(asked, name)
        of_all = name in ("slowdown", "name", "skipped")
        assert whole is not None
        np.testing.assert_array_equal(part, whole if of_all else np.asarray(whole)[rows])


def test_the_prompts_of_one_side_alone(trace: Path) -> None:
    test = set(DATA.rows("test").tolist())
    found = replay(trace, DATA, split="test", duration=10.0)
    assert isinstance(found.dataset, ReplayedDataset)
    assert set(found.dataset.source_rows.tolist()) <= test
    assert found.settings["split"] == "all"


def test_a_model_trained_on_a_trace_knows_which_prompts_it_has_seen(
    trace: Path, learnable: Path, tmp_path: Path
) -> None:
    model = tmp_path / "model.npz"
    fixed = ("--env", "static", "--dataset", learnable)
    done = invoke("train", "c2ucb", *fixed, "--trace", trace, "--episodes", 1, "--output", model)
    assert done.exit_code == 0, done.output
    for split, seen in (("train", True), ("test", False)):
        output = ("--output", tmp_path / split, "--agents", "fcfs", "--seeds", 1, "--workers", 1)
        short = ("--duration", 5, "--split", split)
        result = invoke("evaluate", model, *fixed, *output, *short)
        assert result.exit_code == 0, result.output
        assert ("has learnt from prompts that it meets here" in words(result)) == seen


def test_prompts_that_are_not_the_trace_s_are_told(trace: Path) -> None:
    """An engine reads and caches prompts: how long they are matters as the answers do."""
    lengths = RequestDataset.from_arrays(
        base_latency=np.ones(5), prompt_tokens=[30] * 5, response_tokens=[10] * 5
    )
    notes = " ".join(replay(trace, lengths, duration=10.0).notes)
    assert "Prompts are those of the dataset, 30 tokens; the trace's have 7" in notes
    without = RequestDataset.from_arrays(base_latency=np.ones(5), response_tokens=[10] * 5)
    assert "Prompts are" not in " ".join(replay(trace, without, duration=10.0).notes)
