"""Greedy decoding that the device limits: a cache of fixed size, and on a GPU a captured step.

`generate` launches hundreds of kernels a token from Python, which takes 20 to 35 ms whatever the
model: on a fast GPU it measures the processor that launches. Here one decoding step (forward pass,
largest logit, next position) works in place on tensors that stay where they are, is captured once
as a CUDA graph and then replayed with one launch a token. A captured step was preferred to
``torch.compile(mode="reduce-overhead")``: it computes with the same kernels as eager decoding, so
that tokens can be compared, needs no compiler on the machine, and is captured in a second.

What cannot be captured is said by `why_not`, and measured eagerly.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import torch
from transformers import StaticCache
from transformers.cache_utils import StaticLayer

from data_tools.backends.decoding import Generation, Stopwatch
from data_tools.backends.models import LoadedModel, is_out_of_memory, release_memory

if TYPE_CHECKING:
    from data_tools.backends.devices import Graph

SMALLEST: Final = 64  # tokens of a cache
WARM_UPS: Final = 3  # steps before a capture, as PyTorch asks for
MOST_GRAPHS: Final = 8  # graphs kept at a time


def why_not(loaded: LoadedModel) -> str | None:
    """Returns why a model cannot be decoded with a cache of fixed size; None if it can."""
    model = loaded.model
    if loaded.generation_settings:
        names = ", ".join(sorted(loaded.generation_settings))
        return f"its generation settings ({names}) need the host between steps"
    if not getattr(model, "_can_compile_fullgraph", False):
        return "transformers does not count its architecture among those of one graph"
    try:
        layers = StaticCache(config=loaded.text_config, max_cache_len=SMALLEST).layers
    except (TypeError, ValueError, AttributeError, NotImplementedError) as error:
        return f"it has no cache of fixed size ({error})"
    other = {type(layer).__name__ for layer in layers if type(layer) is not StaticLayer}
    if other or not layers:
        return f"part of its cache is kept by the host ({', '.join(sorted(other)) or 'no layer'})"
    return None


class FixedDecoder:
    """Decodes n sequences of one length, step by step, in tensors that stay where they are.

    Args:
        loaded: A model for which `why_not` is None.
        sequences: How many, n.
        capacity: Tokens that the cache holds for each.
        capture: Whether the step is captured as a CUDA graph; else it is run as it is.

    Attributes:
        token: int64 (n, 1), the tokens of the latest step.
        busy: Device time of each step since the prefill, s; empty where it is not captured.
    """

    def __init__(
        self, loaded: LoadedModel, sequences: int, capacity: int, *, capture: bool
    ) -> None:
        self._loaded = loaded
        self._model = loaded.model
        self.capacity = capacity
        self.token = torch.zeros((sequences, 1), dtype=torch.int64, device=loaded.device)
        self._position = torch.zeros((1, 1), dtype=torch.int64, device=loaded.device)
        self._cache = StaticCache(config=loaded.text_config, max_cache_len=capacity)
        names = inspect.signature(self._model.forward).parameters
        self._takes_positions = "position_ids" in names
        self._takes_last = "logits_to_keep" in names
        self._graph: Graph | None = None
        self._captures = capture

    @property
    def busy(self) -> list[float]:
        """Device time of each replayed step, s."""
        return [] if self._graph is None else self._graph.busy

    @torch.inference_mode()
    def prepare(self) -> None:
        """Allocates the cache and captures the step, so that neither falls into a measurement."""
        ids = torch.zeros((len(self.token), 2), dtype=torch.int64, device=self._loaded.device)
        self.clear()
        self.prefill(ids)
        if self._captures and self._graph is None:
            from data_tools.backends.devices import Graph

            self._graph = Graph(self._step, self._loaded.device, warm_ups=WARM_UPS)

    @torch.inference_mode()
    def clear(self) -> None:
        """Empties the cache, before another prefill."""
        self._cache.reset()
        if self._graph is not None:
            self._graph.forget()

    @torch.inference_mode()
    def prefill(self, prompts: torch.Tensor) -> None:
        """Reads the prompts (n, length) and leaves the first tokens in ``token``."""
        length = prompts.shape[1]
        positions = torch.arange(length, device=prompts.device)[None]
        self._forward(prompts, positions)
        self._position.fill_(length)

    @torch.inference_mode()
    def step(self) -> None:
        """Computes the next tokens."""
        if self._graph is None:
            self._step()
        else:
            self._graph.replay()

    def _step(self) -> None:
        self._forward(self.token, self._position)
        self._position.add_(1)

    def _forward(self, ids: torch.Tensor, positions: torch.Tensor) -> None:
        more: dict[str, Any] = {"position_ids": positions} if self._takes_positions else {}
        if self._takes_last:
            more["logits_to_keep"] = 1
        output = self._model(input_ids=ids, past_key_values=self._cache, use_cache=True, **more)
        self.token.copy_(output.logits[:, -1].argmax(-1, keepdim=True))


class FixedDecoding:
    """Answers and step times of one model by `FixedDecoder`, whose graphs are kept.

    Args:
        loaded: A model for which `why_not` is None.
        capture: Whether steps are captured.
    """

    mode = "graph"

    def __init__(self, loaded: LoadedModel, *, capture: bool) -> None:
        self._loaded = loaded
        self._capture = capture
        self._decoders: dict[tuple[int, int], FixedDecoder] = {}

    def decoder(self, sequences: int, tokens: int) -> FixedDecoder:
        """Returns a decoder, ready to measure, with room for so many tokens a sequence.

        Rooms are powers of two, so that few graphs serve all lengths.
        """
        room = max(SMALLEST, 1 << (tokens - 1).bit_length())
        if (sequences, room) not in self._decoders:
            while len(self._decoders) >= MOST_GRAPHS:
                self._decoders.pop(next(iter(self._decoders)))
            try:
                decoder = self._prepared(sequences, room)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error) or not self._decoders:
                    raise
                decoder = None
            if decoder is None:  # out here the error no longer holds what ran
                self._decoders.clear()
                release_memory(self._loaded.device)
                decoder = self._prepared(sequences, room)
            self._decoders[sequences, room] = decoder
        return self._decoders[sequences, room]

    def _prepared(self, sequences: int, room: int) -> FixedDecoder:
        decoder = FixedDecoder(self._loaded, sequences, room, capture=self._capture)
        decoder.prepare()
        return decoder

    def greedy_decode(self, prompt_ids: torch.Tensor, max_new_tokens: int) -> Generation:
        """Decodes greedily until a stop token or ``max_new_tokens``; as the eager one does."""
        decoder = self.decoder(1, prompt_ids.shape[1] + max_new_tokens)
        stop = self._loaded.stop_tokens
        decoder.clear()
        watch = Stopwatch(self._loaded.device)
        decoder.prefill(prompt_ids)
        tokens = [int(decoder.token)]
        first = watch.elapsed()
        while tokens[-1] not in stop and len(tokens) < max_new_tokens:
            decoder.step()
            tokens.append(int(decoder.token))
        device_time = watch.device_elapsed()
        return Generation(
            tokens=tuple(tokens),
            inference_time=watch.elapsed(),
            time_to_first_token=first,
            device_time=device_time,
            finish_reason="eos" if tokens[-1] in stop else "length",
        )

    def timed(self, prompts: torch.Tensor, steps: int) -> tuple[float, list[float]]:
        """Returns the time of the prefill of (n, length) and of each of so many steps, s."""
        decoder = self.decoder(len(prompts), prompts.shape[1] + steps + 1)
        decoder.clear()
        watch = Stopwatch(self._loaded.device)
        decoder.prefill(prompts)
        ends = [watch.elapsed()]
        for _ in range(steps):
            decoder.step()
            ends.append(watch.elapsed())
        return ends[0], [after - before for before, after in pairwise(ends)]

    def device_share(self, prompts: torch.Tensor, steps: int) -> float | None:
        """Returns the share of the steps' wall time in which the device worked; None unknown."""
        _, taken = self.timed(prompts, steps)
        busy = self.decoder(len(prompts), prompts.shape[1] + steps + 1).busy
        return min(1.0, sum(busy) / sum(taken)) if busy else None


def parted_by_rounding(
    loaded: LoadedModel, prompt_ids: torch.Tensor, one: Sequence[int], other: Sequence[int]
) -> bool:
    """Whether two greedy answers are equal, or part where two logits lie within rounding.

    Two ways to compute the same sums round differently. Where they part, the logits of the two
    tokens after the common beginning may differ by no more than some roundings of the number format
    at their size; everything after that point differs by right.

    Args:
        loaded: The model.
        prompt_ids: (1, length) int64.
        one: Tokens of one answer.
        other: Of the other.
    """
    same = 0
    for a, b in zip(one, other, strict=False):
        if a != b:
            break
        same += 1
    if same == min(len(one), len(other)):
        return len(one) == len(other)
    common = torch.tensor([list(one[:same])], dtype=torch.int64, device=prompt_ids.device)
    with torch.inference_mode():
        logits = loaded.model(input_ids=torch.cat([prompt_ids, common], dim=1)).logits[0, -1]
    gap = float((logits[one[same]] - logits[other[same]]).abs())
    rounding = torch.finfo(logits.dtype).eps * float(logits.abs().max())
    return gap <= ROUNDINGS * rounding


ROUNDINGS: Final = 8
