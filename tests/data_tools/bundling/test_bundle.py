import json
import shutil
from dataclasses import fields

import numpy as np
import pandas as pd
import pytest

from data_tools.backends.endpoint import EndpointBackend
from data_tools.bundling.bundle import build_dataset
from data_tools.bundling.embed import Encoded
from data_tools.bundling.run_figures import explained_variance
from data_tools.profiling.profiler import profile_backend
from data_tools.profiling.run_file import RunFile
from edgecloud_gym.dataset import RequestDataset, load_dataset
from edgecloud_gym.dataset.writing import write_dataset
from edgecloud_gym.files import UnreadableFileError
from tests.data_tools.backends.chat_server import ChatServer, answer, delta, events

CONFIGURATION = {
    "model": "Tiny",
    "source": "tiny",
    "revision": "sha256:0",
    "dtype": "float32",
    "attention": "sdpa",
    "device": "cpu",
    "hardware": "a processor",
    "threads": 1,
    "max_new_tokens": 10,
    "chat_template": True,
    "torch": "1",
    "transformers": "2",
    "tokenizers": "3",
    "numpy": "4",
}
CONDITIONS = {
    "started": "2026-01-01T00:00:00+00:00",
    "cores_of_machine": 2,
    "cores_usable": 1,
    "memory_gib": 8.0,
    "gpu_driver": None,
    "system": "Linux",
    "python": "3.11",
}


class FixedVectors:
    """Stands in for a BERT: one random vector per prompt."""

    name = "fixed"
    pooling = "mean"

    def encode(self, prompts, on_progress=None):  # noqa: ARG002
        return Encoded(np.random.default_rng(0).normal(size=(len(prompts), 4)), truncated=0)


def row(prompt, time, tokens=5, finish="eos", error=None):
    return {
        "request_text": prompt,
        "model_name": "Tiny",
        "response_text": "yes",
        "device": "cpu",
        "inference_time": time,
        "input_token_count": 3,
        "output_token_count": tokens,
        "time_to_first_token": 0.1,
        "device_time": None,
        "finish_reason": finish,
        "error": error,
        "load_average": 1.0,
    }


@pytest.fixture
def run_file(tmp_path):
    path = tmp_path / "inference_data_Tiny.jsonl"
    with RunFile(path, CONFIGURATION, CONDITIONS) as run:
        for i in range(30):
            run.append(row(f"prompt {i}", 1.0 + i))
        run.append(row("prompt 0", 1.1))
        run.append(row("prompt 1", 2.4))
        run.append(row("cut", 9.0, tokens=10, finish="length"))
        run.append(row("broken", None, tokens=None, finish=None, error="out of memory: x"))
    return path


def build(run_file, tmp_path):
    return build_dataset(
        run_file, tmp_path / "tiny", FixedVectors(), license="CC0", notes="Measured in a test."
    )


def test_the_first_measurement_of_each_prompt_becomes_its_request(run_file, tmp_path):
    build(run_file, tmp_path)
    dataset = load_dataset(tmp_path / "tiny")
    assert dataset.prompts == (*(f"prompt {i}" for i in range(30)), "cut")
    assert dataset.base_latency[:2].tolist() == [1.0, 2.0]
    assert dataset.embeddings.shape == (31, 4)
    table = pd.read_parquet(tmp_path / "tiny" / "requests.parquet")
    assert table["repeated_inference_times"][1].tolist() == [2.4]
    assert "device_time" not in table
    assert "error" not in table


def test_all_that_a_dataset_knows_of_its_requests_is_kept(tmp_path):
    data = RequestDataset.from_arrays(
        base_latency=[0.5, 1.0, 2.0],
        prompts=["a", "b", "c"],
        prompt_tokens=[5, 6, 7],
        response_tokens=[1, 2, 3],
        time_to_first_token=[0.25, np.nan, 0.5],
        families=["x", "y", "x"],
        cached_tokens=[4, -1, 0],
    )
    write_dataset(data, tmp_path / "given")
    build(tmp_path / "given" / "requests.parquet", tmp_path)
    bundled = load_dataset(tmp_path / "tiny")
    for field in fields(RequestDataset):
        if field.init and field.name not in ("name", "embeddings", "slowdown"):
            np.testing.assert_array_equal(getattr(bundled, field.name), getattr(data, field.name))


def test_figures_tell_noise_cut_offs_and_failures(run_file, tmp_path):
    figures = build(run_file, tmp_path)
    assert (figures.requests, figures.failed, figures.repeated) == (31, 1, 2)
    assert figures.noise == pytest.approx(np.median([0.1 / 1.05, 0.4 / 2.2]))
    assert figures.cut_off == pytest.approx(1 / 31)
    assert figures.same_answer == 1
    assert figures.load == (1, 1, 1)
    assert np.isnan(figures.explained)  # too few requests to say
    assert "R²" not in (tmp_path / "tiny" / "README.md").read_text()


def test_the_card_says_how_it_was_measured(run_file, tmp_path):
    slowdown = {
        "batch_sizes": [1, 2],
        "step_time": [0.1, 0.15],
        "step_time_quartiles": [[0.1, 0.11], [0.14, 0.16]],
        "step_time_repeats": [[0.1, 0.1], [0.15, 0.15]],
        "context_length": 8,
        "steps": 4,
        "a": 0.05,
        "b": 0.05,
        "fit_error": 0.01,
        "slowdown": [1.0, 1.5],
    }
    run_file.with_suffix(".slowdown.json").write_text(json.dumps(slowdown))
    build(run_file, tmp_path)
    assert load_dataset(tmp_path / "tiny").slowdown.tolist() == [1.0, 1.5]
    card = (tmp_path / "tiny" / "README.md").read_text()
    for said in ("# tiny", "a processor", "31 (1 failed", "CC0", "Measured in a test.", "fixed"):
        assert said in card
    assert "| 2 | 150.00 | 140.00 - 160.00 | 1.50 | 1.50 |" in card
    assert str(tmp_path) not in card


def test_a_run_against_a_server(tmp_path):
    settings = {
        "backend": "endpoint",
        "model": "Tiny",
        "served_model": "tiny/model",
        "endpoint": "http://127.0.0.1:8000/v1/chat/completions",
        "max_new_tokens": 10,
        "temperature": 0,
    }
    path = tmp_path / "inference_data_Tiny.jsonl"
    with RunFile(path, settings, CONDITIONS) as run:
        run.append(row("one", 1.0))
        run.append({**row("silent", 0.5, tokens=0), "time_to_first_token": None})
    figures = build_dataset(path, tmp_path / "tiny", FixedVectors(), license="CC0")
    assert figures.first_token == 0.1
    card = (tmp_path / "tiny" / "README.md").read_text()
    for said in ("served as tiny/model", "http://127.0.0.1:8000", "true of the client"):
        assert said in card


def test_what_a_server_found_in_its_cache_gets_into_the_dataset(tmp_path):
    def said(found):
        details = {} if found is None else {"prompt_tokens_details": {"cached_tokens": found}}
        usage = {"prompt_tokens": 9, "completion_tokens": 1, **details}
        end = json.dumps({"choices": [], "usage": usage})
        return events(delta(content="a"), delta(finish_reason="stop"), end, "[DONE]")

    found = [0, 8, None]
    with (
        ChatServer([answer("1")] * 3 + [said(count) for count in found]) as server,
        EndpointBackend(server.url, "tiny", max_new_tokens=10) as backend,
    ):
        path = profile_backend(backend, ["one", "two", "three"], tmp_path, show_progress=False)
    assert load_dataset(path).cached_tokens.tolist() == [0, 8, -1]
    build(path, tmp_path)
    assert load_dataset(tmp_path / "tiny").cached_tokens.tolist() == [0, 8, -1]


def test_a_second_bundle_replaces_the_first(run_file, tmp_path):
    folder = tmp_path / "tiny"
    folder.mkdir()
    (folder / "slowdown.json").write_text("of another run")
    build(run_file, tmp_path)
    assert {file.name for file in folder.iterdir()} == {
        "README.md",
        "croissant.json",
        "embeddings.npz",
        "requests.parquet",
    }
    assert not list(tmp_path.glob(".tiny*"))


def test_an_interrupted_bundle_leaves_the_folder_as_it_was(run_file, tmp_path):
    class Interrupted(FixedVectors):
        def encode(self, prompts, on_progress=None):  # noqa: ARG002
            raise KeyboardInterrupt

    build(run_file, tmp_path)
    before = {file.name: file.read_bytes() for file in (tmp_path / "tiny").iterdir()}
    with pytest.raises(KeyboardInterrupt):
        build_dataset(run_file, tmp_path / "tiny", Interrupted(), license="CC0")
    assert {file.name: file.read_bytes() for file in (tmp_path / "tiny").iterdir()} == before
    assert not list(tmp_path.glob(".tiny*"))


REFERENCE = {
    "request_text": "Hi",
    "model_name": "Qwen2.5-3B",
    "response_text": "Hello",
    "device": "cuda",
    "inference_time": 1.5,
    "input_token_count": 3,
    "output_token_count": 2,
}


def test_the_reference_collectors_seven_keys_are_enough(tmp_path):
    path = tmp_path / "inference_data_Qwen2_5-3B.jsonl"
    rows = [REFERENCE, REFERENCE | {"request_text": "Ho"}, REFERENCE | {"inference_time": 1.6}]
    path.write_text("\n".join(map(json.dumps, rows)))
    figures = build(path, tmp_path)
    assert (figures.requests, figures.failed, figures.repeated) == (2, 0, 1)
    dataset = load_dataset(tmp_path / "tiny")
    assert dataset.prompts == ("Hi", "Ho")
    assert dataset.response_tokens.tolist() == [2, 2]
    card = (tmp_path / "tiny" / "README.md").read_text()
    for said in ("| Model | Qwen2.5-3B |", "| Hardware | cuda |", "without its metadata"):
        assert said in card
    assert "nan" not in card
    assert "None" not in card


def test_odd_extras_do_not_get_into_the_table(tmp_path):
    path = tmp_path / "odd.jsonl"
    odd = {"finish_reason": ["x"], "time_to_first_token": "fast", "load_average": 10**400, "x": {}}
    path.write_text("\n".join(json.dumps(row) for row in (REFERENCE | odd, REFERENCE)))
    build(path, tmp_path)
    table = pd.read_parquet(tmp_path / "tiny" / "requests.parquet")
    assert list(table) == [*REFERENCE, "repeated_inference_times"]


def test_an_error_that_says_nothing_is_an_answer(tmp_path):
    path = tmp_path / "vllm.jsonl"
    rows = [REFERENCE | {"error": "", "request_text": str(i)} for i in range(3)]
    path.write_text("\n".join(json.dumps(row) for row in rows))
    figures = build(path, tmp_path)
    assert (figures.requests, figures.failed) == (3, 0)


def test_malformed_rows_are_named_or_left_out(tmp_path):
    path = tmp_path / "bad.jsonl"
    path.write_text(
        "\n".join(json.dumps(r) for r in (REFERENCE, REFERENCE | {"inference_time": 0}))
    )
    with pytest.raises(UnreadableFileError, match=r"bad\.jsonl, line 2: field 'inference_time'"):
        build(path, tmp_path)
    with pytest.warns(UserWarning, match="left out 1 of 2"):
        build_dataset(path, tmp_path / "tiny", FixedVectors(), license="CC0", on_error="skip")
    assert len(load_dataset(tmp_path / "tiny")) == 1


def test_damaged_metadata_is_named(run_file, tmp_path):
    run_file.with_suffix(".meta.json").write_text("{}")
    with pytest.raises(UnreadableFileError, match=r"inference_data_Tiny\.meta\.json"):
        build(run_file, tmp_path)
    assert not (tmp_path / "tiny").exists()


def test_metadata_of_older_sessions_tell_what_they_know(run_file, tmp_path):
    path = run_file.with_suffix(".meta.json")
    path.write_text(json.dumps({"configuration": {"model": "Tiny"}, "sessions": [{}]}))
    build(run_file, tmp_path)
    card = (tmp_path / "tiny" / "README.md").read_text()
    assert "| Model | Tiny |" in card
    assert "None" not in card


def test_an_output_that_cannot_be_written_costs_no_embedding(run_file, tmp_path):
    class Untouched(FixedVectors):
        def encode(self, prompts, on_progress=None):  # noqa: ARG002
            raise AssertionError

    (tmp_path / "file").write_text("x")
    with pytest.raises(OSError, match="nothing can be written there"):
        build_dataset(run_file, tmp_path / "file" / "folder", Untouched(), license="CC0")


def test_a_run_without_answers_is_refused(tmp_path):
    path = tmp_path / "inference_data_Tiny.jsonl"
    with RunFile(path, CONFIGURATION, CONDITIONS) as run:
        run.append(row("broken", None, error="out of memory: x"))
    with pytest.raises(UnreadableFileError, match="holds no usable request"):
        build_dataset(path, tmp_path / "tiny", FixedVectors(), license="CC0")


@pytest.mark.parametrize(("noise", "low", "high"), [(0.0, 0.999, 1.0), (1.0, 0.3, 0.7)])
def test_explained_variance_of_a_known_relation(noise, low, high):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4000, 8))
    signal = x[:, 0]  # variance 1: R² is 1 / (1 + noise²)
    latency = np.exp(signal + noise * rng.normal(size=4000))
    assert low < explained_variance(RequestDataset.from_arrays(latency, x)) <= high


def test_embeddings_that_say_nothing_explain_nothing():
    rng = np.random.default_rng(0)
    dataset = RequestDataset.from_arrays(np.exp(rng.normal(size=1000)), rng.normal(size=(1000, 8)))
    assert abs(explained_variance(dataset)) < 0.1


def test_a_run_measured_on_an_h100(shared_dir, tmp_path):
    source = shared_dir / "data" / "h100"
    name = "profile_smollm2-135m_bf16"
    for suffix in (".jsonl", ".meta.json"):
        shutil.copy(source / f"{name}{suffix}", tmp_path)
    shutil.copy(source / "slowdown_smollm2-135m_f32.json", tmp_path / f"{name}.slowdown.json")
    figures = build(tmp_path / f"{name}.jsonl", tmp_path)
    assert figures.failed == 0
    assert figures.token_time == pytest.approx(0.022, rel=0.2)
    dataset = load_dataset(tmp_path / "tiny")
    assert len(dataset) == figures.requests
    assert dataset.slowdown[0] == 1
    assert "NVIDIA H100 80GB HBM3 (cuda:0)" in (tmp_path / "tiny" / "README.md").read_text()


def test_half_characters_of_answers_are_replaced_and_of_prompts_refused(run_file, tmp_path):
    with run_file.open("a") as file:
        file.write(json.dumps({**row("smile", 1.0), "response_text": "a \ud83d"}) + "\n")
    build_dataset(run_file, tmp_path / "tiny", FixedVectors(), license="CC0 \udcff")
    answers = pd.read_parquet(tmp_path / "tiny" / "requests.parquet")["response_text"]
    assert answers.iloc[-1] == "a \ufffd"
    with run_file.open("a") as file:
        file.write(json.dumps(row("\ud83d", 1.0)) + "\n")
    fault = r"Tiny\.jsonl, line 36: field 'request_text' holds half a character"
    with pytest.raises(UnreadableFileError, match=fault):
        build(run_file, tmp_path)
    with pytest.warns(UserWarning, match="left out 1 of 36 rows.*half a character"):
        figures = build_dataset(
            run_file, tmp_path / "tiny", FixedVectors(), license="CC0", on_error="skip"
        )
    assert figures.requests == 32
