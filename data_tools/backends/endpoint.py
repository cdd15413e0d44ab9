"""The profiler's backend for a model behind an OpenAI-compatible server."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final, Self, get_args

import httpx2

from data_tools.backends.base import (
    WARM_UP_PROMPT,
    WARM_UP_RUNS,
    WARM_UP_TOKENS,
    LimitField,
    Measurement,
    ServerConfiguration,
)
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
from data_tools.backends.stream import (
    OddAnswerError,
    PromptFailedError,
    ServerFailedError,
    StreamedAnswer,
)
from edgecloud_gym.checks import check_choice, check_integer, check_number, parse_number

__all__ = ["EndpointBackend", "EndpointStoppedError", "chat_url"]

# Statuses that say "not now": the prompt is not to blame. They, every other status from 500 on and
# a few more may pass; each is worth another attempt.
BUSY_STATUSES: Final = frozenset({429, 502, 503, 504, 529})
RETRIED_STATUSES: Final = BUSY_STATUSES | {408, 425}
# Statuses that every other prompt would meet as well: key, address or model name are wrong.
REFUSED_STATUSES: Final = frozenset({401, 403, 404, 405})

LONGEST_PAUSE: Final = 30.0  # s, between two attempts, of our own accord
LONGEST_WAIT: Final = 600.0  # s, that a server may ask for


class EndpointStoppedError(ConnectionError):
    """The server is gone, stays busy or is set up differently: going on would measure nothing."""


class EndpointBackend:
    """Measures streamed chat completions of a server, one at a time over one connection.

    Times are what a client sees, from sending the request to the chunks of its answer. They include
    the network and, on a server that others use as well, waiting for them.

    An attempt that could not reach the server, broke off before the answer began, or met a busy
    or failing server is repeated with growing pauses. An answer that breaks off half-way is not
    asked for again: what killed the server once would do so again. Two prompts in a row that the
    server dies or falls silent with end the run: the second is not to blame, and gets no row. A
    pause that the server asks for (`Retry-After`) is kept up to 600 s; a longer one ends the run.

    Args:
        url: Base URL such as `http://127.0.0.1:8000/v1`; without a path, `/v1` is meant.
        model: The model's name on that server.
        max_new_tokens: Cap on an answer's length, >= 1.
        name: Model name for the rows and the file name; None takes `model`.
        api_key: Sent as a bearer token, and blotted out of every message. None sends none.
        timeout: Longest silence of the server, s.
        limit_field: What the request calls the cap: "max_tokens", which every server knows, or
            "max_completion_tokens", which some models insist on.
        retries: Further attempts after the first.
        backoff: Pause before the first further attempt, s; doubled before each next one.
        sleep: What pauses; tests pass their own.

    Raises:
        ValueError: If a setting is out of range or the URL is not a plain http(s) address.
    """

    def __init__(
        self,
        url: str,
        model: str,
        *,
        max_new_tokens: int,
        name: str | None = None,
        api_key: str | None = None,
        limit_field: LimitField = "max_tokens",
        timeout: float = 300.0,
        retries: int = 5,
        backoff: float = 0.5,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._max_new_tokens = check_integer("max_new_tokens", max_new_tokens, least=1)
        self._limit_field = check_choice("limit_field", limit_field, get_args(LimitField))
        self._retries = check_integer("retries", retries, least=0)
        check_number("timeout", timeout, above=0)
        check_served(model, api_key)
        self.name = name or model
        self._url = chat_url(url)
        self._model = model
        self._api_key = api_key
        self._backoff = check_number("backoff", backoff, least=0)
        self._sleep = sleep
        self._failing = False  # whether the server broke down with the last prompt
        self._client = httpx2.Client(
            timeout=httpx2.Timeout(timeout, connect=min(timeout, CONNECT_TIMEOUT)),
            headers=bearer(api_key),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    @property
    def device(self) -> str:
        """The address, which is all that a client knows of the hardware."""
        return self._url

    @property
    def configuration(self) -> dict[str, Any]:
        """What the numbers depend on, as far as a client knows it."""
        usual = self._limit_field == "max_tokens"
        return ServerConfiguration(
            model=self.name,
            served_model=self._model,
            endpoint=self._url,
            max_new_tokens=self._max_new_tokens,
            limit_field=None if usual else self._limit_field,
        ).to_json()

    def warm_up(self) -> None:
        """Asks for a few short answers: opens the connection and makes the server load the model.

        Raises:
            EndpointStoppedError: If the server does not answer these.
        """
        for _ in range(WARM_UP_RUNS):
            try:
                self._ask(WARM_UP_PROMPT, WARM_UP_TOKENS)
            except OddAnswerError:
                continue  # it answers; how it answers a prompt is in that prompt's row
            except PromptFailedError as error:
                reason = self._without_key(str(error))
                raise EndpointStoppedError(
                    f"{self._url} fails to answer a first, simple request: {reason}"
                ) from error

    def measure(self, prompt: str) -> Measurement:
        """Sends one prompt and times the streamed answer.

        Returns:
            The measurement; a refused prompt, a silent server and one that died with this prompt
            come back as its `error`.

        Raises:
            EndpointStoppedError: If the server cannot be reached, stays busy, breaks down with two
                prompts in a row, or rejects the key, the address or the model.
        """
        try:
            measurement = self._ask(prompt, self._max_new_tokens)
        except PromptFailedError as error:
            reason = self._without_key(str(error))
            broken_down = isinstance(error, ServerFailedError)
            if broken_down and self._failing:
                raise EndpointStoppedError(f"{self._url}: twice in a row: {reason}") from error
            self._failing = broken_down
            return Measurement(error=reason)
        self._failing = False
        return measurement

    def _ask(self, prompt: str, max_tokens: int) -> Measurement:
        blame: PromptFailedError | None = None
        for attempt in range(self._retries + 1):
            try:
                return self._attempt(prompt, max_tokens)
            except _PassingError as error:
                latest = error
                # A server that dies with a prompt refuses the next attempt. The prompt gets a row
                # all the same, so that a resumed run does not kill the server again.
                blame = error.blame or blame
            if attempt < self._retries:
                self._sleep(self._pause(attempt, latest))
        if blame is not None:
            raise blame
        raise EndpointStoppedError(
            f"{self._url}: {self._without_key(str(latest))}; attempts: {self._retries + 1}"
        ) from latest

    def _pause(self, attempt: int, latest: _PassingError) -> float:
        """Returns how long to wait after an attempt, s."""
        asked = latest.retry_after
        if asked is None or asked == 0:
            return float(min(self._backoff * 2**attempt, LONGEST_PAUSE))
        if asked > LONGEST_WAIT:
            raise EndpointStoppedError(
                f"{self._url}: {self._without_key(str(latest))}; it asks for a pause of "
                f"{asked:,.0f} s, and {LONGEST_WAIT:g} s is the longest that is waited: go on later"
            ) from latest
        return asked

    def _attempt(self, prompt: str, max_tokens: int) -> Measurement:
        body = chat_body(self._model, prompt, max_tokens, self._limit_field)
        answer = StreamedAnswer()
        try:
            with self._client.sse(self._url, method="POST", json=body) as events:
                self._check_status(events.response)
                for event in events:
                    answer.read(event.data, event.event)
                    if answer.done:
                        break
        except (httpx2.RequestError, UnicodeError) as error:
            if not answer.complete:  # else only what comes after it is missing
                raise _failure(error, answer) from error
        return answer.measurement(max_tokens)

    def _check_status(self, response: httpx2.Response) -> None:
        status = response.status_code
        if status == httpx2.codes.OK:
            if not is_stream(response):
                response.read()
                raise no_stream(response)
            return
        response.read()
        reason = f"HTTP {status}: {response.text.strip()[:300]}"
        if response.has_redirect_location:
            raise EndpointStoppedError(
                f"{self._url}: HTTP {status}: it has moved to {response.headers['Location']}"
            )
        if status in REFUSED_STATUSES:
            raise EndpointStoppedError(f"{self._url}: {self._without_key(reason)}")
        if status < 500 and status not in RETRIED_STATUSES:
            raise PromptFailedError(reason)
        raise _PassingError(
            reason,
            blame=None if status in BUSY_STATUSES else PromptFailedError(reason),
            retry_after=_retry_after(response),
        )

    def _without_key(self, message: str) -> str:
        return without_key(message, self._api_key)


class _PassingError(Exception):
    """An attempt failed in a way that the next one may not.

    Attributes:
        blame: What to hold against the prompt if no attempt succeeds; None if it never reached a
            server that could have worked on it.
        retry_after: Pause that the server asks for, s.
    """

    def __init__(
        self,
        reason: str,
        *,
        blame: PromptFailedError | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(reason)
        self.blame = blame
        self.retry_after = retry_after


def _failure(error: httpx2.RequestError | UnicodeError, answer: StreamedAnswer) -> Exception:
    """Returns what an attempt that broke off means."""
    if isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout):
        return _PassingError(f"cannot be reached ({error})")
    if isinstance(error, httpx2.TimeoutException):
        return ServerFailedError(f"timeout: {answer.progress()}")
    if isinstance(error, httpx2.TransportError) and not isinstance(error, httpx2.SSEError):
        failure = ServerFailedError(f"connection: {answer.progress()} ({error})")
        return failure if answer.begun else _PassingError(str(failure), blame=failure)
    return PromptFailedError(f"request: {error}")  # neither sent nor understood


def _retry_after(response: httpx2.Response) -> float | None:
    """Returns for how long the server asks not to be asked, s: a number or a date."""
    stated = response.headers.get("Retry-After", "")
    try:
        return max(0.0, parse_number(stated))
    except ValueError:
        pass
    try:
        moment = parsedate_to_datetime(stated)
    except (ValueError, OverflowError):  # absent, neither, or of no year
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())
