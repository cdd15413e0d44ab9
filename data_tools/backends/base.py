"""What answers prompts and times itself: a model on this machine, or a server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True)
class Measurement:
    """One answer, or the reason why there is none.

    Attributes:
        response_text: The answer without special tokens; None after an error.
        inference_time: Prefill and decoding of this request alone, s, tokenisation excluded.
        input_token_count: Prompt length as the model saw it, chat template included.
        output_token_count: Generated tokens, the stop token included.
        time_to_first_token: s.
        device_time: ``inference_time`` by the GPU's own clock, s; None on a CPU.
        finish_reason: "eos" or "length".
        error: "kind: message", or None.
    """

    response_text: str | None = None
    inference_time: float | None = None
    input_token_count: int | None = None
    output_token_count: int | None = None
    time_to_first_token: float | None = None
    device_time: float | None = None
    finish_reason: str | None = None
    error: str | None = None


class Backend(Protocol):
    """Something that answers one prompt at a time and measures itself."""

    @property
    def name(self) -> str:
        """Model name for the rows and the file name."""

    @property
    def device(self) -> str:
        """Where the model runs, for the rows."""

    @property
    def configuration(self) -> dict[str, Any]:
        """JSON-able settings on which the numbers depend; a resumed run must have the same."""

    def warm_up(self) -> None:
        """Runs until the first measured prompt is no slower than later ones."""

    def measure(self, prompt: str) -> Measurement:
        """Answers one prompt; failures that concern only this prompt are returned, not raised."""
