"""Compiled layers give the tokens of the layers as they are, and are compiled once."""

from contextlib import suppress
from itertools import pairwise

import pytest
import torch
from torch._dynamo.testing import CompileCounter
from transformers import AutoModelForCausalLM, GPT2Config, Qwen2Config
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from data_tools.backends.fusing import fixed_cache, fused_layers
from data_tools.backends.graphs import FixedDecoding
from data_tools.backends.models import LoadedModel, load_model

PROMPTS = torch.tensor([[5, 6, 7, 2], [8, 9, 3, 1]])


def deep(layers: int, hidden_size: int = 16) -> torch.nn.Module:
    torch.manual_seed(0)
    shape = Qwen2Config(
        vocab_size=14, hidden_size=hidden_size, intermediate_size=32, num_hidden_layers=layers,
        num_attention_heads=4, num_key_value_heads=2, initializer_range=0.5,
    )  # fmt: skip
    return AutoModelForCausalLM.from_config(shape).eval()


@pytest.fixture(scope="module")
def loaded(tiny_model) -> LoadedModel:
    return load_model(str(tiny_model), device="cpu", dtype="float32")


def answers(loaded: LoadedModel, backend: object, sequences: int, room: int) -> list[list[int]]:
    decoding = FixedDecoding(loaded, capture=False, backend=backend)
    decoder = decoding.decoder(sequences, room)
    decoder.clear()
    decoder.prefill(PROMPTS[:sequences])
    tokens = [decoder.token.flatten().tolist()]
    for _ in range(12):
        decoder.step()
        tokens.append(decoder.token.flatten().tolist())
    return tokens


def test_all_layers_share_their_code(loaded: LoadedModel) -> None:
    torch._dynamo.reset()
    model = deep(12)  # more than PyTorch would compile one function for
    counter = CompileCounter()
    other = LoadedModel(model, loaded.tokenizer, "deep", "none", torch.device("cpu"))
    for sequences, room in ((1, 60), (1, 100), (1, 200), (2, 60)):
        expected = answers(other, None, sequences, room)
        assert answers(other, counter, sequences, room) == expected
        assert len({tuple(row) for row in expected}) > 3  # no constant answer
    # Parts of a layer around its attention, for one sequence and for several, with caches of
    # a first length and of any.
    assert counter.frame_count <= 12


def test_layers_may_take_the_cache_by_its_place(loaded: LoadedModel) -> None:
    """As those of GPT-2 do; the others take it by a name."""
    torch._dynamo.reset()
    torch.manual_seed(0)
    shape = GPT2Config(vocab_size=14, n_embd=16, n_layer=3, n_head=2, initializer_range=0.5)
    model = AutoModelForCausalLM.from_config(shape).eval()
    other = LoadedModel(model, loaded.tokenizer, "gpt2", "none", torch.device("cpu"))
    counter = CompileCounter()
    assert answers(other, counter, 2, 60) == answers(other, None, 2, 60)
    assert counter.frame_count > 0


def test_one_model_after_the_other_is_compiled(loaded: LoadedModel) -> None:
    torch._dynamo.reset()
    counter = CompileCounter()
    compiled = []
    with torch._dynamo.config.patch(recompile_limit=2):  # beyond which PyTorch gives up
        for width in range(1, 5):
            model = deep(1, hidden_size=16 * width)
            one = LoadedModel(model, loaded.tokenizer, "deep", "none", torch.device("cpu"))
            answers(one, counter, 1, 60)
            compiled.append(counter.frame_count)
    assert all(after > before for before, after in pairwise(compiled))


def test_the_model_is_left_as_it_was(loaded: LoadedModel) -> None:
    name = loaded.model.config._attn_implementation
    attention = ALL_ATTENTION_FUNCTIONS.get(name)
    position = torch.zeros(1, dtype=torch.int64)
    cache = fixed_cache(loaded.text_config, 64, position)
    with suppress(KeyboardInterrupt), fused_layers(loaded.model, cache, "eager", 1):
        assert any("forward" in vars(module) for module in loaded.model.modules())
        raise KeyboardInterrupt
    assert not any("forward" in vars(module) for module in loaded.model.modules())
    assert ALL_ATTENTION_FUNCTIONS.get(name) is attention


def test_a_cache_of_another_model(loaded: LoadedModel) -> None:
    cache = fixed_cache(deep(5).config, 64, torch.zeros(1, dtype=torch.int64))
    with (
        pytest.raises(RuntimeError, match="decoder layers, its cache 5"),
        fused_layers(loaded.model, cache, "eager", 1),
    ):
        pass
