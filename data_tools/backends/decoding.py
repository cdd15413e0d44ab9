"""Greedy decoding at batch size 1, with exact times.

The loop is written out instead of calling ``generate`` so that the first token's moment is known
exactly and nothing but the model's forward passes and an argmax lies between the clock's readings.
The tokens are those of ``generate(do_sample=False)``.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch

from data_tools.backends.models import LoadedModel


@dataclass(frozen=True)
class Generation:
    """One decoded answer and its times.

    Attributes:
        tokens: Generated ids; the stop token counts, since it costs a step like any other.
        inference_time: Prefill and decoding, s, on the host's clock with the device synchronised.
        time_to_first_token: Prefill up to the first token's arrival on the host, s.
        device_time: The same span between two CUDA events, s; None on a CPU.
        finish_reason: "eos", or "length" if the answer was cut off.
    """

    tokens: tuple[int, ...]
    inference_time: float
    time_to_first_token: float
    device_time: float | None
    finish_reason: str


class Stopwatch:
    """Wall clock that waits for the device, with CUDA events beside it where there is a GPU."""

    def __init__(self, device: torch.device) -> None:
        self._device = device if device.type == "cuda" else None
        if self._device is not None:
            torch.cuda.synchronize(self._device)
            self._started = self._record_event(self._device)
        self._start = time.perf_counter()

    def elapsed(self) -> float:
        """Returns the seconds since construction, once the device has finished its work."""
        if self._device is not None:
            torch.cuda.synchronize(self._device)
        return time.perf_counter() - self._start

    def device_elapsed(self) -> float | None:
        """Returns the seconds between CUDA events at construction and now; None on a CPU."""
        if self._device is None:
            return None
        now = self._record_event(self._device)
        now.synchronize()
        return float(self._started.elapsed_time(now)) / 1e3

    @staticmethod
    def _record_event(device: torch.device) -> torch.cuda.Event:
        """Returns an event that the device reaches after the work queued so far."""
        event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record(torch.cuda.current_stream(device))
        return event


@torch.inference_mode()
def greedy_decode(loaded: LoadedModel, prompt_ids: torch.Tensor, max_new_tokens: int) -> Generation:
    """Decodes greedily until a stop token or ``max_new_tokens``.

    Args:
        loaded: The model.
        prompt_ids: (1, length) int64 token ids on the model's device.
        max_new_tokens: Cap on the answer's length, >= 1.
    """
    from transformers import DynamicCache

    stop_tokens = loaded.stop_tokens
    cache = DynamicCache(config=loaded.model.config)
    tokens: list[int] = []
    time_to_first_token = 0.0
    current = prompt_ids
    watch = Stopwatch(loaded.device)
    while len(tokens) < max_new_tokens:
        logits = loaded.model(
            input_ids=current, past_key_values=cache, use_cache=True, logits_to_keep=1
        ).logits
        current = logits[:, -1].argmax(dim=-1, keepdim=True)
        tokens.append(int(current))
        if len(tokens) == 1:
            time_to_first_token = watch.elapsed()
        if tokens[-1] in stop_tokens:
            break
    device_time = watch.device_elapsed()
    return Generation(
        tokens=tuple(tokens),
        inference_time=watch.elapsed(),
        time_to_first_token=time_to_first_token,
        device_time=device_time,
        finish_reason="eos" if tokens[-1] in stop_tokens else "length",
    )
