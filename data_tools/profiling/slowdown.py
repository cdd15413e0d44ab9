"""The batch slowdown curve: how much longer a decoding step takes when n sequences share it.

A step of n sequences takes about a + b n seconds: reading the weights costs the same for any n,
arithmetic and cache traffic grow with n. A request that alone takes one unit of time therefore
takes s(n) = (a + b n) / (a + b) among n. The environment reads s from ``slowdown.json``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from data_tools.backends.decoding import Stopwatch
from data_tools.backends.models import LoadedModel
from data_tools.profiling.run_file import write_json
from data_tools.progress import track

CURVE_LENGTH = 64  # s(1) ... s(64) are written, more if larger batches were measured


@dataclass(frozen=True)
class StepTimeFit:
    """Decoding step time as a function of the batch size n: a + b n, in seconds."""

    a: float
    b: float

    def step_time(self, batch_sizes: NDArray[np.float64]) -> NDArray[np.float64]:
        """Returns a + b n, in s, for each batch size n."""
        return self.a + self.b * batch_sizes

    def slowdown(self, length: int = CURVE_LENGTH) -> NDArray[np.float64]:
        """Returns s(1) ... s(length), float64 (length,); s(1) is exactly 1."""
        times = self.step_time(np.arange(1, length + 1, dtype=np.float64))
        return np.asarray(times / times[0])


@dataclass(frozen=True)
class SlowdownCurve:
    """Measured decoding step times and their fit.

    Attributes:
        batch_sizes: (k,) distinct sizes, ascending.
        step_times: (repeats, k) s; each the median over the steps of one repetition.
        context_length: Tokens in each sequence's cache when the timed steps begin.
        steps: Timed steps per repetition.
        fit: The straight line through the medians.
    """

    batch_sizes: tuple[int, ...]
    step_times: NDArray[np.float64]
    context_length: int
    steps: int
    fit: StepTimeFit

    @property
    def median(self) -> NDArray[np.float64]:
        """Median step time over the repetitions for each batch size, (k,) s."""
        return np.asarray(np.median(self.step_times, axis=0))

    @property
    def fit_error(self) -> float:
        """Largest relative deviation of the fit from the medians."""
        fitted = self.fit.step_time(np.asarray(self.batch_sizes, dtype=np.float64))
        return float(np.abs(fitted / self.median - 1).max())

    def to_json(self) -> dict[str, Any]:
        """Returns what ``slowdown.json`` holds; times in s."""
        quartiles = np.quantile(self.step_times, [0.25, 0.75], axis=0)
        return {
            "batch_sizes": list(self.batch_sizes),
            "step_time": self.median.tolist(),
            "step_time_quartiles": quartiles.T.tolist(),
            "step_time_repeats": self.step_times.T.tolist(),
            "context_length": self.context_length,
            "steps": self.steps,
            "a": self.fit.a,
            "b": self.fit.b,
            "fit_error": self.fit_error,
            "slowdown": self.fit.slowdown(max(CURVE_LENGTH, *self.batch_sizes)).tolist(),
        }


def fit_step_time(batch_sizes: Sequence[int], step_times: NDArray[np.float64]) -> StepTimeFit:
    """Fits a + b n with a, b >= 0 by least squares of the relative error.

    Relative, because a step of 16 sequences is not worth more than a step of one.

    Args:
        batch_sizes: (k,) at least two distinct sizes.
        step_times: (k,) s, > 0.
    """
    sizes = np.asarray(batch_sizes, dtype=np.float64)
    design = np.column_stack([np.ones_like(sizes), sizes]) / step_times[:, None]
    (a, b), *_ = np.linalg.lstsq(design, np.ones_like(sizes), rcond=None)
    if b < 0:  # noise on a flat curve
        a, b = _scale(design[:, 0]), 0.0
    elif a < 0:
        a, b = 0.0, _scale(design[:, 1])
    return StepTimeFit(float(a), float(b))


def _scale(column: NDArray[np.float64]) -> float:
    """Returns the factor that brings a column closest to ones."""
    return float(column.sum() / (column @ column))


def distinct_sizes(batch_sizes: Sequence[int]) -> tuple[int, ...]:
    """Returns the batch sizes in ascending order, each once.

    Raises:
        ValueError: If there are fewer than two, or one is below 1.
    """
    sizes = tuple(sorted(set(batch_sizes)))
    if len(sizes) < 2 or sizes[0] < 1:
        raise ValueError(f"batch_sizes must be two or more sizes of at least 1, got {batch_sizes}")
    return sizes


def measure_slowdown(
    loaded: LoadedModel,
    batch_sizes: Sequence[int] = (1, 2, 4, 8, 16),
    *,
    context_length: int = 64,
    steps: int = 16,
    repeats: int = 8,
    seed: int = 0,
    show_progress: bool = True,
) -> SlowdownCurve:
    """Measures the decoding step time against the batch size.

    Every repetition visits all sizes in a new random order, so that drift of the machine falls on
    all of them alike. The first repetition is a warm-up and not kept.

    Args:
        loaded: The model.
        batch_sizes: At least two distinct sizes, >= 1.
        context_length: Tokens in each sequence's cache when the timed steps begin, >= 1.
        steps: Timed steps per repetition, >= 1.
        repeats: Kept repetitions, >= 1.
        seed: Of the orders and the random tokens.
        show_progress: Whether to draw a progress bar.

    Raises:
        ValueError: If a setting is out of range.
        torch.OutOfMemoryError: If a batch does not fit the GPU.
    """
    sizes = distinct_sizes(batch_sizes)
    for name, value in (("context_length", context_length), ("steps", steps), ("repeats", repeats)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
    rng = np.random.default_rng(seed)
    times = np.empty((repeats + 1, len(sizes)))
    order = [(r, int(i)) for r in range(repeats + 1) for i in rng.permutation(len(sizes))]
    for repetition, i in track(order, "Batch sizes", visible=show_progress):
        prompts = rng.integers(loaded.model.config.vocab_size, size=(sizes[i], context_length))
        times[repetition, i] = _median_step_time(
            loaded, torch.as_tensor(prompts, device=loaded.device), steps
        )
    kept = times[1:]
    return SlowdownCurve(
        batch_sizes=sizes,
        step_times=kept,
        context_length=context_length,
        steps=steps,
        fit=fit_step_time(sizes, np.median(kept, axis=0)),
    )


@torch.inference_mode()
def _median_step_time(loaded: LoadedModel, prompts: torch.Tensor, steps: int) -> float:
    """Returns the median time, s, of greedy decoding steps after a prefill of (n, length) tokens.

    The first step is not counted: it is the one that allocates.
    """
    from transformers import DynamicCache

    cache = DynamicCache(config=loaded.model.config)
    current = prompts
    times = []
    for _ in range(steps + 2):  # the prefill, the step that allocates, the timed ones
        watch = Stopwatch(loaded.device)
        logits = loaded.model(
            input_ids=current, past_key_values=cache, use_cache=True, logits_to_keep=1
        ).logits
        current = logits[:, -1].argmax(dim=-1, keepdim=True)
        times.append(watch.elapsed())
    return float(np.median(times[2:]))


def write_slowdown(path: Path, curve: SlowdownCurve, about: Mapping[str, Any]) -> None:
    """Writes the curve as JSON, with the settings and conditions it was measured under."""
    write_json(path, {**curve.to_json(), **about})
