"""Whether two ways to compute the same sums differ by more than rounding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch

from data_tools.backends.models import LoadedModel

ROUNDINGS: Final = 8


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
