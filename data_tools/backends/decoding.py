"""Greedy decoding by transformers' own ``generate``, with the moments of its tokens.

``generate`` knows every architecture's cache and every setting that models ship (repetition
penalties, suppressed tokens), which a loop of our own would have to follow. Beside a bare loop of
forward passes and argmax its bookkeeping costs 0.12 ms a token, where a step of a 135M-parameter
model takes 56 ms (one core of a two-core machine; medians of 31 and of 9 runs, taken in turns).
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from transformers import StoppingCriteria, StoppingCriteriaList

from data_tools.backends.models import LoadedModel, naming_the_model


@dataclass(frozen=True)
class Generation:
    """One decoded answer and its times.

    Attributes:
        tokens: Generated ids; the stop token counts, since it costs a step like any other.
        inference_time: From the start of the first forward pass to the last token, s, on the
            host's clock with the device synchronised.
        time_to_first_token: The part of it up to the first token, s.
        device_time: ``inference_time`` between two CUDA events, s; None on a CPU.
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


class _Clock(StoppingCriteria):  # type: ignore[misc] # transformers is untyped
    """Notes when steps end; never stops anything.

    Args:
        device: What to wait for.
        waits: How many steps to wait for.

    Attributes:
        watch: Runs from the start of the first forward pass.
        steps: Time at the end of each step that was waited for, s.
    """

    def __init__(self, device: torch.device, waits: int) -> None:
        self.watch = Stopwatch(device)
        self.steps: list[float] = []
        self._waits = waits
        self._device = device
        self._started = False

    def start(self, *_: object) -> None:
        """Starts the watch, if this is the first forward pass."""
        if not self._started:
            self._started = True
            self.watch = Stopwatch(self._device)

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor, **_: object) -> torch.Tensor:
        """Notes the time of the step that made the last of the tokens."""
        del scores
        if len(self.steps) < self._waits:
            self.steps.append(self.watch.elapsed())
        return torch.zeros(len(input_ids), dtype=torch.bool, device=input_ids.device)


def greedy_decode(loaded: LoadedModel, prompt_ids: torch.Tensor, max_new_tokens: int) -> Generation:
    """Decodes greedily until a stop token or ``max_new_tokens``.

    Args:
        loaded: The model; its generation settings apply, sampling aside.
        prompt_ids: (1, length) int64 token ids on the model's device.
        max_new_tokens: Cap on the answer's length, >= 1.

    Raises:
        ModelUnavailableError: If the model cannot generate, or not with the settings it comes with.
    """
    clock = _Clock(loaded.device, waits=1)
    settings = {"eos_token_id": sorted(loaded.stop_tokens) or None}
    answer = _generate(loaded, prompt_ids, max_new_tokens, clock, settings)
    device_time = clock.watch.device_elapsed()
    inference_time = clock.watch.elapsed()
    tokens = answer[0].tolist()
    ended = tokens[-1] in loaded.stop_tokens or len(tokens) < max_new_tokens  # by a stop string
    return Generation(
        tokens=tuple(tokens),
        inference_time=inference_time,
        time_to_first_token=clock.steps[0],
        device_time=device_time,
        finish_reason="eos" if ended else "length",
    )


def timed_steps(
    loaded: LoadedModel, prompts: torch.Tensor, steps: int
) -> tuple[float, list[float]]:
    """Times a prefill and so many decoding steps after it, stop tokens or not.

    Args:
        loaded: The model.
        prompts: (n, length) int64 token ids on the model's device.
        steps: How many steps, >= 1.

    Returns:
        Time of the prefill and of each step, s.
    """
    clock = _Clock(loaded.device, waits=steps + 1)
    endless = {"eos_token_id": None, "stop_strings": None, "max_time": None, "num_beams": 1}
    _generate(loaded, prompts, steps + 1, clock, endless)
    return clock.steps[0], [after - before for before, after in pairwise(clock.steps)]


def _generate(
    loaded: LoadedModel,
    prompts: torch.Tensor,
    max_new_tokens: int,
    clock: _Clock,
    settings: Mapping[str, Any],
) -> torch.Tensor:
    """Returns what is generated for each row of the prompts, (n, new tokens).

    Raises:
        ModelUnavailableError: If the model cannot generate, or not with the settings it comes with.
    """
    hook = loaded.model.register_forward_pre_hook(clock.start)
    try:
        with (
            naming_the_model(loaded.source, "cannot generate (with its generation settings)"),
            torch.inference_mode(),
        ):
            sequences: torch.Tensor = loaded.model.generate(
                prompts,
                attention_mask=torch.ones_like(prompts),
                do_sample=False,
                num_return_sequences=1,
                max_new_tokens=max_new_tokens,
                use_cache=True,
                return_dict_in_generate=False,
                stopping_criteria=StoppingCriteriaList([clock]),
                tokenizer=loaded.tokenizer,  # for stop strings
                **settings,
            )
    finally:
        hook.remove()
    return sequences[:, prompts.shape[1] :]
