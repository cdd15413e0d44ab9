"""What passes through: tokens are counted in an answer's bytes, which are not touched."""

from __future__ import annotations

import json
from typing import Any, Final

_DATA: Final = b"data:"
_ERROR: Final = b"error:"  # llama.cpp's, until September 2025
_LINE_ENDS: Final = (b"\n", b"\r")
_MARKS: Final = ("content", "text", "reasoning_content", "reasoning", "refusal", "tool_calls")
_CLIENTS_FAULT: Final = {400, 404, 409, 413, 415, 422}  # codes of errors that no server mends


class AnswerReader:
    """Reads an answer along as it passes: a stream of server-sent events, or one JSON object.

    Attributes:
        tokens: Tokens that have come, one an event, or what the server counted if it says so.
        prompt_tokens: Tokens of the prompt, as the server counted them; 0 if it does not say.
        cached_tokens: How many of these it found in its cache; None if it does not say.
        error: What the server reported in place of an answer; empty if nothing.
        rejected: Whether that was said to be the request's fault.
        done: Whether the server said that nothing more would come.
    """

    def __init__(self, stream: bool) -> None:
        self.tokens = 0
        self.prompt_tokens = 0
        self.cached_tokens: int | None = None
        self.error = ""
        self.rejected = False
        self.done = False
        self._stream = stream
        self._rest = b""
        self._unfinished: set[str] = set()  # choices that have begun
        self._finished = False

    @property
    def ended(self) -> bool:
        """Whether the answer is said to be over.

        OpenAI and most servers say so twice: each choice has a ``finish_reason`` in the end, and
        the last event is ``[DONE]``. Some say only the one (llama.cpp before September 2024, TGI
        before 2.2), some only the other. What else comes last is an event of ``usage`` without a
        choice; beside a choice it proves nothing, as vLLM can give it with every token.
        """
        return self.done or (self._finished and not self._unfinished)

    def feed(self, chunk: bytes) -> None:
        """Reads the next bytes."""
        text = self._rest + chunk
        if not self._stream:
            self._rest = text
            return
        lines = text.splitlines()  # at CR, LF and CRLF, all of which end a line of events
        self._rest = lines.pop() if lines and not text.endswith(_LINE_ENDS) else b""
        for line in lines:
            if line.startswith(_DATA):
                self._read_event(line[len(_DATA) :].strip())
            elif line.startswith(_ERROR):
                self._read_error(_decoded(line[len(_ERROR) :]))

    def close(self) -> None:
        """Reads what is left when the answer has ended."""
        if self._stream:
            self.feed(b"\n")
            return
        content = _decoded(self._rest)
        self._rest = b""
        if content is not None:
            self.done = True
            self._read_error(content.get("error"))
            self._read_counts(content)

    def _read_event(self, data: bytes) -> None:
        if data == b"[DONE]":
            self.done = True
            return
        event = _decoded(data) or {}
        self._read_error(event.get("error"))
        choices = event.get("choices")
        for choice in choices if isinstance(choices, list) else ():
            if not isinstance(choice, dict):
                continue
            number = str(choice.get("index"))
            delta = choice.get("delta")
            part = delta if isinstance(delta, dict) else choice
            if any(part.get(mark) for mark in _MARKS):
                self.tokens += 1
                self._unfinished.add(number)
            if choice.get("finish_reason"):
                self._finished = True
                self._unfinished.discard(number)
        if not choices and isinstance(event.get("usage"), dict):
            self._finished = True
            self._unfinished.clear()
        self._read_counts(event)

    def _read_error(self, error: object) -> None:
        if not error:
            return
        said = error if isinstance(error, dict) else {}
        self.error = str(said.get("message") or error)[:500]
        code = said.get("code")
        self.rejected = isinstance(code, int) and code in _CLIENTS_FAULT

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


def _decoded(data: bytes) -> dict[str, Any] | None:
    """Returns a JSON object; None where there is none."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
