"""A streaming client for many requests side by side: one coroutine per request.

The profiler's `EndpointBackend` asks one prompt at a time and tries again; this client sends each
request once, whatever becomes of it, and tells when every chunk of the answer came.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self, get_args

import httpx2

from data_tools.backends.base import LimitField
from data_tools.backends.protocol import (
    CONNECT_TIMEOUT,
    bearer,
    chat_body,
    chat_url,
    check_served,
    is_stream,
    no_stream,
    without_key,
)
from data_tools.backends.stream import PromptFailedError, StreamedAnswer
from edgecloud_gym.checks import check_choice, check_number

# Shorter than servers keep an idle connection (5 s is usual): none is taken that is being closed.
KEEP_IDLE: Final = 2.0  # s
OK: Final = "ok"
FAILED: Final = "failed"
UNREACHED: Final = "unreached"
INTERRUPTED: Final = "interrupted"


@dataclass
class Exchange:
    """One request and its answer as a client saw them, on the clock of `time.perf_counter`.

    Attributes:
        sent: Moment of sending, s.
        moments: When each chunk with generated text came, s.
        last: When the answer ended, s; None if it did not.
        status: "ok", "failed", "unreached" (no connection) or "interrupted" (given up by us).
        error: What went wrong; None if nothing did.
        code: HTTP status, where the server refused; None where it did not.
        prompt_tokens, output_tokens, cached_tokens: As the server counts them; None where it does
            not, but for the output, which is then counted in chunks.
        counted: Whether the server counted the output.
        finish_reason: As the server says it.
        text: The answer so far.
    """

    sent: float
    moments: list[float]
    last: float | None = None
    status: str = INTERRUPTED
    error: str | None = None
    code: int | None = None
    prompt_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    counted: bool = False
    finish_reason: str | None = None
    text: str = ""

    @property
    def first(self) -> float | None:
        """When the first chunk with generated text came, s; None if none did."""
        return self.moments[0] if self.moments else None


class RefusedError(PromptFailedError):
    """The server answered with a status other than OK.

    Attributes:
        code: The status.
    """

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"HTTP {code}: {text.strip()[:300]}")
        self.code = code


class ChatClient:
    """Streams chat completions of a server, any number at a time.

    Nothing is limited, queued or repeated here: a request is on its way when it is asked for.

    Args:
        url: Base URL such as `http://127.0.0.1:8000/v1`; without a path, `/v1` is meant.
        model: The model's name on that server.
        api_key: Sent as a bearer token, and blotted out of every message. None sends none.
        limit_field: What the request calls the cap on an answer's length.
        timeout: Longest silence of the server, s.

    Raises:
        ValueError: If a setting is out of range or the URL is not a plain http(s) address.
    """

    def __init__(
        self,
        url: str,
        model: str,
        *,
        api_key: str | None = None,
        limit_field: LimitField = "max_tokens",
        timeout: float = 300.0,
    ) -> None:
        check_number("timeout", timeout, above=0)
        check_served(model, api_key)
        self.url = chat_url(url)
        self.model = model
        self._limit_field = check_choice("limit_field", limit_field, get_args(LimitField))
        self._api_key = api_key
        self._client = httpx2.AsyncClient(
            timeout=httpx2.Timeout(timeout, connect=min(timeout, CONNECT_TIMEOUT), pool=None),
            headers=bearer(api_key),
            # As many connections as requests: a pool with a limit would be a queue of its own.
            limits=httpx2.Limits(
                max_connections=None, max_keepalive_connections=64, keepalive_expiry=KEEP_IDLE
            ),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._client.aclose()

    async def ask(
        self,
        prompt: str,
        max_tokens: int,
        *,
        extra: Mapping[str, Any] | None = None,
        on_chunk: Callable[[Exchange], object] | None = None,
    ) -> Exchange:
        """Sends one request and reads the answer to its end.

        A request that is cancelled while its answer comes is not lost: give ``on_chunk`` a place to
        keep the exchange, which is filled as the answer comes.

        Args:
            prompt: What the user says.
            max_tokens: Cap on the answer's length, >= 1.
            extra: Further fields of the request.
            on_chunk: Called with the exchange when it was sent, and after each chunk.

        Returns:
            The exchange; a failure is its status and error, nothing is raised for it.
        """
        body = chat_body(self.model, prompt, max_tokens, self._limit_field, extra)
        answer = StreamedAnswer()
        exchange = Exchange(sent=answer.started, moments=answer.moments)
        tell = on_chunk or _nobody
        tell(exchange)
        try:
            async with self._client.sse(self.url, method="POST", json=body) as events:
                await _require_answer(events.response)
                async for event in events:
                    answer.read(event.data, event.event)
                    tell(exchange)
                    if answer.done:
                        break
            answer.measurement(max_tokens)  # raises where the stream ended before the answer
        except (httpx2.RequestError, PromptFailedError, UnicodeError) as error:
            if not answer.complete or isinstance(error, PromptFailedError):
                exchange.status, exchange.error = _failure(error, answer)
                exchange.error = without_key(exchange.error, self._api_key)
                exchange.code = error.code if isinstance(error, RefusedError) else None
        if exchange.status == INTERRUPTED:  # nothing went wrong
            exchange.status, exchange.last = OK, answer.last
        exchange.prompt_tokens = answer.usage.get("prompt_tokens") or None
        exchange.cached_tokens = answer.usage.get("cached_tokens")
        exchange.output_tokens = answer.output_tokens
        exchange.counted = bool(answer.usage.get("completion_tokens"))
        exchange.finish_reason = answer.finish_reason
        exchange.text = "".join(answer.texts)
        return exchange


def _nobody(_: Exchange) -> None:
    """Is told in place of a caller who does not want to know."""


async def _require_answer(response: httpx2.Response) -> None:
    if response.status_code != httpx2.codes.OK:
        await response.aread()
        raise RefusedError(response.status_code, response.text)
    if not is_stream(response):
        await response.aread()
        raise no_stream(response)


def _failure(error: Exception, answer: StreamedAnswer) -> tuple[str, str]:
    """Returns status and message of a request that failed."""
    if isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout):
        return UNREACHED, f"cannot be reached ({error})"
    if isinstance(error, httpx2.TimeoutException):
        return FAILED, f"timeout: {answer.progress()}"
    if isinstance(error, httpx2.TransportError) and not isinstance(error, httpx2.SSEError):
        return FAILED, f"connection: {answer.progress()} ({error})"
    if isinstance(error, PromptFailedError):
        return FAILED, str(error)
    return FAILED, f"request: {error}"


def now() -> float:
    """Returns the moment on the clock of the exchanges, s."""
    return time.perf_counter()
