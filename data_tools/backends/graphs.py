"""Greedy decoding that the device limits: a cache of fixed size, and on a GPU captured graphs.

`generate` launches hundreds of kernels a token from Python, which takes 20 to 60 ms whatever the
model: on a fast GPU it measures the processor that launches. Here one decoding step (forward pass,
largest logit, next position) works in place on tensors that stay where they are, is captured once
as a CUDA graph and then replayed with one launch a token; so is the prefill of each length. The
step's layers are compiled before (see `fusing`); where that does not work they are captured as they
are.

What cannot be captured is said by `why_not`, and measured eagerly.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any, Final

import torch
from transformers import StaticCache
from transformers.cache_utils import StaticLayer

from data_tools.backends.decoding import Generation, Stopwatch
from data_tools.backends.fixed_decoder import FixedDecoder
from data_tools.backends.models import LoadedModel, is_out_of_memory, release_memory

SMALLEST: Final = 64  # tokens of a cache
MOST_DECODERS: Final = 8  # kept at a time, with their graphs


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


class FixedDecoding:
    """Answers and step times of one model by `FixedDecoder`, whose graphs are kept.

    Args:
        loaded: A model for which `why_not` is None.
        capture: Whether steps are captured.
        backend: Backend of `torch.compile` for the layers of a step; None leaves them as they are.

    Attributes:
        compiled: Whether the layers are compiled.
    """

    mode = "graph"

    def __init__(
        self,
        loaded: LoadedModel,
        *,
        capture: bool,
        backend: str | Callable[..., Any] | None = None,
    ) -> None:
        self.compiled = backend is not None
        self._loaded = loaded
        self._capture = capture
        self._backend = backend
        self._decoders: dict[tuple[int, int], FixedDecoder] = {}

    def decoder(self, sequences: int, tokens: int) -> FixedDecoder:
        """Returns a decoder, ready to measure, with room for so many tokens a sequence.

        Rooms are powers of two, so that few graphs serve all lengths.
        """
        room = max(SMALLEST, 1 << (tokens - 1).bit_length())
        if (sequences, room) not in self._decoders:
            while len(self._decoders) >= MOST_DECODERS:
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
        decoder = FixedDecoder(
            self._loaded, sequences, room, capture=self._capture, backend=self._backend
        )
        decoder.prepare()
        return decoder

    def greedy_decode(self, prompt_ids: torch.Tensor, max_new_tokens: int) -> Generation:
        """Decodes greedily until a stop token or ``max_new_tokens``; as the eager one does."""
        decoder = self.decoder(1, prompt_ids.shape[1] + max_new_tokens)
        stop = self._loaded.stop_tokens
        decoder.prepare_prefill(prompt_ids)
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
        decoder.prepare_prefill(prompts)
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
