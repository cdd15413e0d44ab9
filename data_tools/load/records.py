"""What is kept of a request that was sent, or should have been."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from data_tools.backends.chat import Exchange
from data_tools.machine import Record

NOT_SENT: Final = "not sent"


@dataclass(frozen=True)
class RequestRecord(Record):
    """One request of an open loop; times are s from the loop's start.

    Attributes:
        request: Its place in the plan, from 0.
        planned: When it was to be sent.
        sent: When it was sent; None if it was not.
        first_chunk: When the first chunk with generated text came.
        last_chunk: When the answer ended.
        prompt_tokens: As the server counts them, those found in a cache among them.
        cached_tokens: Prompt tokens that the server found in a cache, where it says so.
        output_tokens: As the server counts them; chunks where it does not, see ``counted``.
        counted: Whether the server counted the output.
        chunks: Chunks with generated text.
        status: "ok", "failed", "unreached", "interrupted" or "not sent" (too many in flight).
        finish_reason: As the server says it.
        error: What went wrong.
        warm_up: Whether it was sent before the loop, to warm the server up.
    """

    request: int
    planned: float
    sent: float | None = None
    first_chunk: float | None = None
    last_chunk: float | None = None
    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    output_tokens: int | None = None
    counted: bool = False
    chunks: int = 0
    status: str = NOT_SENT
    finish_reason: str | None = None
    error: str | None = None
    warm_up: bool = False

    @property
    def lateness(self) -> float | None:
        """How much later than planned it was sent, s; None if it was not."""
        return None if self.sent is None else self.sent - self.planned


def record_of(
    request: int, planned: float, exchange: Exchange, start: float, *, warm_up: bool = False
) -> RequestRecord:
    """Returns the record of an exchange, its times counted from ``start`` on its clock."""

    def since(moment: float | None) -> float | None:
        return None if moment is None else round(moment - start, 6)

    return RequestRecord(
        request=request,
        planned=round(planned, 6),
        sent=since(exchange.sent),
        first_chunk=since(exchange.first),
        last_chunk=since(exchange.last),
        prompt_tokens=exchange.prompt_tokens,
        cached_tokens=exchange.cached_tokens,
        output_tokens=exchange.output_tokens,
        counted=exchange.counted,
        chunks=len(exchange.moments),
        status=exchange.status,
        finish_reason=exchange.finish_reason,
        error=exchange.error,
        warm_up=warm_up,
    )
