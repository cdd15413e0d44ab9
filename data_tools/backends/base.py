"""What answers prompts and times itself: a model on this machine, or a server."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol

from data_tools.machine import Record

DecodeMode = Literal["auto", "eager", "graph"]
LimitField = Literal["max_tokens", "max_completion_tokens"]

SERVED: Final = "endpoint"

WARM_UP_PROMPT: Final = "Count from one to ten."
WARM_UP_TOKENS: Final = 8
WARM_UP_RUNS: Final = 3


class ModelUnavailableError(OSError):
    """A model is not on this machine and cannot be fetched, or is not of the kind that is needed.

    The message names it and says what to do.
    """


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
        finish_reason: "eos" or "length"; from a server also what else it says.
        cached_tokens: Prompt tokens that a server found in its cache; None where it does not say.
        error: "kind: message", or None.
    """

    response_text: str | None = None
    inference_time: float | None = None
    input_token_count: int | None = None
    output_token_count: int | None = None
    time_to_first_token: float | None = None
    device_time: float | None = None
    finish_reason: str | None = None
    cached_tokens: int | None = None
    error: str | None = None


@dataclass(frozen=True)
class Configuration(Record):
    """Settings on which the numbers of a run depend; a resumed run must have the same.

    What is None is not known of the run, and not written to its metadata.

    Attributes:
        model: Name for the rows and the file.
        max_new_tokens: Cap on an answer's length.
    """

    model: str | None = None
    max_new_tokens: int | None = None


@dataclass(frozen=True)
class LocalConfiguration(Configuration):
    """Of a model on this machine.

    Attributes:
        source: Hub id, or the name of the local file or directory.
        revision: Hub commit, or a digest of the local weights.
        dtype, attention, device, threads: As torch and transformers name them.
        hardware: Name of the processor or accelerator.
        decode: "graph" where steps are captured; None for eager decoding.
        compiled: Whether the layers of captured steps are compiled; None where they are not.
        chat_template: Whether prompts are wrapped in the model's chat template.
        generation: The model's own generation settings, where they shape a greedy answer.
        torch, transformers, tokenizers, numpy: Versions.
    """

    source: str | None = None
    revision: str | None = None
    dtype: str | None = None
    attention: str | None = None
    device: str | None = None
    hardware: str | None = None
    threads: int | None = None
    decode: str | None = None
    compiled: bool | None = None
    chat_template: bool | None = None
    generation: Mapping[str, Any] | None = None
    torch: str | None = None
    transformers: str | None = None
    tokenizers: str | None = None
    numpy: str | None = None


@dataclass(frozen=True)
class ServerConfiguration(Configuration):
    """Of a model behind a server, as far as a client knows it.

    Attributes:
        backend: Tells the metadata of the two kinds apart.
        served_model: The model's name on the server.
        endpoint: The address.
        temperature: Sent with every prompt.
        limit_field: What the request calls the cap, where that is not ``max_tokens``.
    """

    backend: str = SERVED
    served_model: str | None = None
    endpoint: str | None = None
    temperature: float | None = 0
    limit_field: str | None = None


def read_configuration(content: Mapping[str, Any]) -> LocalConfiguration | ServerConfiguration:
    """Returns the configuration of either kind that a run's metadata hold."""
    served = content.get("backend") == SERVED
    return (ServerConfiguration if served else LocalConfiguration).from_json(content)


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
