"""A server behind the gateway: asking it, telling its faults apart, sparing it while down."""

from __future__ import annotations

import asyncio
import json
import logging
import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import cached_property
from typing import Final

import aiohttp
from yarl import URL

from agents.gateway.api.openai import PATHS, Question
from agents.gateway.limits import Limits
from agents.gateway.servers.connections import make_client, sendable
from agents.gateway.servers.slowness import Slowness
from agents.gateway.servers.spec import ServerSpec

# Kinds of faults. Of the first three a server has to recover visibly before it is asked again.
UNREACHABLE: Final = "unreachable"
SILENT: Final = "silent"
REFUSED: Final = "refused"
BROKEN: Final = "broken"
OVERLOADED: Final = "overloaded"
FAILED: Final = "failed"
_PROBED: Final = (UNREACHABLE, SILENT, REFUSED)
_STATUS: Final = {401: REFUSED, 403: REFUSED, 408: FAILED, 429: OVERLOADED, 503: OVERLOADED}
_NO_LIST: Final = (404, 405, 501)  # of a server that has no list of its models, and is there
_READABLE: Final = ("identity", "gzip", "deflate", "br", "zstd")  # what aiohttp unpacks
_REDIRECTS: Final = range(300, 400)
_PAUSE: Final = 0.5  # s, doubled with every fault in a row
_LONGEST_PAUSE: Final = 30.0
_PROBE_TIME: Final = aiohttp.ClientTimeout(3.0)
_SHOWN: Final = 300  # characters of what a server says
_MODELS: Final = "/v1/models"
_NOT_REACHED: Final = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)
_LOG = logging.getLogger(__name__)


class UpstreamError(Exception):
    """A server has not answered as it should; the request may be tried elsewhere.

    Its text is for clients: neither addresses nor control characters are in it.

    Attributes:
        kind: What went wrong.
        in_full: The text with what only the log is to hold.
        retry_after: When the server wants to be asked again (s), NaN if it does not say.
    """

    def __init__(
        self, kind: str, message: str, detail: str = "", retry_after: float = math.nan
    ) -> None:
        super().__init__(printable(message)[:_SHOWN])
        self.kind = kind
        self.in_full = f"{self} ({printable(detail)[:_SHOWN]})" if detail else str(self)
        self.retry_after = retry_after


def printable(text: str) -> str:
    """Returns a text on one line, its control characters escaped."""
    parts = (c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return "".join(parts)


class Server:
    """A server behind the gateway.

    Attributes:
        spec: What it is.
        open: Whether requests may be sent to it.
        models: What it says that it serves; empty as long as it has not said.
        trouble: What is wrong with it, as clients may know; empty if nothing.
        trouble_in_full: The same with what only the log is to hold.
        slowness: How far it is from what its engine model says.
    """

    def __init__(
        self, spec: ServerSpec, model: str | None, limits: Limits, clock: Callable[[], float]
    ) -> None:
        self.spec = spec
        self.slowness = Slowness(spec.node)
        self.open = False
        self.models: tuple[str, ...] = ()
        self.trouble = self.trouble_in_full = "has not been reached yet"
        self._wanted = spec.serves or model
        self._clock = clock
        self._faults = 0
        self._closed_until = 0.0
        self._probe_needed = True
        self._urls = {path: URL(spec.url + path) for path in (*PATHS, _MODELS)}  # parsed once
        self._connect_time = limits.connect_time

    @cached_property
    def _client(self) -> aiohttp.ClientSession:
        """The client, made in the event loop that it belongs to."""
        return make_client(self.spec.api_key, self._connect_time)

    @property
    def closed_places(self) -> int:
        """How many of its places take nobody now."""
        return 0 if self.open else self.spec.node.room

    @property
    def wait(self) -> float:
        """How long until it should be looked after (s); inf while it is open."""
        return math.inf if self.open else max(0.0, self._closed_until - self._clock())

    @asynccontextmanager
    async def answer(
        self, question: Question, accept: str
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Sends a question; yields the response once its head is there.

        Raises:
            UpstreamError: If it cannot be reached, breaks off, or answers that it cannot do it.
        """
        headers = {"content-type": "application/json", "accept": accept}
        body = sendable(question.body_for(self.spec.serves))
        try:
            async with self._client.post(
                self._urls[question.path], data=body, headers=headers, allow_redirects=False
            ) as response:
                await _check_head(response, self.spec.api_key)
                yield response
        except _NOT_REACHED as error:
            raise _unreachable(error) from error
        except aiohttp.ClientError as error:
            raise UpstreamError(BROKEN, f"broke off ({_named(error)})", str(error)) from error

    def failed(self, error: UpstreamError) -> None:
        """Keeps requests away for a while, longer with every fault in a row.

        When a server dies, all that it was answering fail at once: that is one fault.
        """
        self._faults += self.open
        self._spare(error)

    def _spare(self, error: UpstreamError) -> None:
        pause = min(_LONGEST_PAUSE, _PAUSE * 2 ** max(0, self._faults - 1))
        if not math.isnan(error.retry_after):
            pause = min(_LONGEST_PAUSE, error.retry_after)
        if self.open or not self.trouble:
            _LOG.warning("server %s %s; not asked for %.1f s", self.spec.name, error.in_full, pause)
        self.open = False
        self.trouble, self.trouble_in_full = str(error), error.in_full
        self._closed_until = max(self._closed_until, self._clock() + pause)
        self._probe_needed |= error.kind in _PROBED

    def succeeded(self) -> None:
        """Forgets faults of the past."""
        self._faults = 0

    async def look_after(self) -> None:
        """Opens it again if its time has come and, where that is in doubt, it answers."""
        if self.open or self._clock() < self._closed_until:
            return
        if self._probe_needed:
            try:
                await self._probe()
            except UpstreamError as error:
                self._faults += 1
                self._spare(error)
                return
        _LOG.info("server %s takes requests", self.spec.name)
        self._probe_needed = False
        self.open = True
        self.trouble = self.trouble_in_full = ""

    async def _probe(self) -> None:
        """Asks for its models.

        Raises:
            UpstreamError: If it does not answer as it should, or does not serve the model.
        """
        try:
            async with self._client.get(
                self._urls[_MODELS], timeout=_PROBE_TIME, allow_redirects=False
            ) as response:
                if response.status in _NO_LIST:
                    return
                await _check_head(response, self.spec.api_key)
                self.models = _model_names(await response.read())
        except (aiohttp.ClientError, TimeoutError) as error:
            raise _unreachable(error) from error
        if self._wanted is not None and self.models and self._wanted not in self.models:
            raise UpstreamError(
                REFUSED, f"does not serve {self._wanted!r}, only {', '.join(self.models)}"
            )

    async def close(self) -> None:
        """Closes its connections."""
        await self._client.close()


async def _check_head(response: aiohttp.ClientResponse, key: str) -> None:
    """Raises `UpstreamError` if what comes is no answer; the key is in no text."""
    status = response.status
    if status in _REDIRECTS:  # requests go to the servers of the file and nowhere else
        location = response.headers.get("location", "nowhere")
        raise UpstreamError(FAILED, f"answered {status}, a redirect", f"to {location}")
    if not 200 <= status < 500 or status in _STATUS:
        # Not by the charset that it names, which may be none of text.
        text = " ".join((await _beginning(response.content)).decode(errors="replace").split())
        text = text.replace(key, "***") if key else text
        kind = _STATUS.get(status, FAILED)
        if kind == REFUSED:  # some servers repeat parts of the key
            raise UpstreamError(kind, f"answered {status} to the gateway", text)
        message = f"answered {status}: {text}" if text else f"answered {status}"
        raise UpstreamError(kind, message, retry_after=_retry_after(response))
    encoding = response.headers.get("content-encoding", "identity").lower()
    if encoding not in _READABLE:
        raise UpstreamError(FAILED, f"compressed its answer unasked: content-encoding: {encoding}")


async def _beginning(content: aiohttp.StreamReader) -> bytes:
    """Returns as much of a body as is of use in a message."""
    try:
        return await content.readexactly(4 * _SHOWN)
    except asyncio.IncompleteReadError as error:
        return error.partial


def _unreachable(error: Exception) -> UpstreamError:
    return UpstreamError(UNREACHABLE, f"cannot be reached ({_named(error)})", str(error))


def _named(error: Exception) -> str:
    """Returns what an error is, without the addresses that most of aiohttp's texts hold."""
    if isinstance(error, aiohttp.ClientResponseError):  # what came was not HTTP, or not readable
        return " ".join(error.message.split())
    return type(error).__name__


def _retry_after(response: aiohttp.ClientResponse) -> float:
    try:
        seconds = float(response.headers.get("retry-after", "nan"))
    except ValueError:  # a date, which needs two clocks to agree
        return math.nan
    return seconds if 0 <= seconds < math.inf else math.nan


def _model_names(content: bytes) -> tuple[str, ...]:
    """Returns the names that a server lists; none where it has no such list."""
    try:
        listed = json.loads(content)["data"]
        return tuple(str(model["id"]) for model in listed)
    except (ValueError, KeyError, TypeError, RecursionError):
        return ()
