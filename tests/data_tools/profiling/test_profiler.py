import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from itertools import pairwise

import pytest

from data_tools.backends.base import Measurement
from data_tools.profiling.profiler import (
    missing_prompts,
    output_path,
    profile_backend,
    profile_models,
    spread_repeats,
)
from data_tools.profiling.run_file import ConfigurationChangedError, metadata_path, read_rows

REFERENCE_KEYS = [
    "request_text",
    "model_name",
    "response_text",
    "device",
    "inference_time",
    "input_token_count",
    "output_token_count",
]
PROMPTS = [f"prompt {i}" for i in range(20)]


class Echo:
    """A backend that answers with the prompt, until it is interrupted."""

    name = "Echo-1.5"
    device = "cpu"

    def __init__(self, interrupt_after=None, max_new_tokens=4):
        self.configuration = {"model": self.name, "max_new_tokens": max_new_tokens}
        self.measured = 0
        self.warm_ups = 0
        self.interrupt_after = interrupt_after

    def warm_up(self):
        self.warm_ups += 1

    def measure(self, prompt):
        if self.measured == self.interrupt_after:
            raise KeyboardInterrupt
        self.measured += 1
        return Measurement(prompt, 0.5, 2, 3, 0.1, None, "eos")


def run(backend, tmp_path, prompts=PROMPTS):
    return profile_backend(backend, prompts, tmp_path, show_progress=False)


def texts(path):
    return [row["request_text"] for row in read_rows(path)]


def test_the_file_has_the_references_name_and_its_keys_first(tmp_path):
    path = run(Echo(), tmp_path)
    assert path.name == "inference_data_Echo-1_5.jsonl"
    row = read_rows(path)[0]
    assert list(row)[:4] == REFERENCE_KEYS[:4]
    assert set(REFERENCE_KEYS) <= set(row)
    assert row["finish_reason"] == "eos"
    assert row["error"] is None
    assert row["load_average"] >= 0


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("Qwen2.5-3B", "inference_data_Qwen2_5-3B.jsonl"),
        ("org/model v2", "inference_data_org_model_v2.jsonl"),
    ],
)
def test_model_names_are_made_safe_as_the_reference_does(tmp_path, name, file):
    assert output_path(tmp_path, name) == tmp_path / file


def test_interrupted_after_seven_and_resumed_gives_twenty_rows(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(Echo(interrupt_after=7), tmp_path)
    path = output_path(tmp_path, Echo.name)
    assert texts(path) == PROMPTS[:7]
    second = Echo()
    run(second, tmp_path)
    assert texts(path) == PROMPTS
    assert second.measured == 13


def test_nothing_left_to_do_does_not_even_warm_up(tmp_path):
    run(Echo(), tmp_path)
    again = Echo()
    path = run(again, tmp_path)
    assert (again.warm_ups, again.measured) == (0, 0)
    assert texts(path) == PROMPTS


SLOW_ECHO = """
import sys, time
from pathlib import Path
from data_tools.backends.base import Measurement
from data_tools.profiling.profiler import profile_backend

class Slow:
    name = "Echo-1.5"
    device = "cpu"
    configuration = {"model": "Echo-1.5", "max_new_tokens": 4}
    def warm_up(self): pass
    def measure(self, prompt):
        time.sleep(0.02)
        return Measurement(prompt, 0.5, 2, 3, 0.1, None, "eos")

prompts = [f"prompt {i}" for i in range(20)]
profile_backend(Slow(), prompts, Path(sys.argv[1]), show_progress=False)
"""


def test_killed_and_resumed_gives_twenty_rows(tmp_path, repository):
    path = output_path(tmp_path, Echo.name)
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW_ECHO, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(repository)},
    )
    deadline = time.monotonic() + 60
    while (not path.exists() or path.read_bytes().count(b"\n") < 7) and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    with path.open("ab") as file:
        file.write(b'{"request_text": "prompt 1')  # as if killed in the middle of a line
    run(Echo(), tmp_path)
    assert Counter(texts(path)) == Counter(PROMPTS)


def test_a_changed_configuration_is_refused_showing_the_difference(tmp_path):
    run(Echo(), tmp_path, PROMPTS[:3])
    other = Echo(max_new_tokens=8)
    with pytest.raises(ConfigurationChangedError, match="max_new_tokens: recorded 4, now 8"):
        run(other, tmp_path)
    assert other.measured == 0


def test_a_text_that_occurs_k_times_is_measured_k_times():
    assert missing_prompts(["a", "b", "a", "a"], {"a": 1, "b": 1}) == ["a", "a"]
    assert missing_prompts(["a", "b", "a"], {}) == ["a", "b", "a"]
    assert missing_prompts(["a"], {"a": 3}) == []


def test_repeats_are_spread_over_the_run():
    prompts = [str(i) for i in range(100)]
    spread = spread_repeats(prompts, 10, 3)
    assert len(spread) == 120
    counts = Counter(spread)
    assert sorted(text for text, k in counts.items() if k == 3) == sorted(prompts[::10])
    for text in prompts[::10]:
        at = [i for i, other in enumerate(spread) if other == text]
        assert min(b - a for a, b in pairwise(at)) >= 30
    assert spread_repeats(prompts, 0, 3) == spread_repeats(prompts, 5, 1) == prompts


@pytest.mark.parametrize(
    ("count", "times", "name"), [(-1, 2, "count"), (4, 2, "count"), (1, 0, "times")]
)
def test_impossible_repeats_are_refused(count, times, name):
    with pytest.raises(ValueError, match=name):
        spread_repeats(["a", "b", "c"], count, times)


def test_local_models_are_profiled_each_into_its_file(tiny_model, tmp_path):
    prompts = ["list three", "the dog", "a cat in the sea", "list three"]
    paths = profile_models(
        {"Tiny": str(tiny_model), "Tiny.2": str(tiny_model)},
        prompts,
        tmp_path,
        max_new_tokens=6,
        device="cpu",
        batch_sizes=(1, 2),
        show_progress=False,
    )
    assert [path.name for path in paths] == [
        "inference_data_Tiny.jsonl",
        "inference_data_Tiny_2.jsonl",
    ]
    for path in paths:
        assert texts(path) == prompts
        for row in read_rows(path):
            assert 0 < row["time_to_first_token"] <= row["inference_time"]
            assert row["error"] is None
            assert 1 <= row["output_token_count"] <= 6
        assert json.loads(path.with_suffix(".slowdown.json").read_text())["slowdown"][0] == 1
        recorded = json.loads(metadata_path(path).read_text())
        assert recorded["configuration"]["dtype"] == "float32"
        assert recorded["configuration"]["attention"] == "sdpa"
        assert recorded["configuration"]["revision"].startswith("sha256:")
        assert str(tiny_model) not in metadata_path(path).read_text()


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("threads", 0),
        ("max_new_tokens", 0),
        ("batch_sizes", (1,)),
        ("dtype", "int3"),
        ("device", "cuda"),
    ],
)
def test_settings_out_of_range_are_named(tiny_model, tmp_path, monkeypatch, setting, value):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    settings = {"device": "cpu", setting: value}
    with pytest.raises(ValueError, match=f"{setting}=.*: must be"):
        profile_models({"Tiny": str(tiny_model)}, ["a"], tmp_path, **settings)
