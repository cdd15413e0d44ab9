"""What limits the decoding of a model on this machine: its device, or the host in front of it."""

from __future__ import annotations

from typing import Final

import numpy as np
import torch

from data_tools.backends.decode_modes import Decoding
from data_tools.backends.decoding import Stopwatch
from data_tools.backends.models import LoadedModel
from data_tools.machine import Limits

CONTEXT: Final = 64  # tokens
STEPS: Final = 16
COPIES: Final = 5
COPIED: Final = {"cuda": 1 << 29, "cpu": 1 << 26}  # bytes: far beyond any cache


def measure_limits(loaded: LoadedModel, decoding: Decoding) -> Limits:
    """Measures some steps and the memory's bandwidth; a second or so.

    Args:
        loaded: The model.
        decoding: How it decodes.
    """
    room = loaded.context_length
    length = CONTEXT if room is None else max(1, min(CONTEXT, room - STEPS - 2))
    generator = torch.Generator().manual_seed(0)
    prompt = torch.randint(loaded.vocabulary_size, (1, length), generator=generator)
    prompt = prompt.to(loaded.device)
    decoding.timed(prompt, STEPS)  # allocates
    _, steps = decoding.timed(prompt, STEPS)
    bandwidth = copy_bandwidth(loaded.device)
    size = weight_bytes(loaded)
    return Limits(
        step=float(np.median(steps)),
        floor=size / bandwidth,
        bandwidth=bandwidth,
        weight_bytes=size,
        device_share=decoding.device_share(prompt, STEPS),
    )


def weight_bytes(loaded: LoadedModel) -> int:
    """Returns the size of the weights that a step reads.

    An embedding that is not tied to the output is left out: a step reads one row of it. Of a
    mixture of experts all count, though a token is computed by some.
    """
    embedding = loaded.model.get_input_embeddings()
    output = loaded.model.get_output_embeddings()
    tied = output is None or embedding.weight is output.weight
    aside = 0 if tied else embedding.weight.numel() * embedding.weight.element_size()
    total = sum(weights.numel() * weights.element_size() for weights in loaded.model.parameters())
    return int(total - aside)


def copy_bandwidth(device: torch.device) -> float:
    """Returns the bandwidth of a device's memory, bytes/s, by the quickest of some copies."""
    size = COPIED.get(device.type, COPIED["cpu"])
    source = torch.ones(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    target.copy_(source)
    times = []
    for _ in range(COPIES):
        watch = Stopwatch(device)
        target.copy_(source)
        taken = watch.device_elapsed()
        times.append(watch.elapsed() if taken is None else taken)
    return 2 * size / max(min(times), 1e-9)
