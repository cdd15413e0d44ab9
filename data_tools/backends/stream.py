"""One streamed chat completion: what its chunks say, and when they came."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import Any

from data_tools.backends.base import Measurement


class PromptFailedError(Exception):
    """This prompt could not be measured; the next one may be."""


class ServerFailedError(PromptFailedError):
    """The server died or fell silent with this prompt; it may not be there for the next one."""


@dataclass
class StreamedAnswer:
    """What a stream has brought so far; its clock starts when it is made.

    The first chunk of a chat stream only names the role and the last ones only bring the finish
    reason and the token counts: the time to first token ends with the first chunk that has text.

    Attributes:
        started: Moment of its making on the clock of `time.perf_counter`, s.
        first: Moment of the first chunk with generated text.
        last: Moment of the last chunk that belongs to the answer.
        texts: What the chunks brought, reasoning left out.
        chunks: Number of chunks with generated text.
        finish_reason: As the server says it; None until then.
        usage: The server's token counts; empty if it states none.
    """

    started: float = field(default_factory=time.perf_counter)
    first: float | None = None
    last: float | None = None
    texts: list[str] = field(default_factory=list)
    chunks: int = 0
    finish_reason: str | None = None
    usage: dict[str, Any] = field(default_factory=dict)

    def read(self, data: str) -> None:
        """Takes in the data of one server-sent event.

        Raises:
            PromptFailedError: If it is no chunk, or one in which the server reports an error.
        """
        now = time.perf_counter()
        chunk = _decoded(data)
        self.usage = chunk.get("usage") or self.usage
        for choice in chunk.get("choices") or ():
            self.last = now
            delta = choice.get("delta") or {}
            text = delta.get("content") or ""
            # Reasoning takes its time like any other text; servers differ in what they call it.
            if text or delta.get("reasoning_content") or delta.get("reasoning"):
                self.first = now if self.first is None else self.first
                self.chunks += 1
            self.texts.append(text)
            self.finish_reason = choice.get("finish_reason") or self.finish_reason

    def progress(self) -> str:
        """Says how far the answer came, for messages."""
        if self.last is None:
            return "no answer began"
        return f"the answer broke off after {self.chunks} chunks"

    def measurement(self) -> Measurement:
        """Returns the finished answer.

        Token counts are the server's own where it states them. Else the output is counted in
        chunks, one token each on servers that send every token by itself, and the input's count
        is None.

        Raises:
            PromptFailedError: If the stream ended before the answer did.
        """
        if self.last is None or self.finish_reason is None:
            raise PromptFailedError(f"stream: {self.progress()}")
        output_tokens = self.usage.get("completion_tokens")
        return Measurement(
            response_text="".join(self.texts),
            inference_time=self.last - self.started,
            input_token_count=self.usage.get("prompt_tokens"),
            output_token_count=self.chunks if output_tokens is None else output_tokens,
            time_to_first_token=None if self.first is None else self.first - self.started,
            finish_reason="eos" if self.finish_reason == "stop" else self.finish_reason,
        )


def _decoded(data: str) -> dict[str, Any]:
    try:
        chunk = json.loads(data)
    except ValueError as error:
        raise PromptFailedError(f"stream: not JSON: {data[:200]}") from error
    if not isinstance(chunk, dict):
        raise PromptFailedError(f"stream: not a JSON object: {data[:200]}")
    if chunk.get("error"):
        raise PromptFailedError(f"server: {str(chunk['error'])[:300]}")
    return chunk
