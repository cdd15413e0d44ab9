"""How a model decodes is chosen by what works, and said; a stand-in plays the GPU."""

from collections.abc import Callable
from dataclasses import replace
from typing import ClassVar

import pytest
import torch

from data_tools.backends import devices, fixed_decoder, graphs, rounding
from data_tools.backends.decode_modes import EagerDecoding, choose_decoding, fault_of, say_why
from data_tools.backends.decoding import Generation, greedy_decode
from data_tools.backends.graphs import FixedDecoding, why_not
from data_tools.backends.limits import copy_bandwidth, measure_limits, weight_bytes
from data_tools.backends.local import LocalBackend
from data_tools.backends.models import LoadedModel, load_model
from data_tools.backends.rounding import parted_by_rounding
from data_tools.machine import Limits

PROMPT = torch.tensor([[5, 6, 7]])


@pytest.fixture(scope="module")
def loaded(tiny_model) -> LoadedModel:
    return load_model(str(tiny_model), device="cpu", dtype="float32")


class Replayed:
    """In place of a CUDA graph: runs the step, and the device takes half of the time."""

    captures = 0
    pools: ClassVar[list[object]] = []
    pool = "a pool"

    def __init__(
        self,
        function: Callable[[], None],
        device: torch.device,
        *,
        warm_ups: int,
        pool: object = None,
    ) -> None:
        del device
        Replayed.pools.append(pool)
        for _ in range(warm_ups):
            function()
        self._function = function
        self.busy: list[float] = []
        Replayed.captures += 1

    def replay(self) -> None:
        self._function()
        self.busy.append(1e-4)

    def forget(self) -> None:
        self.busy.clear()


@pytest.fixture
def captured(monkeypatch: pytest.MonkeyPatch) -> type[Replayed]:
    monkeypatch.setattr(devices, "Graph", Replayed)
    Replayed.captures = 0
    Replayed.pools.clear()
    return Replayed


@pytest.fixture
def on_gpu(loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> LoadedModel:
    """A model that says that it is on a GPU; all else stays on the CPU."""

    class Elsewhere:
        type = "cuda"

    monkeypatch.setattr(FixedDecoding, "greedy_decode", lambda *_: ANSWER)
    monkeypatch.setattr(EagerDecoding, "greedy_decode", lambda *_: ANSWER)
    monkeypatch.setattr(torch.Tensor, "to", lambda tensor, *_: tensor)
    return replace(loaded, device=Elsewhere())


ANSWER = Generation((3, 4), 1.0, 0.5, None, "length")


def test_eager_on_a_cpu(loaded: LoadedModel) -> None:
    for mode in ("auto", "eager"):
        decoding, reason = choose_decoding(loaded, mode)
        assert (decoding.mode, reason) == ("eager", None)
    decoding, reason = choose_decoding(loaded, "graph")
    assert (decoding.mode, reason) == ("eager", "graphs need a CUDA device, and it is on cpu")
    with pytest.raises(ValueError, match="decode='fast'"):
        choose_decoding(loaded, "fast")


def test_a_backend_says_why_it_decodes_eagerly(loaded: LoadedModel) -> None:
    with pytest.warns(UserWarning, match="tiny is decoded eagerly: graphs need a CUDA device"):
        backend = LocalBackend("tiny", loaded, max_new_tokens=4, decode="graph")
    assert "decode" not in backend.configuration


@pytest.mark.parametrize("mode", ["auto", "graph"])
def test_graphs_on_a_gpu(on_gpu: LoadedModel, mode: str) -> None:
    decoding, reason = choose_decoding(on_gpu, mode)
    assert (decoding.mode, reason) == ("graph", None)


@pytest.mark.parametrize("mode", ["auto", "graph"])
def test_what_cannot_be_captured_is_decoded_eagerly(
    on_gpu: LoadedModel, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> Generation:
        raise RuntimeError("operation not permitted when stream is capturing\nmore")

    monkeypatch.setattr(FixedDecoding, "greedy_decode", fails)
    decoding, reason = choose_decoding(on_gpu, mode)
    assert decoding.mode == "eager"
    assert reason == (
        "its step cannot be captured (operation not permitted when stream is capturing)"
    )


def test_layers_that_cannot_be_compiled_are_captured_as_they_are(
    on_gpu: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(decoding: FixedDecoding, *_: object) -> Generation:
        if decoding.compiled:
            raise RuntimeError("Cannot find a working triton installation\nmore")
        return ANSWER

    monkeypatch.setattr(FixedDecoding, "greedy_decode", fails)
    decoding, reason = choose_decoding(on_gpu, "auto")
    assert (decoding.mode, decoding.compiled) == ("graph", False)
    with pytest.warns(UserWarning, match="tiny is decoded in graphs of layers as they are: comp"):
        say_why("tiny", decoding, reason)
    assert "(Cannot find a working triton installation)" in str(reason)


def test_settings_that_shape_answers_need_the_host(
    loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert why_not(loaded) is None
    monkeypatch.setattr(loaded.model.generation_config, "repetition_penalty", 1.2)
    assert why_not(loaded) == (
        "its generation settings (repetition_penalty) need the host between steps"
    )


def test_other_tokens_are_a_fault(loaded: LoadedModel) -> None:
    eager = EagerDecoding(loaded)
    fixed = FixedDecoding(loaded, capture=False)
    assert fault_of(loaded, eager, fixed) is None

    class Faulty(FixedDecoding):
        def greedy_decode(self, prompt_ids: torch.Tensor, max_new_tokens: int) -> Generation:
            answer = super().greedy_decode(prompt_ids, max_new_tokens)
            wrong = (answer.tokens[0] + 1) % 14
            return replace(answer, tokens=(wrong, *answer.tokens[1:]))

    assert "differ" in str(fault_of(loaded, eager, Faulty(loaded, capture=False)))


def test_rounding_is_told_from_a_fault(loaded: LoadedModel, monkeypatch) -> None:
    tokens = greedy_decode(loaded, PROMPT, 6).tokens
    assert parted_by_rounding(loaded, PROMPT, tokens, tokens)
    other = (*tokens[:2], (tokens[2] + 1) % 14, *tokens[3:])
    assert not parted_by_rounding(loaded, PROMPT, tokens, other)
    assert not parted_by_rounding(loaded, PROMPT, tokens, tokens[:-1])
    # As if the two logits were within rounding.
    monkeypatch.setattr(rounding, "ROUNDINGS", 1e9)
    assert parted_by_rounding(loaded, PROMPT, tokens, other)


def test_a_step_is_captured_once_and_replayed(
    loaded: LoadedModel, captured: type[Replayed]
) -> None:
    decoding = FixedDecoding(loaded, capture=True)
    expected = greedy_decode(loaded, PROMPT, 9).tokens
    for _ in range(3):
        assert decoding.greedy_decode(PROMPT, 9).tokens == expected
    assert captured.captures == 2  # the step and the prefill
    assert (
        decoding.greedy_decode(PROMPT[:, :2], 9).tokens
        == greedy_decode(loaded, PROMPT[:, :2], 9).tokens
    )
    assert captured.pools == [None, "a pool", "a pool"]  # which a decoder's graphs share
    prompts = torch.randint(14, (3, 5), generator=torch.Generator().manual_seed(1))
    prefill, steps = decoding.timed(prompts, 4)
    assert prefill > 0
    assert len(steps) == 4
    assert captured.captures == 5  # another number of sequences
    share = decoding.device_share(prompts, 4)
    assert share is not None
    assert 0 < share <= 1


def test_batches_decode_each_sequence_as_alone(loaded: LoadedModel) -> None:
    prompts = torch.tensor([[5, 6, 7], [8, 9, 3], [4, 4, 4]])
    decoder = FixedDecoding(loaded, capture=False).decoder(3, 16)
    decoder.clear()
    decoder.prefill(prompts)
    tokens = [decoder.token.flatten().tolist()]
    for _ in range(5):
        decoder.step()
        tokens.append(decoder.token.flatten().tolist())
    for row, answer in zip(prompts, zip(*tokens, strict=True), strict=True):
        alone = loaded.model.generate(
            row[None], max_new_tokens=6, do_sample=False, eos_token_id=None,
            attention_mask=torch.ones(1, 3),
        )  # fmt: skip
        assert list(answer) == alone[0, 3:].tolist()


def test_prefills_make_room_for_others(
    loaded: LoadedModel, captured: type[Replayed], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fixed_decoder, "MOST_PREFILLS", 2)
    decoding = FixedDecoding(loaded, capture=True)
    prompts = [torch.full((1, length), 5) for length in (1, 2, 3, 1, 1)]
    for prompt in prompts:
        expected = greedy_decode(loaded, prompt, 4).tokens
        assert decoding.greedy_decode(prompt, 4).tokens == expected
    assert captured.captures == 1 + 4


def test_graphs_make_room_for_others(
    loaded: LoadedModel, captured: type[Replayed], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graphs, "MOST_DECODERS", 2)
    decoding = FixedDecoding(loaded, capture=True)
    for n in (1, 2, 3, 1):
        decoding.decoder(n, 8)
    assert captured.captures == 4
    real = decoding._prepared
    tries: list[int] = []

    def full(sequences: int, room: int) -> object:
        tries.append(sequences)
        if len(tries) == 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(sequences, room)

    monkeypatch.setattr(decoding, "_prepared", full)
    assert decoding.decoder(4, 8).token.shape == (4, 1)
    assert tries == [4, 4]
    assert len(decoding._decoders) == 1


def test_limits_of_a_cpu(loaded: LoadedModel) -> None:
    limits = measure_limits(loaded, EagerDecoding(loaded))
    assert limits.device_share is None
    assert limits.floor == pytest.approx(limits.weight_bytes / limits.bandwidth)
    assert limits.step > limits.floor  # thousands of weights only
    assert "reading the weights takes" in limits.verdict()


def test_the_bandwidth_is_that_of_memory() -> None:
    assert 1e8 < copy_bandwidth(torch.device("cpu")) < 1e13


def test_an_embedding_of_its_own_is_not_read_by_a_step(loaded: LoadedModel) -> None:
    weights = sum(weights.numel() for weights in loaded.model.parameters())
    assert weight_bytes(loaded) == 4 * (weights - 14 * 16)
    half = replace(loaded, model=loaded.model.to(torch.bfloat16))
    assert weight_bytes(half) == 2 * (weights - 14 * 16)
    loaded.model.to(torch.float32)


def test_the_verdict_names_what_limits() -> None:
    limits = Limits(step=0.022, floor=0.0001, bandwidth=3e12, weight_bytes=270, device_share=0.08)
    assert limits.verdict().startswith("host-bound: the GPU worked 8% of the time")
    quick = replace(limits, device_share=0.93)
    assert quick.verdict().startswith("limited by the GPU: the GPU worked 93% of the time")
