"""A sweep over batch sizes and context lengths of a local model: what makes an engine model.

The same file as a sweep of a server: prefills by their length, decoding steps by the number of
sequences and the context they look back on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from data_tools.backends.decode_modes import Decoding
from data_tools.backends.models import LoadedModel, is_out_of_memory, release_memory
from data_tools.calibration.sweep_file import IdleMeasurement, RoundMeasurement, SweepFile
from data_tools.profiling.run_file import require_same
from data_tools.progress import track
from edgecloud_gym.checks import check_integer
from edgecloud_gym.dataset.tables import beside

REPEATS: Final = 3
STEPS: Final = 8


def sweep_path(rows: Path) -> Path:
    """Returns where the sweep of a file of rows lives: ``x.jsonl`` -> ``x.sweep.json``."""
    return beside(rows, ".sweep.json")


def continue_sweep(
    path: Path,
    loaded: LoadedModel,
    decoding: Decoding,
    batch_sizes: Sequence[int],
    context_lengths: Sequence[int],
    configuration: Mapping[str, Any],
    conditions: Mapping[str, Any],
    *,
    show_progress: bool = True,
) -> SweepFile:
    """Measures what the file of a sweep lacks, and writes it as it grows.

    Every repetition visits all batch sizes and context lengths in a random order. What does not fit
    the memory is left out, with everything that is larger in both.

    Args:
        path: The file; made if there is none.
        loaded: The model.
        decoding: How it decodes.
        batch_sizes: Sequences, each >= 1.
        context_lengths: Tokens that each has before the timed steps, each >= 1.
        configuration: What the times depend on.
        conditions: Circumstances of this session.
        show_progress: Whether to draw a progress bar.

    Raises:
        ConfigurationChangedError: If the file was measured under another configuration.
        ValueError: If a length leaves no room in the model's context.
    """
    file = SweepFile(
        concurrencies=tuple(
            sorted({check_integer("batch_sizes", n, least=1) for n in batch_sizes})
        ),
        prompt_lengths=check_lengths(loaded, context_lengths),
        repeats=REPEATS,
        configuration=configuration,
    )
    if path.exists():
        earlier = SweepFile.read(path)
        require_same(path, earlier.configuration, configuration)
        file = earlier.widened(file)
    file = file.begun(conditions)
    rng = np.random.default_rng(len(file.conditions))
    too_large: list[tuple[int, int]] = []
    with closing(track(_missing(file, rng), "Engine", visible=show_progress)) as bar:
        for repeat, n, length in bar:
            if any(n >= size and length >= long for size, long in too_large):
                continue
            prompts = torch.as_tensor(rng.integers(loaded.vocabulary_size, size=(n, length)))
            try:
                times = decoding.timed(prompts.to(loaded.device), STEPS + 1)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                too_large.append((n, length))
                times = None
            if times is None:  # out here the error no longer holds what ran
                release_memory(loaded.device)
                continue
            file = _with(file, repeat, n, length, *times)
            file.write(path)
    return file


def check_lengths(loaded: LoadedModel, context_lengths: Sequence[int]) -> tuple[int, ...]:
    """Returns the lengths in ascending order, each once.

    Raises:
        ValueError: If one leaves no room in the model's context.
    """
    most = None if loaded.context_length is None else loaded.context_length - STEPS - 2
    lengths = {check_integer("context_lengths", n, least=1, most=most) for n in context_lengths}
    return tuple(sorted(lengths))


def _missing(file: SweepFile, rng: np.random.Generator) -> list[tuple[int, int, int]]:
    levels = [(n, length) for n in file.concurrencies for length in file.prompt_lengths]
    have = {(m.repeat, m.concurrency, m.asked) for m in file.rounds}
    return [
        (repeat, *levels[i])
        for repeat in range(file.repeats)
        for i in rng.permutation(len(levels))
        if (repeat, *levels[i]) not in have
    ]


def _with(
    file: SweepFile, repeat: int, n: int, length: int, prefill: float, steps: Sequence[float]
) -> SweepFile:
    """Adds a measurement; the first step, which allocates, is not counted."""
    step = float(np.median(steps[1:]))
    context = n * (length + 1 + len(steps) / 2)
    if n == 1:
        file = file.with_idle(IdleMeasurement(length, repeat, length, 0, prefill, step, context))
    return file.with_round(
        RoundMeasurement(n, length, repeat, n, step, float(len(steps) - 1), context)
    )
