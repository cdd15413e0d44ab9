"""Greedy answers of tiny random models of many architectures: those of transformers' `generate`."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from transformers import CONFIG_MAPPING, AutoModelForCausalLM

from data_tools.backends.base import ModelUnavailableError
from data_tools.backends.decoding import greedy_decode
from data_tools.backends.graphs import FixedDecoding, why_not
from data_tools.backends.models import LoadedModel, load_model
from data_tools.backends.rounding import parted_by_rounding
from data_tools.profiling.slowdown import measure_slowdown

# What configurations call their sizes; each takes those that it has.
SIZES: dict[str, Any] = {
    **dict.fromkeys(("hidden_size", "d_model", "n_embd", "word_embed_proj_dim"), 32),
    **dict.fromkeys(("num_hidden_layers", "n_layer", "n_layers", "num_layers"), 2),
    **dict.fromkeys(("num_attention_heads", "n_head", "n_heads"), 4),
    **dict.fromkeys(("intermediate_size", "ffn_dim", "n_inner"), 48),
    **dict.fromkeys(("max_position_embeddings", "n_positions"), 128),
    **dict.fromkeys(("num_experts", "num_local_experts"), 4),
    "vocab_size": 60,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "d_inner": 64,
    "state_size": 8,
    "time_step_rank": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 16,
    "sliding_window": 8,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
ATTENTION = (
    *("llama", "gpt2", "gpt_neox", "gpt_bigcode", "opt", "bloom", "mpt", "openai-gpt", "xglm"),
    *("phi", "phi3", "qwen2", "qwen3", "olmo2", "cohere", "stablelm", "starcoder2", "biogpt"),
    *("ctrl", "gemma", "granite", "smollm3", "persimmon", "glm4", "diffllama"),
)
EXPERTS = ("mixtral", "qwen2_moe", "olmoe", "gpt_oss")
SLIDING = ("mistral", "gemma2", "gemma3_text", "cohere2", "exaone4", "llama4_text")
STATE_SPACE = ("mamba", "mamba2", "falcon_mamba", "rwkv")
HYBRID = ("jamba", "bamba", "lfm2", "olmo_hybrid", "nemotron_h", "minimax")
ARCHITECTURES = (*ATTENTION, *EXPERTS, *SLIDING, *STATE_SPACE, *HYBRID)
SPECIAL: dict[str, dict[str, Any]] = {
    "mamba2": {"num_heads": 8, "head_dim": 8, "n_groups": 1, "expand": 2, "chunk_size": 8},
    "jamba": {"mamba_d_state": 8, "mamba_dt_rank": 4, "use_mamba_kernels": False,
              "num_hidden_layers": 4, "attn_layer_period": 2, "attn_layer_offset": 1},
    "bamba": {"mamba_n_heads": 8, "mamba_d_head": 8, "mamba_n_groups": 1, "mamba_d_state": 8,
              "mamba_chunk_size": 8, "num_hidden_layers": 3, "attn_layer_indices": [1]},
}  # fmt: skip
SETTINGS = {"repetition_penalty": 1.4, "no_repeat_ngram_size": 2, "suppress_tokens": [5, 6, 7]}
PROMPT = torch.arange(5, 17)[None]


def make_model(directory: Path, architecture: str, tokenizer: Path, **changes: Any) -> Path:
    """Saves a random model of a few thousand weights, with a tokenizer."""
    kind = CONFIG_MAPPING[architecture]
    known = kind()
    sizes = {name: value for name, value in SIZES.items() if hasattr(known, name)}
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(
        kind(**sizes | SPECIAL.get(architecture, {}) | changes)
    )
    for weights in model.parameters():  # larger ones: answers that depend on the prompt
        weights.data.mul_(3.0)
    model.save_pretrained(directory)
    transformers.AutoTokenizer.from_pretrained(tokenizer).save_pretrained(directory)
    return directory


@pytest.fixture(scope="module", params=ARCHITECTURES)
def directory(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, tiny_model: Path
) -> Path:
    return make_model(tmp_path_factory.mktemp("random"), request.param, tiny_model)


@pytest.fixture(scope="module")
def loaded(directory: Path) -> LoadedModel:
    return load_model(str(directory), device="cpu")


@pytest.mark.parametrize("settings", [{}, SETTINGS], ids=["plain", "settings"])
def test_tokens_are_those_of_generate(
    directory: Path, loaded: LoadedModel, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    reference = AutoModelForCausalLM.from_pretrained(directory)
    for name, value in settings.items():
        monkeypatch.setattr(loaded.model.generation_config, name, value)
    expected = reference.generate(PROMPT, do_sample=False, max_new_tokens=8, **settings)
    answer = greedy_decode(loaded, PROMPT, 8)
    assert list(answer.tokens) == expected[0, PROMPT.shape[1] :].tolist()
    assert answer.finish_reason == ("eos" if answer.tokens[-1] == 2 else "length")
    assert 0 < answer.time_to_first_token <= answer.inference_time


# Everything that keeps all it has read, in tensors alone.
FIXED = ("llama", "qwen2", "qwen3", "gpt_neox", "opt", "phi", "olmo2", "granite", "smollm3")


def test_a_cache_of_fixed_size_gives_the_same_tokens(loaded: LoadedModel) -> None:
    """In float32, step by step, whatever was decoded before in the same tensors."""
    reason = why_not(loaded)
    if reason is not None:
        assert loaded.model.config.model_type not in FIXED, reason
        return
    fixed = FixedDecoding(loaded, capture=False)
    for prompt, cap in ((PROMPT, 8), (PROMPT[:, 3:], 12), (PROMPT, 8)):
        eager = greedy_decode(loaded, prompt, cap)
        answer = fixed.greedy_decode(prompt, cap)
        assert parted_by_rounding(loaded, prompt, eager.tokens, answer.tokens)
        assert answer.tokens == eager.tokens
        assert answer.finish_reason == eager.finish_reason
        assert 0 < answer.time_to_first_token <= answer.inference_time


def test_each_token_follows_from_all_before_it(loaded: LoadedModel) -> None:
    """As whole forward passes without any cache say."""
    sequence = PROMPT
    tokens = greedy_decode(loaded, PROMPT, 6).tokens
    for token in tokens:
        with torch.inference_mode():
            best = int(loaded.model(input_ids=sequence).logits[0, -1].argmax())
        assert token == best
        sequence = torch.cat([sequence, torch.tensor([[best]])], dim=1)


@pytest.mark.parametrize("architecture", ["t5", "bart", "whisper", "vit"])
def test_other_kinds_of_model_are_refused_by_name(architecture: str, tmp_path: Path) -> None:
    CONFIG_MAPPING[architecture]().save_pretrained(tmp_path)
    with pytest.raises(ModelUnavailableError, match=f"{tmp_path}.*{architecture!r} is no causal"):
        load_model(str(tmp_path), device="cpu")


@pytest.mark.parametrize("architecture", ["bert", "roberta", "electra"])
def test_models_that_read_ahead_are_refused(
    architecture: str, tmp_path: Path, tiny_model: Path
) -> None:
    make_model(tmp_path / "encoder", architecture, tiny_model)
    with pytest.raises(ModelUnavailableError, match=r"encoder.*reads what comes after a token"):
        load_model(str(tmp_path / "encoder"), device="cpu")
    make_model(tmp_path / "decoder", architecture, tiny_model, is_decoder=True)
    load_model(str(tmp_path / "decoder"), device="cpu")


def test_a_model_without_its_head_is_refused(tmp_path: Path, tiny_model: Path) -> None:
    path = make_model(tmp_path, "llama", tiny_model)
    transformers.AutoModel.from_pretrained(path).save_pretrained(path)
    with pytest.raises(ModelUnavailableError, match=r"lacks weights .* lm_head"):
        load_model(str(path), device="cpu")


def test_a_damaged_model_is_refused_by_name(tmp_path: Path, tiny_model: Path) -> None:
    path = make_model(tmp_path / "[model]", "llama", tiny_model)
    weights = path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(ModelUnavailableError, match=r"model '.*\[model\]' cannot be loaded"):
        load_model(str(path), device="cpu")
    tokenizer = path / "tokenizer.json"
    whole = tokenizer.read_text()
    tokenizer.write_text(whole[:200])
    with pytest.raises(ModelUnavailableError, match="cannot be loaded"):
        load_model(str(path), device="cpu")
    tokenizer.write_text(whole)
    (path / "config.json").write_text('{"model_type": "no-such-type"}')
    with pytest.raises(ModelUnavailableError, match="no-such-type"):
        load_model(str(path), device="cpu")


@pytest.mark.parametrize("architecture", ["llama", "mamba", "jamba"])
def test_steps_of_a_batch_are_timed_with_any_cache(
    architecture: str, tmp_path: Path, tiny_model: Path
) -> None:
    loaded = load_model(str(make_model(tmp_path, architecture, tiny_model)), device="cpu")
    curve = measure_slowdown(
        loaded, (1, 2), context_length=4, steps=2, repeats=1, show_progress=False
    )
    assert curve.step_times.shape == (1, 2)
    assert (curve.step_times > 0).all()


@pytest.mark.parametrize(
    ("setting", "reason"),
    [
        ({"repetition_penalty": -1.0}, "penalty"),
        ({"no_repeat_ngram_size": "2"}, "not supported between"),
        ({"penalty_alpha": 0.6, "top_k": 4}, "Contrastive Search"),
    ],
)
def test_settings_that_nothing_generates_with_are_refused_by_name(
    setting: dict[str, Any], reason: str, tmp_path: Path, tiny_model: Path
) -> None:
    path = make_model(tmp_path / "odd", "llama", tiny_model)
    stated = json.loads((path / "generation_config.json").read_text())
    (path / "generation_config.json").write_text(json.dumps(stated | setting))
    loaded = load_model(str(path), device="cpu")
    with pytest.raises(ModelUnavailableError, match=f"model 'odd' cannot generate .*{reason}"):
        greedy_decode(loaded, PROMPT, 4)


def test_a_token_that_the_model_does_not_know_is_a_fault_of_the_model(
    tmp_path: Path, tiny_model: Path
) -> None:
    loaded = load_model(str(make_model(tmp_path / "odd", "llama", tiny_model)), device="cpu")
    with pytest.raises(ModelUnavailableError, match=r"model 'odd' cannot generate"):
        greedy_decode(loaded, PROMPT + 60, 4)


def test_settings_that_shape_answers_are_part_of_the_configuration(
    tmp_path: Path, tiny_model: Path
) -> None:
    path = make_model(tmp_path, "llama", tiny_model)
    assert load_model(str(path), device="cpu").generation_settings is None
    stated = json.loads((path / "generation_config.json").read_text())
    sampling = {"do_sample": True, "temperature": 0.6, "top_p": 0.9, "max_length": 50}
    (path / "generation_config.json").write_text(json.dumps(stated | sampling | SETTINGS))
    assert load_model(str(path), device="cpu").generation_settings == SETTINGS
