"""One streamed chat completion: what its chunks say, and when they came."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import Any, Final

from data_tools.backends.base import Measurement
from edgecloud_gym.checks import whole_characters


class PromptFailedError(Exception):
    """This prompt could not be measured; the next one may be."""


class ServerFailedError(PromptFailedError):
    """The server died or fell silent with this prompt; it may not be there for the next one."""


class OddAnswerError(PromptFailedError):
    """What the server sends is an answer, but one of a shape that is not understood."""


# What a chunk may bring of an answer besides ``content``: servers differ in what they call it.
_ANSWERING: Final = ("content", "refusal")
_OTHER_OUTPUT: Final = ("tool_calls", "function_call", "audio")
_THOUGHTS: Final = ("reasoning", "thinking")  # and what begins so: reasoning_content, ...

_FINISHED: Final = {"stop": "eos"}
_UNFINISHED: Final = ("", "null")  # reasons that are none: some servers write the word


@dataclass
class StreamedAnswer:
    """What a stream has brought so far; its clock starts when it is made.

    The first chunk of a chat stream only names the role and the last ones only bring the finish
    reason and the token counts. The time to first token ends with the first chunk in which anything
    was generated; the answer ends with the finish reason, and nothing after it counts but text.

    Attributes:
        started: Moment of its making on the clock of `time.perf_counter`, s.
        first: Moment of the first chunk with generated text.
        last: Moment of the last chunk that belongs to the answer.
        texts: What the chunks brought, reasoning left out.
        moments: When each chunk with generated text came, reasoning included.
        begun: Whether any chunk of the answer has come.
        done: Whether the server has said that the stream is over.
        finish_reason: As the server says it; None until then.
        usage: The server's prompt_tokens, completion_tokens and cached_tokens; what it does not
            state is absent.
        aside: The last event that brought nothing of an answer, for messages.
    """

    started: float = field(default_factory=time.perf_counter)
    first: float | None = None
    last: float | None = None
    texts: list[str] = field(default_factory=list)
    moments: list[float] = field(default_factory=list)
    begun: bool = False
    done: bool = False
    finish_reason: str | None = None
    usage: dict[str, int] = field(default_factory=dict)
    aside: str = ""

    def read(self, data: str, event: str = "message") -> None:
        """Takes in the data of one server-sent event.

        Events that keep the connection alive or tell the state of the queue bring nothing; they
        may be words, such as ``ping``.

        Args:
            data: Its data.
            event: Its type.

        Raises:
            PromptFailedError: If it is no chunk, or one in which the server reports an error.
        """
        now = time.perf_counter()
        if not data.strip():
            return
        if data.strip() == "[DONE]":
            self.done = True
            if self.begun and self.last is None:  # an empty answer
                self.last = now
            return
        chunk = _decoded(data, event)
        if "choices" not in chunk and "usage" not in chunk:
            self.aside = data.strip()[:200]
        self.usage |= _found_in_cache(chunk.get("timings")) | _usage(chunk.get("usage"))
        for choice in _list(chunk, "choices"):
            self._read_choice(_object("choice", choice), now)

    def _read_choice(self, choice: dict[str, Any], now: float) -> None:
        self.begun = True
        delta = self._delta(choice)
        texts = [_text(delta.get(name)) for name in _ANSWERING]
        self.texts += texts
        reason = choice.get("finish_reason")
        if any(texts) or _generated(delta):
            self.first = now if self.first is None else self.first
            self.last = now
            self.moments.append(now)
        if reason is None or reason in _UNFINISHED or self.finish_reason is not None:
            return
        if not isinstance(reason, str):
            raise OddAnswerError(f"stream: finish_reason is {_shown(reason)}")
        self.finish_reason = reason
        self.last = now

    def _delta(self, choice: dict[str, Any]) -> dict[str, Any]:
        """Returns what a choice brings: a delta, the text of a completion or a whole message.

        A message after the answer began says all of it once more.
        """
        if choice.get("delta") is None and choice.get("text") is not None:
            return {"content": choice["text"]}
        if choice.get("delta") is None and self.first is None:
            return _object("message", choice.get("message"))
        return _object("delta", choice.get("delta"))

    @property
    def chunks(self) -> int:
        """Number of chunks with generated text, reasoning included."""
        return len(self.moments)

    @property
    def complete(self) -> bool:
        """Whether the answer has ended, as the server says."""
        return self.last is not None and (self.done or self.finish_reason is not None)

    @property
    def output_tokens(self) -> int:
        """Generated tokens as the server counts them; chunks where it does not."""
        return self.usage.get("completion_tokens") or self.chunks

    def progress(self) -> str:
        """Says how far the answer came, for messages."""
        said = f"; beside it the server sent: {self.aside}" if self.aside else ""
        if not self.begun:
            return f"no answer began{said}"
        return f"the answer broke off after {self.chunks} chunks{said}"

    def measurement(self, max_new_tokens: int) -> Measurement:
        """Returns the finished answer.

        Token counts are the server's own where it states them: no 0 for a prompt, or for an answer
        of which something came. Else the output is counted in chunks, one token each on servers
        that send every token by itself, and the input's count is None.

        Half characters that chunks brought one by one are joined, others become U+FFFD.

        Args:
            max_new_tokens: The cap: tells how the answer ended where the server does not.

        Raises:
            PromptFailedError: If the stream ended before the answer did.
        """
        if self.last is None or not self.complete:
            raise OddAnswerError(f"stream: {self.progress()}")
        output_tokens = self.output_tokens
        reason = self.finish_reason or ("length" if output_tokens >= max_new_tokens else "stop")
        return Measurement(
            response_text=whole_characters("".join(self.texts)),
            inference_time=self.last - self.started,
            input_token_count=self.usage.get("prompt_tokens") or None,
            output_token_count=output_tokens,
            time_to_first_token=None if self.first is None else self.first - self.started,
            finish_reason=_FINISHED.get(reason, reason),
            cached_tokens=self.usage.get("cached_tokens"),
        )


def _decoded(data: str, event: str) -> dict[str, Any]:
    """Returns an event's chunk; an empty one for an event that holds none, such as a word."""
    try:
        chunk = json.loads(data)
    except (ValueError, RecursionError) as error:
        if event == "error":
            raise PromptFailedError(f"server: {data[:300]}") from error
        if event != "message" or not data.lstrip().startswith("{"):
            return {}
        raise OddAnswerError(f"stream: not JSON: {data[:200]}") from error
    if event not in ("message", "error") and not (isinstance(chunk, dict) and "choices" in chunk):
        return {}
    if chunk is None or isinstance(chunk, str):
        return {}
    if not isinstance(chunk, dict):
        raise OddAnswerError(f"stream: not a JSON object: {data[:200]}")
    reported = chunk.get("error") or (event == "error" or chunk.get("object") == "error")
    if reported:
        said = chunk if reported is True else reported
        raise PromptFailedError(f"server: {str(said)[:300]}")
    return chunk


def _list(chunk: dict[str, Any], name: str) -> list[Any]:
    value = chunk.get(name)
    if value is None:
        return []
    if not isinstance(value, list):
        raise OddAnswerError(f"stream: {name} is {_shown(value)}")
    return value


def _object(name: str, value: object) -> dict[str, Any]:
    if value is None and name in ("delta", "message"):
        return {}
    if not isinstance(value, dict):
        raise OddAnswerError(f"stream: {name} is {_shown(value)}")
    return value


def _text(content: object) -> str:
    """Returns the text of a content, which may come as a list of parts."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else [content]
    return "".join(map(_text_of_part, parts))


def _text_of_part(part: object) -> str:
    if isinstance(part, str):
        return part
    if not isinstance(part, dict):
        raise OddAnswerError(f"stream: content is {_shown(part)}")
    text = part.get("text") if part.get("type", "text") in ("text", "output_text") else None
    if text is not None and not isinstance(text, str):
        raise OddAnswerError(f"stream: text of the content is {_shown(text)}")
    return text or ""


def _generated(delta: dict[str, Any]) -> bool:
    """Whether a chunk brings something that the model made, text or not."""
    return any(
        value
        for name, value in delta.items()
        if name in (*_ANSWERING, *_OTHER_OUTPUT) or name.startswith(_THOUGHTS)
    )


def _usage(usage: object) -> dict[str, int]:
    if not usage:
        return {}
    counts = dict(_object("usage", usage))
    details = counts.get("prompt_tokens_details")
    if isinstance(details, dict):  # OpenAI's place for it; servers may leave it out
        counts["cached_tokens"] = details.get("cached_tokens")
    return {
        name: _count(name, counts[name])
        for name in ("prompt_tokens", "completion_tokens", "cached_tokens")
        if counts.get(name) is not None
    }


def _found_in_cache(timings: object) -> dict[str, int]:
    """Returns what llama.cpp tells of its cache beside the usage; nothing of anything else."""
    if not isinstance(timings, dict) or timings.get("cache_n") is None:
        return {}
    return {"cached_tokens": _count("cache_n", timings["cache_n"])}


def _count(name: str, value: object) -> int:
    whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    if isinstance(value, bool) or not whole or not 0 <= value < 2**31:  # type: ignore[operator]
        raise OddAnswerError(f"stream: {name} is {_shown(value)}")
    return int(value)  # type: ignore[call-overload,no-any-return]


def _shown(value: object) -> str:
    return f"{type(value).__name__} {value!r:.100}"
