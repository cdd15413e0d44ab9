"""What passes through: tokens are counted in an answer's bytes, which are not touched."""

from __future__ import annotations

import json
from typing import Any, Final

_DATA: Final = b"data:"
_MARKS: Final = ("content", "text", "reasoning_content", "reasoning", "refusal", "tool_calls")


class AnswerReader:
    """Reads an answer along as it passes: a stream of server-sent events, or one JSON object.

    Attributes:
        tokens: Tokens that have come, one an event, or what the server counted if it says so.
        prompt_tokens: Tokens of the prompt, as the server counted them; 0 if it does not say.
        cached_tokens: How many of these it found in its cache; None if it does not say.
        error: What the server reported within a stream; empty if nothing.
        ended: Whether the stream said that the answer was over.
        done: Whether it said that nothing more would come.
    """

    def __init__(self, stream: bool) -> None:
        self.tokens = 0
        self.prompt_tokens = 0
        self.cached_tokens: int | None = None
        self.error = ""
        self.ended = False
        self.done = False
        self._stream = stream
        self._rest = b""

    def feed(self, chunk: bytes) -> None:
        """Reads the next bytes."""
        if not self._stream:
            self._rest += chunk
            return
        lines = (self._rest + chunk).split(b"\n")
        self._rest = lines.pop()
        for line in lines:
            if line.startswith(_DATA):
                self._read_event(line[len(_DATA) :].strip())

    def close(self) -> None:
        """Reads what is left when the answer has ended."""
        if not self._stream:
            self._read_counts(_decoded(self._rest))
        elif self._rest.startswith(_DATA):
            self._read_event(self._rest[len(_DATA) :].strip())
        self._rest = b""

    def _read_event(self, data: bytes) -> None:
        if data == b"[DONE]":
            self.ended = self.done = True
            return
        event = _decoded(data)
        if event.get("error"):
            self.error = str(event["error"])[:500]
        choices = event.get("choices")
        for choice in choices if isinstance(choices, list) else ():
            if not isinstance(choice, dict):
                continue
            delta = choice.get("delta")
            part = delta if isinstance(delta, dict) else choice
            if any(part.get(mark) for mark in _MARKS):
                self.tokens += 1
            if choice.get("finish_reason"):
                self.ended = True
        self._read_counts(event)

    def _read_counts(self, content: dict[str, Any]) -> None:
        timings, usage = content.get("timings"), content.get("usage")
        if isinstance(timings, dict):  # llama.cpp, whose prompt_n counts what it computed
            cached = _stated(timings.get("cache_n"))
            computed = _stated(timings.get("prompt_n")) or 0
            self._take(computed and computed + (cached or 0), cached, timings.get("predicted_n"))
        if isinstance(usage, dict):
            details = usage.get("prompt_tokens_details")
            found = details.get("cached_tokens") if isinstance(details, dict) else None
            prompt = _stated(usage.get("prompt_tokens")) or 0
            self._take(prompt, _stated(found), usage.get("completion_tokens"))

    def _take(self, prompt: int, cached: int | None, answer: object) -> None:
        self.prompt_tokens = prompt or self.prompt_tokens
        self.cached_tokens = self.cached_tokens if cached is None else cached
        self.tokens = max(self.tokens, _stated(answer) or 0)


def _stated(value: object) -> int | None:
    """Returns a count of tokens, None where there is none."""
    known = isinstance(value, int) and not isinstance(value, bool) and value >= 0
    return value if known else None  # type: ignore[return-value]


def _decoded(data: bytes) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
