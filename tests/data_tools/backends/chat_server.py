"""A chat server for tests that does what it is told, request by request."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

Reply = Callable[["Handler"], None]


class ChatServer:
    """Serves one scripted reply per request on a free loopback port, then closes the door.

    Attributes:
        requests: The JSON bodies received.
        headers: The headers received.
        url: Base URL.
    """

    def __init__(self, replies: Iterable[Reply], port: int = 0) -> None:
        self.replies = list(replies)
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self._server = _Listener(("127.0.0.1", port), Handler, self)
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/v1"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Stops listening; connections are refused from now on."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()

    def stop_listening(self) -> None:
        """Refuses connections from now on, from within a reply."""
        self._server.socket.shutdown(socket.SHUT_RDWR)


class _Listener(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128  # five, as by default, are refused when many come at once

    def __init__(self, address: tuple[str, int], handler: Any, script: ChatServer) -> None:
        self.script = script
        super().__init__(address, handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Stays quiet about connections that the script or the client cut off."""


class Handler(BaseHTTPRequestHandler):
    """Answers with the next reply of the script."""

    protocol_version = "HTTP/1.1"
    server: _Listener

    def do_POST(self) -> None:
        script = self.server.script
        body = self.rfile.read(int(self.headers["Content-Length"]))
        script.requests.append(json.loads(body))
        script.headers.append(dict(self.headers))
        if script.replies:
            script.replies.pop(0)(self)
        else:
            self.plain(410, "the script is over")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Stays quiet."""

    def plain(self, status: int, text: str, headers: dict[str, str] | None = None) -> None:
        """Sends a whole response."""
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())

    def begin_stream(self) -> None:
        """Sends the head of an event stream."""
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def send(self, data: str) -> None:
        """Sends one event."""
        self.send_lines(f"data: {data}")

    def send_lines(self, lines: str) -> None:
        """Sends one event, line by line as given."""
        event = f"{lines}\n\n".encode()
        self.wfile.write(f"{len(event):x}\r\n".encode() + event + b"\r\n")
        self.wfile.flush()

    def end_stream(self) -> None:
        """Ends the response as HTTP wants it."""
        self.wfile.write(b"0\r\n\r\n")

    def cut(self) -> None:
        """Drops the connection, as a process does that is killed."""
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)


def delta(finish_reason: str | None = None, **fields: Any) -> str:
    """A chunk of a chat completion."""
    choice = {"index": 0, "delta": fields, "finish_reason": finish_reason}
    return json.dumps({"object": "chat.completion.chunk", "choices": [choice]})


def answer(
    *words: str,
    usage: tuple[int, int] | None = (11, 5),
    finish_reason: str = "stop",
    pause: float = 0.0,
) -> Reply:
    """A whole answer: role, words, finish reason, usage in a chunk of its own, end mark."""

    def reply(handler: Handler) -> None:
        handler.begin_stream()
        handler.send(delta(role="assistant", content=""))
        for word in words:
            time.sleep(pause)
            handler.send(delta(content=word))
        handler.send(delta(finish_reason=finish_reason))
        if usage is not None:
            counts = {"prompt_tokens": usage[0], "completion_tokens": usage[1]}
            handler.send(json.dumps({"choices": [], "usage": counts}))
        handler.send("[DONE]")
        handler.end_stream()

    return reply


def status(code: int, text: str = "no", **headers: str) -> Reply:
    """An HTTP error."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda handler: handler.plain(code, text, named)


def events(*data: str) -> Reply:
    """A stream of exactly these events."""

    def reply(handler: Handler) -> None:
        handler.begin_stream()
        for item in data:
            handler.send(item)
        handler.end_stream()

    return reply


def lines(*groups: str) -> Reply:
    """A stream of exactly these groups of lines: events with types, comments."""

    def reply(handler: Handler) -> None:
        handler.begin_stream()
        for group in groups:
            handler.send_lines(group)
        handler.end_stream()

    return reply


def late(seconds: float, before: Iterable[str], after: Iterable[str]) -> Reply:
    """A stream whose last events come late."""

    def reply(handler: Handler) -> None:
        handler.begin_stream()
        for item in before:
            handler.send(item)
        time.sleep(seconds)
        for item in after:
            handler.send(item)
        handler.end_stream()

    return reply


def silence(seconds: float, *before: str) -> Reply:
    """A stream that stops talking after a few events."""

    def reply(handler: Handler) -> None:
        handler.begin_stream()
        for item in before:
            handler.send(item)
        time.sleep(seconds)
        handler.cut()

    return reply


def death(*before: str, begun: bool = True, for_good: bool = False) -> Reply:
    """A server that dies after a few events, or before it answers at all."""

    def reply(handler: Handler) -> None:
        if begun:
            handler.begin_stream()
        for item in before:
            handler.send(item)
        if for_good:
            handler.server.script.stop_listening()
        handler.cut()

    return reply
