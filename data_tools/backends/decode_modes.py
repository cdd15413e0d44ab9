"""How a local model decodes: eagerly by `generate`, or with a captured step where that works."""

from __future__ import annotations

import warnings
from typing import Final, Protocol, get_args

import torch

from data_tools.backends.base import DecodeMode
from data_tools.backends.decoding import Generation, greedy_decode, timed_steps
from data_tools.backends.models import LoadedModel, is_out_of_memory
from edgecloud_gym.checks import check_choice

PROBE_PROMPT: Final = 16  # tokens
PROBE_ANSWER: Final = 24


class Decoding(Protocol):
    """A way to decode one loaded model."""

    mode: str
    compiled: bool

    def greedy_decode(self, prompt_ids: torch.Tensor, max_new_tokens: int) -> Generation:
        """Decodes (1, length) greedily until a stop token or the cap."""

    def timed(self, prompts: torch.Tensor, steps: int) -> tuple[float, list[float]]:
        """Returns the time of the prefill of (n, length) and of each of so many steps, s."""

    def device_share(self, prompts: torch.Tensor, steps: int) -> float | None:
        """Returns the share of wall time in which the GPU worked; None without one."""


class EagerDecoding:
    """Decoding by transformers' `generate`.

    Args:
        loaded: The model.
    """

    mode = "eager"
    compiled = False

    def __init__(self, loaded: LoadedModel) -> None:
        self._loaded = loaded

    def greedy_decode(self, prompt_ids: torch.Tensor, max_new_tokens: int) -> Generation:
        """See `decoding.greedy_decode`."""
        return greedy_decode(self._loaded, prompt_ids, max_new_tokens)

    def timed(self, prompts: torch.Tensor, steps: int) -> tuple[float, list[float]]:
        """See `decoding.timed_steps`."""
        return timed_steps(self._loaded, prompts, steps)

    def device_share(self, prompts: torch.Tensor, steps: int) -> float | None:
        """Returns kernel time over wall time, of a prefill and some steps; None on a CPU.

        The profiler slows the host down, but not the kernels: their time is taken from a profiled
        run, the wall time from another.
        """
        if self._loaded.device.type != "cuda":
            return None
        from data_tools.backends.devices import kernel_time

        prefill, taken = self.timed(prompts, steps)
        busy = kernel_time(lambda: self.timed(prompts, steps))
        return min(1.0, busy / (prefill + sum(taken)))


def choose_decoding(loaded: LoadedModel, mode: DecodeMode = "auto") -> tuple[Decoding, str | None]:
    """Returns a way to decode a model, and why it is not the one asked for.

    Args:
        loaded: The model.
        mode: "eager"; "graph": a captured step on a GPU; "auto": that on a GPU where it works.

    Returns:
        The way, and the reason where it is not captured steps of compiled layers, though a graph
        was wanted; None without one.
    """
    check_choice("decode", mode, get_args(DecodeMode))
    eager = EagerDecoding(loaded)
    on_gpu = loaded.device.type == "cuda"
    if mode == "eager" or (mode == "auto" and not on_gpu):
        return eager, None
    from data_tools.backends.graphs import FixedDecoding, why_not

    if not on_gpu:
        return eager, f"graphs need a CUDA device, and it is on {loaded.device}"
    reason = why_not(loaded)
    if reason is not None:
        return eager, reason
    fused = FixedDecoding(loaded, capture=True, backend="inductor")
    reason = fault_of(loaded, eager, fused)
    if reason is None:
        return fused, None
    plain = FixedDecoding(loaded, capture=True)
    fault = fault_of(loaded, eager, plain)
    return (plain, f"compiled, {reason}") if fault is None else (eager, fault)


def fault_of(loaded: LoadedModel, eager: Decoding, fixed: Decoding) -> str | None:
    """Tries a way to decode beside the eager one, and returns what is wrong with it."""
    from data_tools.backends.rounding import parted_by_rounding

    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(loaded.vocabulary_size, (1, PROBE_PROMPT), generator=generator)
    ids = ids.to(loaded.device)
    room = loaded.context_length
    answer = PROBE_ANSWER if room is None else max(1, min(PROBE_ANSWER, room - PROBE_PROMPT))
    try:
        tokens = fixed.greedy_decode(ids, answer).tokens
    # A model's own code may ask the cache for what ours has not.
    except (RuntimeError, AttributeError, TypeError) as error:
        if is_out_of_memory(error):
            raise
        said = str(error).strip() or type(error).__name__
        return f"its step cannot be captured ({said.splitlines()[0]})"
    if not parted_by_rounding(loaded, ids, eager.greedy_decode(ids, answer).tokens, tokens):
        return "its tokens would differ from those of eager decoding by more than rounding"
    return None


def say_why(name: str, decoding: Decoding, reason: str | None) -> None:
    """Warns that a model is not decoded as was wanted."""
    if reason is not None:
        how = "eagerly" if decoding.mode == "eager" else "in graphs of layers as they are"
        warnings.warn(f"{name} is decoded {how}: {reason}", UserWarning, stacklevel=3)
