"""Measures the batch slowdown curve: how much longer a step takes when n sequences share it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from data_tools.backends.decode_modes import Decoding, EagerDecoding
from data_tools.backends.models import LoadedModel, is_out_of_memory, release_memory
from data_tools.profiling.curve import SlowdownCurve, StepTimeFit, fit_step_time
from data_tools.profiling.run_file import require_same
from data_tools.progress import track
from edgecloud_gym.checks import check_integer
from edgecloud_gym.dataset.slowdown import SlowdownFile
from edgecloud_gym.wording import shown

__all__ = [
    "SlowdownCurve",
    "StepTimeFit",
    "continue_slowdown",
    "distinct_sizes",
    "fit_step_time",
    "measure_slowdown",
    "write_slowdown",
]

CONTEXT_LENGTH: Final = 64
STEPS: Final = 16


def distinct_sizes(batch_sizes: Sequence[int]) -> tuple[int, ...]:
    """Returns the batch sizes in ascending order, each once.

    Raises:
        TypeError: If one is no integer.
        ValueError: If there are fewer than two, or one is below 1.
    """
    sizes = tuple(sorted({check_integer("batch_sizes", size, least=1) for size in batch_sizes}))
    if len(sizes) < 2:
        raise ValueError(f"batch_sizes={shown(batch_sizes)}: must be two or more sizes")
    return sizes


def measure_slowdown(
    loaded: LoadedModel,
    batch_sizes: Sequence[int] = (1, 2, 4, 8, 16),
    *,
    context_length: int = CONTEXT_LENGTH,
    steps: int = STEPS,
    repeats: int = 8,
    seed: int = 0,
    show_progress: bool = True,
    earlier: Mapping[int, Sequence[float]] | None = None,
    save: Callable[[SlowdownCurve], object] | None = None,
    decoding: Decoding | None = None,
) -> SlowdownCurve:
    """Measures the decoding step time against the batch size.

    Every repetition visits all sizes in a new random order, so that drift of the machine falls on
    all of them alike. A warm-up, which is not kept, visits them in ascending order: a size that
    does not fit the memory is given up with a warning, and larger ones are not tried.

    Args:
        loaded: The model.
        batch_sizes: At least two distinct sizes, >= 1.
        context_length: Tokens in each sequence's cache when the timed steps begin, >= 1.
        steps: Timed steps per repetition, >= 1.
        repeats: Kept repetitions, >= 1.
        seed: Of the orders and the random tokens.
        show_progress: Whether to draw a progress bar.
        earlier: Step times (s) that an earlier session measured, by size; they count.
        save: Called with the curve so far after each measurement, once two sizes have one.
        decoding: How the model is decoded; None for eagerly.

    Raises:
        ValueError: If a setting is out of range.
        MemoryError: If fewer than two sizes fit the memory.
    """
    sizes = distinct_sizes(batch_sizes)
    check_integer("context_length", context_length, least=1)
    check_integer("steps", steps, least=1)
    check_integer("repeats", repeats, least=1)
    way = EagerDecoding(loaded) if decoding is None else decoding
    rng = np.random.default_rng(seed)
    table = _Table(sizes, repeats, earlier or {})

    def measure(size: int) -> float | None:
        shape = (size, context_length)
        prompts = rng.integers(loaded.vocabulary_size, size=shape)
        try:
            return _median_step_time(loaded, way, prompts, steps)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            table.give_up(size, error)
        release_memory(loaded.device)
        return None

    order: list[tuple[int | None, int]] = [(None, i) for i in table.unfinished()]
    order += [(r, int(i)) for r in range(repeats) for i in rng.permutation(len(sizes))]
    with closing(track(order, "Batch sizes", visible=show_progress)) as bar:
        for repetition, i in bar:
            if table.fits(i) and (repetition is None or np.isnan(table.times[repetition, i])):
                time = measure(sizes[i])
                if time is not None and repetition is not None:
                    table.times[repetition, i] = time
                    if save is not None and table.measured().sum() > 1:
                        save(table.curve(context_length, steps))
    if table.measured().sum() < 2:
        raise MemoryError(
            f"batch_sizes={shown(batch_sizes)}: a curve needs two sizes that fit the memory; "
            "smaller ones would, or bfloat16"
        )
    return table.curve(context_length, steps)


class _Table:
    """Step times by repetition and size, as they come in.

    Attributes:
        times: (repeats, k) s; NaN where not measured.
    """

    def __init__(
        self, sizes: tuple[int, ...], repeats: int, earlier: Mapping[int, Sequence[float]]
    ) -> None:
        self._sizes = sizes
        self._did_not_fit: dict[int, str] = {}
        self.times = np.full((repeats, len(sizes)), np.nan)
        for i, size in enumerate(sizes):
            known = list(earlier.get(size, ()))[:repeats]
            self.times[: len(known), i] = known

    def unfinished(self) -> list[int]:
        """Returns which sizes lack a repetition."""
        return [int(i) for i in np.flatnonzero(np.isnan(self.times).any(axis=0))]

    def measured(self) -> NDArray[np.bool_]:
        """Returns which sizes have a repetition, (k,)."""
        return np.asarray(np.isfinite(self.times).any(axis=0))

    def fits(self, i: int) -> bool:
        """Whether size i and all below it have fitted the memory so far."""
        return self._sizes[i] < min(self._did_not_fit, default=np.inf)

    def give_up(self, size: int, error: Exception) -> None:
        """Takes a size out, with all above it, and says so."""
        reason = str(error).partition("\n")[0]
        larger = [other for other in self._sizes if other > size]
        self._did_not_fit[size] = f"out of memory: {reason}"
        self._did_not_fit |= dict.fromkeys(larger, f"not tried: {size} did not fit")
        skipped = f"; {', '.join(map(str, larger))} not tried" if larger else ""
        warnings.warn(
            f"batch size {size} does not fit the memory ({reason}){skipped}. A shorter context, "
            "bfloat16 or a smaller model would; the sizes below it are measured",
            UserWarning,
            stacklevel=4,  # the caller of measure_slowdown
        )

    def curve(self, context_length: int, steps: int) -> SlowdownCurve:
        """Returns the curve through the sizes measured so far, two or more."""
        kept = self.measured()
        sizes = tuple(size for size, keep in zip(self._sizes, kept, strict=True) if keep)
        times = self.times[:, kept]
        return SlowdownCurve(
            batch_sizes=sizes,
            step_times=times[~np.isnan(times).all(axis=1)],
            context_length=context_length,
            steps=steps,
            fit=fit_step_time(sizes, np.nanmedian(times, axis=0)),
            did_not_fit=self._did_not_fit,
        )


def _median_step_time(
    loaded: LoadedModel, decoding: Decoding, prompts: NDArray[np.int64], steps: int
) -> float:
    """Returns the median time, s, of decoding steps after a prefill of (n, length) tokens.

    The first step is not counted: it is the one that allocates.
    """
    tokens = torch.as_tensor(prompts, device=loaded.device)
    return float(np.median(decoding.timed(tokens, steps + 1)[1][1:]))


def continue_slowdown(
    path: Path,
    loaded: LoadedModel,
    batch_sizes: Sequence[int],
    configuration: Mapping[str, Any],
    conditions: Mapping[str, Any],
    *,
    show_progress: bool = True,
    decoding: Decoding | None = None,
) -> SlowdownCurve:
    """Measures what a file of the curve lacks, and writes the file as it grows.

    Args:
        path: The file; made if there is none.
        loaded: The model.
        batch_sizes: As of `measure_slowdown`.
        configuration: What the times depend on.
        conditions: Circumstances of this session.
        show_progress: Whether to draw a progress bar.
        decoding: How the model is decoded; None for eagerly.

    Raises:
        ConfigurationChangedError: If the file was measured under another configuration.
    """
    about = {"configuration": configuration, "conditions": conditions}
    earlier: dict[int, list[float]] = {}
    if path.exists():
        file = SlowdownFile.read(path)
        settings = {"context_length": CONTEXT_LENGTH, "steps": STEPS}
        recorded = {"context_length": file.context_length, "steps": file.steps}
        require_same(
            path, {**recorded, **(file.configuration or {})}, {**settings, **configuration}
        )
        earlier = dict(zip(file.batch_sizes, file.step_time_repeats, strict=False))
    return measure_slowdown(
        loaded,
        sorted({*batch_sizes, *earlier}),
        show_progress=show_progress,
        earlier=earlier,
        save=lambda curve: write_slowdown(path, curve, about),
        decoding=decoding,
    )


def write_slowdown(
    path: Path, curve: SlowdownCurve, about: Mapping[str, Mapping[str, Any]]
) -> None:
    """Writes the curve as JSON, with the configuration and conditions it was measured under."""
    curve.to_file(about).write(path)
