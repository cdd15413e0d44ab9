import pytest
import torch

from data_tools.backends.decoding import greedy_decode
from data_tools.backends.local import LocalBackend
from data_tools.backends.models import load_model

PROMPT = "list three"
NO_TOKEN = 10_000  # outside the vocabulary: answers never end


@pytest.fixture(scope="module")
def loaded(tiny_model):
    return load_model(str(tiny_model), device="cpu", dtype="float32")


@pytest.fixture
def backend(loaded):
    return LocalBackend("Tiny", loaded, max_new_tokens=8)


def ids(*tokens):
    return torch.tensor([tokens])


@pytest.mark.parametrize("prompt", [(2, 3, 4), (5,), (9, 8, 7, 6, 5, 4)])
def test_tokens_are_those_of_generate(loaded, prompt):
    expected = loaded.model.generate(
        ids(*prompt), attention_mask=torch.ones(1, len(prompt)), max_new_tokens=12, do_sample=False
    )
    assert greedy_decode(loaded, ids(*prompt), 12).tokens == tuple(
        expected[0, len(prompt) :].tolist()
    )


def test_an_answer_ends_at_the_stop_token_and_counts_it(loaded, monkeypatch):
    monkeypatch.setattr(loaded.model.generation_config, "eos_token_id", NO_TOKEN)
    free = greedy_decode(loaded, ids(5, 6), 10)
    assert (len(free.tokens), free.finish_reason) == (10, "length")
    stop = free.tokens[3]
    monkeypatch.setattr(loaded.model.generation_config, "eos_token_id", [NO_TOKEN, stop])
    stopped = greedy_decode(loaded, ids(5, 6), 10)
    assert stopped.finish_reason == "eos"
    assert stopped.tokens == free.tokens[: free.tokens.index(stop) + 1]


def test_times_are_ordered_and_cpu_has_no_device_time(loaded):
    generation = greedy_decode(loaded, ids(5, 6), 10)
    assert 0 < generation.time_to_first_token <= generation.inference_time
    assert generation.device_time is None


def test_measurement_counts_tokens_and_decodes_the_answer(backend):
    measured = backend.measure(PROMPT)
    assert measured.error is None
    assert measured.input_token_count == 3  # two words and the template's marker
    assert measured.finish_reason in ("eos", "length")
    words = measured.response_text.split()
    assert len(words) <= measured.output_token_count <= 8


def test_a_prompt_that_the_template_refuses_is_an_error_row(loaded, monkeypatch):
    refusing = "{% if 'sea' in messages[0]['content'] %}{{ raise_exception('no sea') }}{% endif %}a"
    monkeypatch.setattr(loaded.tokenizer, "chat_template", refusing)
    backend = LocalBackend("Tiny", loaded, max_new_tokens=2)
    assert backend.measure("the sea").error == "chat template: no sea"
    assert backend.measure("the cat").error is None


def test_a_template_that_always_fails_stops_no_run(loaded, monkeypatch):
    monkeypatch.setattr(loaded.tokenizer, "chat_template", "{{ messages[5]['content'].x }}")
    backend = LocalBackend("Tiny", loaded, max_new_tokens=2)
    backend.warm_up()
    assert backend.measure("the sea").error.startswith("chat template: ")


def test_without_chat_the_prompt_is_taken_as_it_is(loaded):
    plain = LocalBackend("Tiny", loaded, max_new_tokens=2, chat=False)
    assert plain.measure(PROMPT).input_token_count == 2
    assert plain.configuration["chat_template"] is False


def test_a_prompt_without_tokens_is_an_error_row(loaded):
    measured = LocalBackend("Tiny", loaded, max_new_tokens=2, chat=False).measure("")
    assert measured.error == "tokenisation: the prompt has no tokens"
    assert measured.inference_time is None


def test_answers_stop_where_the_context_ends(loaded, monkeypatch):
    backend = LocalBackend("Tiny", loaded, max_new_tokens=10, chat=False)
    monkeypatch.setattr(loaded.model.generation_config, "eos_token_id", NO_TOKEN)
    assert backend.measure("cat " * 60).output_token_count == 4
    full = backend.measure("cat " * 64)
    assert full.error == "too long: 64 tokens fill the context of 64"
    assert full.input_token_count == 64


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        MemoryError("no memory"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate(handle)"),
    ],
)
def test_running_out_of_memory_is_an_error_row(backend, monkeypatch, error):
    def fail(*_args):
        raise error

    monkeypatch.setattr("data_tools.backends.decode_modes.greedy_decode", fail)
    measured = backend.measure(PROMPT)
    assert measured.error == f"out of memory: {error}"
    assert measured.input_token_count == 3


def test_other_failures_are_not_hidden(backend, monkeypatch):
    def fail(*_args):
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr("data_tools.backends.decode_modes.greedy_decode", fail)
    with pytest.raises(RuntimeError, match="shapes"):
        backend.measure(PROMPT)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU: torch.cuda is not available")
def test_on_a_gpu_both_clocks_agree(tiny_model):
    loaded = load_model(str(tiny_model), device="cuda", dtype="float32")
    backend = LocalBackend("Tiny", loaded, max_new_tokens=20)
    backend.warm_up()
    measured = backend.measure(PROMPT)
    assert measured.device_time == pytest.approx(measured.inference_time, rel=0.2, abs=2e-3)


def test_an_unknown_device_is_named(tiny_model):
    with pytest.raises(ValueError, match="device='abacus': must be"):
        load_model(str(tiny_model), device="abacus")


def test_a_model_that_does_not_fit_is_named(tiny_model, monkeypatch):
    def too_large(*_args):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("transformers.PreTrainedModel.to", too_large)
    with pytest.raises(MemoryError, match="does not fit the memory of cpu"):
        load_model(str(tiny_model), device="cpu")
