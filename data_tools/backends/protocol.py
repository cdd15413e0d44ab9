"""What a streamed chat completion is asked for with, and what any answer to it must be."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import httpx2

from data_tools.backends.stream import PromptFailedError
from edgecloud_gym.checks import has_half_character
from edgecloud_gym.wording import shown

CONNECT_TIMEOUT: Final = 10.0  # s


def chat_body(
    model: str,
    prompt: str,
    max_tokens: int,
    limit_field: str = "max_tokens",
    extra: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Returns the JSON body that asks for a greedy, streamed answer with its token counts.

    Args:
        model: The model's name on the server.
        prompt: What the user says.
        max_tokens: Cap on the answer's length.
        limit_field: What the request calls the cap.
        extra: Further fields, as a server of one's own knows them.
    """
    return {
        "model": model,
        "messages": [{"role": "user", "content": prompt}],
        limit_field: max_tokens,
        "temperature": 0,
        "stream": True,
        "stream_options": {"include_usage": True},
        **(extra or {}),
    }


def check_served(model: str, api_key: str | None) -> None:
    """Checks what every request carries.

    Raises:
        ValueError: If the model's name is no text, or the key cannot be sent; it is not shown.
    """
    if has_half_character(model):
        raise ValueError(f"model={shown(model)}: must be text")
    if api_key is not None and not re.fullmatch("[!-~]+", api_key):
        raise ValueError("api_key: must be printable ASCII characters without spaces")


def bearer(api_key: str | None) -> dict[str, str]:
    """Returns the headers that carry a key."""
    return {} if api_key is None else {"Authorization": f"Bearer {api_key}"}


def without_key(message: str, api_key: str | None) -> str:
    """Blots out the key: servers repeat a wrong one in their complaint."""
    return message.replace(api_key, "[key]") if api_key else message


def is_stream(response: httpx2.Response) -> bool:
    """Whether the server answers with a stream of events."""
    return _kind(response).lower() == "text/event-stream"


def no_stream(response: httpx2.Response) -> PromptFailedError:
    """Returns what to say of a response, which has been read, that is no stream of events."""
    return PromptFailedError(
        f"stream: it is {_kind(response) or 'of no stated type'}, not text/event-stream: "
        f"{response.text.strip()[:300]}"
    )


def _kind(response: httpx2.Response) -> str:
    return str(response.headers.get("Content-Type", "")).partition(";")[0].strip()


def chat_url(url: str) -> str:
    """Returns the address of chat completions under a base URL.

    Raises:
        ValueError: If it is not a plain http(s) URL. Credentials in it would end up in the records.

    >>> chat_url("http://127.0.0.1:8000")
    'http://127.0.0.1:8000/v1/chat/completions'
    >>> chat_url("https://models.example/api/v2/")
    'https://models.example/api/v2/chat/completions'
    """
    try:
        parsed = httpx2.URL(url)
    except httpx2.InvalidURL as error:
        raise ValueError(f"endpoint is not a URL: {error}") from error
    if parsed.userinfo or parsed.query or parsed.fragment:
        raise ValueError(
            "endpoint must be a plain base URL such as http://127.0.0.1:8000/v1, without user, "
            "query or fragment; a key belongs in an environment variable"
        )
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise ValueError(
            f"endpoint must start with http:// or https:// and a host, got {shown(url)}"
        )
    path = parsed.path.rstrip("/") or "/v1"
    if not path.endswith("/chat/completions"):
        path += "/chat/completions"
    return str(parsed.copy_with(path=path))
