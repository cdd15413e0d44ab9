"""The OpenAI API as far as a gateway has to understand it: requests in, errors out."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

PATHS: Final = ("/v1/chat/completions", "/v1/completions")


class ApiError(Exception):
    """An answer that says what is wrong, in the form that OpenAI's clients read.

    Attributes:
        status: HTTP status.
        message: What is wrong and what would be right.
        kind: OpenAI's ``type``.
        code: OpenAI's ``code``.
        retry_after: When to try again (s), if that is of use.
    """

    def __init__(
        self,
        status: int,
        message: str,
        kind: str = "invalid_request_error",
        code: str | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.kind = kind
        self.code = code
        self.retry_after = retry_after

    @property
    def body(self) -> bytes:
        """The JSON body."""
        error = {"message": self.message, "type": self.kind, "param": None, "code": self.code}
        return json.dumps({"error": error}).encode()

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """The headers that go with it."""
        headers = [(b"content-type", b"application/json")]
        if self.retry_after is not None:
            headers.append((b"retry-after", str(self.retry_after).encode()))
        return headers

    @property
    def event(self) -> bytes:
        """The same within a stream that has begun."""
        return b"data: " + self.body + b"\n\n"


def unavailable(message: str, retry_after: int = 1) -> ApiError:
    """Returns the error for what may work later."""
    return ApiError(503, message, "server_error", "unavailable", retry_after)


@dataclass(frozen=True, slots=True)
class Question:
    """A request for a completion.

    Attributes:
        path: Where it was sent.
        body: Its body as it came.
        model: The model that it asks for; None if it names none.
        stream: Whether the answer is to come token by token.
        prompt: What the embedding is made of: the prompt, or the last message of a user.
        size: Length of all that is to be read (bytes of UTF-8, or tokens where it has those).
        in_tokens: Whether ``size`` counts tokens.
    """

    path: str
    body: bytes
    model: str | None
    stream: bool
    prompt: str
    size: int
    in_tokens: bool = False

    def body_for(self, serves: str | None) -> bytes:
        """Returns the body with the name that a server has for the model; else as it came."""
        if serves is None or serves == self.model:
            return self.body
        content = json.loads(self.body)
        content["model"] = serves
        return json.dumps(content, ensure_ascii=False).encode("utf-8", "surrogatepass")


def read_question(path: str, body: bytes) -> Question:
    """Reads a request, as far as a gateway has to: what is wrong beyond that, servers tell.

    Raises:
        ApiError: If it is none.
    """
    try:
        content = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ApiError(400, f"the body is no JSON: {str(error)[:200]}") from None
    if not isinstance(content, dict):
        raise ApiError(400, f"the body must be a JSON object, got {type(content).__name__}")
    model, stream = content.get("model"), content.get("stream")
    if model is not None and not isinstance(model, str):
        raise ApiError(400, f"model: must be a string, got {type(model).__name__}")
    if stream is not None and not isinstance(stream, bool):
        raise ApiError(400, f"stream: must be true or false, got {stream!r:.40}")
    read = _chat if path == PATHS[0] else _completion
    prompt, size, in_tokens = read(content)
    return Question(path, body, model, bool(stream), prompt, size, in_tokens)


def _chat(content: dict[str, Any]) -> tuple[str, int, bool]:
    messages = content.get("messages")
    if not isinstance(messages, list) or not messages:
        raise ApiError(400, "messages: must be a list of one message or more")
    prompt, size = "", 0
    for number, message in enumerate(messages):
        if not isinstance(message, dict):
            raise ApiError(400, f"messages[{number}]: must be an object")
        text = _text(message.get("content"))
        size += len(text.encode("utf-8", "surrogatepass"))
        if message.get("role") == "user":
            prompt = text
    return prompt, size, False


def _text(content: object) -> str:
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        texts = [part.get("text") for part in content if isinstance(part, dict)]
        return "\n".join(text for text in texts if isinstance(text, str))
    return ""  # as of a message that only calls tools


def _completion(content: dict[str, Any]) -> tuple[str, int, bool]:
    prompt = content.get("prompt")
    if isinstance(prompt, str):
        return prompt, len(prompt.encode("utf-8", "surrogatepass")), False
    if isinstance(prompt, list) and prompt:
        if all(isinstance(item, str) for item in prompt):
            text = "\n".join(prompt)
            return text, len(text.encode("utf-8", "surrogatepass")), False
        if all(isinstance(item, int) and not isinstance(item, bool) for item in prompt):
            return "", len(prompt), True
        if all(isinstance(item, list) for item in prompt):
            return "", sum(map(len, prompt)), True
    raise ApiError(400, "prompt: must be a string, a list of strings, or tokens")
