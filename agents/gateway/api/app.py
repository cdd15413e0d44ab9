"""The gateway's HTTP side: an OpenAI-compatible application."""

from __future__ import annotations

import hmac
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager
from typing import Any

import anyio
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from agents.gateway.api.openai import PATHS, ApiError, Question, read_question
from agents.gateway.gateway import Gateway
from agents.gateway.reply import Send

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Scope = MutableMapping[str, Any]


def make_app(gateway: Gateway) -> Starlette:
    """Returns the application of a gateway, which it starts and stops."""

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with gateway:
            yield

    completions = [Route(path, _Completions(gateway), methods=["POST"]) for path in PATHS]

    async def models(request: Request) -> Response:
        _check_key(gateway, request.headers.get("authorization", ""))
        listed = [{"id": name, "object": "model", "owned_by": "edgecloud"}
                  for name in gateway.model_names]  # fmt: skip
        return JSONResponse({"object": "list", "data": listed})

    async def health(_: Request) -> Response:
        state = gateway.health()
        return JSONResponse(state, status_code=200 if state["status"] == "ok" else 503)

    async def metrics(_: Request) -> Response:
        return Response(gateway.metrics_text(), media_type="text/plain; version=0.0.4")

    return Starlette(
        routes=[
            *completions,
            Route("/v1/models", models),
            Route("/health", health),
            Route("/metrics", metrics),
        ],
        exception_handlers={
            HTTPException: _http_error,
            ApiError: _api_error,
            Exception: _defect,
        },
        lifespan=lifespan,
    )


def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    known = f"{', '.join(PATHS)} take POST; /v1/models, /health and /metrics GET"
    return _answer(ApiError(error.status_code, f"{request.method} {request.url.path}: {known}"))


def _api_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    return _answer(error)


def _defect(_: Request, error: Exception) -> Response:
    del error  # the server logs it
    return _answer(ApiError(500, "the gateway has failed: see its log", "server_error"))


def _answer(error: ApiError) -> Response:
    headers = {name.decode(): value.decode() for name, value in error.headers}
    return Response(error.body, error.status, headers)


def _check_key(gateway: Gateway, authorization: str) -> None:
    """Raises `ApiError` if a request lacks the gateway's key."""
    expected = f"Bearer {gateway.api_key}"
    given = authorization.encode("utf-8", "replace")
    if gateway.api_key and not hmac.compare_digest(given, expected.encode("utf-8", "replace")):
        raise ApiError(
            401,
            "the API key is missing or wrong: send it as 'Authorization: Bearer KEY'",
            "authentication_error",
            "invalid_api_key",
        )


class _Completions:
    """Answers requests for completions."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        arrival = self._gateway.clock()
        try:
            with self._gateway.at_the_door():
                question, accept = await self._read(scope, receive)
            async with anyio.create_task_group() as group:
                group.start_soon(_watch, receive, group.cancel_scope)
                await self._gateway.answer(question, arrival, accept, send)
                group.cancel_scope.cancel()
        except* ApiError as errors:
            await _send_error(_first(errors), send)
        except* ClientDisconnect:
            pass

    async def _read(self, scope: Scope, receive: Receive) -> tuple[Question, str]:
        """Returns a request and the kinds of answers that its client accepts.

        Raises:
            ApiError: If it is none that the gateway takes.
            ClientDisconnect: If the client goes away before it is read.
        """
        headers = dict(scope["headers"])
        _check_key(self._gateway, headers.get(b"authorization", b"").decode("latin-1"))
        self._gateway.check_open()
        body = await _read_body(headers, receive, self._gateway.limits.body)
        accept = headers.get(b"accept", b"*/*").decode("latin-1")
        if not accept.isprintable():  # no header that a server could be sent
            accept = "*/*"
        return read_question(scope["path"], body), accept


def _first(errors: BaseExceptionGroup[ApiError]) -> ApiError:
    found: BaseException = errors
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    assert isinstance(found, ApiError)
    return found


async def _watch(receive: Receive, scope: anyio.CancelScope) -> None:
    """Cancels what is being done for a client that goes away."""
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()


async def _read_body(headers: dict[bytes, bytes], receive: Receive, most: int) -> bytes:
    """Returns a request's body.

    Raises:
        ApiError: If it is larger than allowed.
        ClientDisconnect: If the client goes away meanwhile.
    """
    too_large = ApiError(413, f"the body must have at most {most} bytes")
    stated = headers.get(b"content-length", b"0")
    if not stated.isdigit() or int(stated) > most:
        raise too_large
    parts, size = [], 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        part = message.get("body", b"")
        size += len(part)
        if size > most:
            raise too_large
        parts.append(part)
        if not message.get("more_body", False):
            return b"".join(parts)


async def _send_error(error: ApiError, send: Send) -> None:
    await send({"type": "http.response.start", "status": error.status, "headers": error.headers})
    await send({"type": "http.response.body", "body": error.body, "more_body": False})
